package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ready DIR SECONDS PATH waits until the API server of the control plane in DIR answers PATH to its admin with 200.
// It gives up early when a part has ended: nothing would answer any more.
func ready(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("usage: controlplane ready DIR SECONDS PATH")
	}
	dir, path := args[0], args[2]
	seconds, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	client, url, err := admin(dir)
	if err != nil {
		return err
	}
	end := time.Now().Add(time.Duration(seconds) * time.Second)
	for {
		last := "no answer"
		if answer, err := client.Get(url + path); err != nil {
			last = err.Error()
		} else {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
			last = answer.Status
		}
		if err := ended(dir); err != nil {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s: %s not in time: %s", filepath.Base(dir), path, last)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// admin is a client with the admin's certificate, and the address it is for.
func admin(dir string) (*http.Client, string, error) {
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		return nil, "", err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "admin.crt"), filepath.Join(dir, "admin.key"))
	if err != nil {
		return nil, "", err
	}
	url, err := os.ReadFile(filepath.Join(dir, "url"))
	if err != nil {
		return nil, "", err
	}
	trust := &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: trust}}
	return client, strings.TrimSpace(string(url)), nil
}

// ended says which part was started and lives no more, with the end of its log. A zombie has no command line.
func ended(dir string) error {
	pids, err := filepath.Glob(filepath.Join(dir, "*.pid"))
	if err != nil {
		return err
	}
	for _, file := range pids {
		pid, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", strings.TrimSpace(string(pid)), "cmdline"))
		if err == nil && bytes.Contains(line, []byte(dir+"/")) {
			continue
		}
		log := strings.TrimSuffix(file, ".pid") + ".log"
		text, _ := os.ReadFile(log)
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		tail := strings.Join(lines[max(0, len(lines)-3):], "\n")
		return fmt.Errorf("%s ended, see %s:\n%s", strings.TrimSuffix(filepath.Base(file), ".pid"), log, tail)
	}
	return nil
}
