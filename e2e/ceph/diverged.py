#!/usr/bin/python3
"""diverged.py CONF POOL IMAGE SNAPSHOT ID KEYFILE: how many bytes of an image differ from one of its snapshots, block by block.

The `rbd` program cannot do that: it knows the snapshots of mirroring by number only, and compares by name."""
import sys

import rados
import rbd

BLOCK = 4096
STEP = 4 << 20

conf, pool, name, snapshot, user, keyfile = sys.argv[1:]
limits = {"client_mount_timeout": "4", "rados_mon_op_timeout": "8", "rados_osd_op_timeout": "8"}
with rados.Rados(conffile=conf, rados_id=user, conf={"keyfile": keyfile, **limits}) as cluster:
    with cluster.open_ioctx(pool) as io:
        with rbd.Image(io, name, read_only=True) as now, rbd.Image(io, name, read_only=True) as then:
            then.set_snap_by_id(int(snapshot))
            differ = 0
            for at in range(0, now.size(), STEP):
                length = min(STEP, now.size() - at)
                a, b = now.read(at, length), then.read(at, length)
                if a == b:
                    continue
                for block in range(0, length, BLOCK):
                    if a[block : block + BLOCK] != b[block : block + BLOCK]:
                        differ += len(a[block : block + BLOCK])
print(differ)
