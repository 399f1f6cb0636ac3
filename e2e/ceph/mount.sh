#!/bin/bash
# mount.sh CONF POOL IMAGE FOLDER: a real file system on an RBD image, mounted at FOLDER/at while this program runs. The image need
# not be known to the kernel: rbd-fuse shows it as a file, and a loop device sits on that. A blank image gets an ext4 first.
# Answers on stdout: `found WHAT SHA256` (what the image held before anything was done: blank, clean, unclean or damaged), then
# `mounted PID`: others find the files at root/FOLDER/at of /proc/PID.
# Words on stdin: `hold` and `go` (nothing is written in between; answered by `held` and `gone`), `detach` (unmounts and ends).
# The end of stdin, also because whoever called was killed: as when a machine dies, nothing is written back.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
[ "$(id -u)" = 0 ] || { echo "mount.sh: only root may mount" >&2; exit 1; }
# Mounts of its own: e2fsck and others look at all that is mounted, and wait for ever for one whose storage stands still.
[ -n "${LB_APART:-}" ] || LB_APART=yes exec unshare --mount "$0" "$@"
conf=$1 pool=$2 image=$3 folder=$4
fuse=$folder/fuse at=$folder/at file=$folder/fuse/$image
mkdir -p "$fuse" "$at"

CEPH_CONF=$conf rbd-fuse -f -c "$conf" -p "$pool" -r "$image" "$fuse" < /dev/null > "$folder/rbd-fuse.log" 2>&1 &
server=$!

what() {
  local fs
  fs=$(blkid -p -o value -s TYPE "$file" || true)
  [ -n "$fs" ] || { echo blank; return; }
  ! dumpe2fs -h "$file" 2> /dev/null | grep needs_recovery > /dev/null || { echo unclean; return; }
  if e2fsck -fn "$file" > "$folder/fsck.log" 2>&1; then echo clean; else echo damaged; fi
}
attach() {
  local n found loop
  for n in {1..200}; do [ ! -f "$file" ] || break; kill -0 "$server" 2> /dev/null || break; sleep 0.05; done
  [ -f "$file" ] || { echo "no image $image:" >&2; cat "$folder/rbd-fuse.log" >&2; return 1; }
  found=$(what)
  echo "found $found $(sha256sum < "$file" | cut -d' ' -f1)"
  [ "$found" != blank ] || mkfs.ext4 -q -F -E nodiscard "$file"
  # Not by `mount -o loop`, which looks at all loop devices, too.
  loop=$(losetup -f --show "$file")
  mount -t ext4 -o errors=remount-ro "$loop" "$at" || { losetup -d "$loop"; return 1; }
  losetup -d "$loop" # as soon as it is unmounted
  echo "mounted $$"
}
ended() { local n; for n in {1..100}; do kill -0 "$1" 2> /dev/null || return 0; sleep 0.1; done; return 1; }
away() { # by force: what waits for the image gets an error, and can end
  kill -9 "$server" 2> /dev/null || true
  umount -l "$at" 2> /dev/null || true
  umount -l "$fuse" 2> /dev/null || true
  wait
  rm -f "$folder"/*.log "$folder/errors"
  rmdir "$at" "$fuse" "$folder" 2> /dev/null || true # never more than empty folders: something may still be mounted
  exit "$1"
}

( trap '[ $? = 0 ] || echo failed' EXIT; attach ) &
while read -r word; do
  case $word in
  hold) fsfreeze -f "$at" && echo held ;;
  go) fsfreeze -u "$at" && echo gone ;;
  detach)
    # Apart, for on storage that is gone it does not return.
    ! mountpoint -q "$at" || { umount "$at" & ended $! || away 1; }
    umount "$fuse" & ended $! || away 1
    ended "$server" || away 1
    away 0
    ;;
  esac
done
away 2
