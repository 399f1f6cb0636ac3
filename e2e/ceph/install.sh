#!/bin/bash
# install.sh: installs Ceph's programs with apt, unless they are there. Debian 12 or a later one; as root, or with sudo.
# What is not taken: containers, systemd units of a cluster, anything of the kernel. 65 MB to download, half a minute.
set -euo pipefail
die() { echo "install.sh: $*" >&2; exit 1; }

there() {
  local p PATH=$PATH:/usr/sbin:/sbin
  for p in ceph-mon ceph-mgr ceph-osd rbd-mirror rbd rbd-fuse ceph ceph-authtool monmaptool mkfs.ext4; do
    command -v "$p" > /dev/null || return 1
  done
}
if there; then exit; fi

exec 9> "${TMPDIR:-/tmp}/lifeboat-ceph-install.lock" # two tests want it at once: one installs, the other waits
flock 9
if there; then exit; fi

command -v apt-get > /dev/null || die "no apt-get: install ceph-mon, ceph-mgr, ceph-osd, rbd-mirror, rbd-fuse and ceph-common of Ceph 16 or later by hand"
root=()
[ "$(id -u)" = 0 ] || root=(sudo -n)
apt() { "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" 9>&- >&2; }
packages=(ceph-mon ceph-mgr ceph-osd rbd-mirror rbd-fuse ceph-common e2fsprogs)
# The lists may be old, and what they name gone from the mirrors.
apt update && apt install --yes --no-install-recommends "${packages[@]}" || die "apt could not install ${packages[*]}"
there || die "apt installed ${packages[*]}, and a program is still missing"
