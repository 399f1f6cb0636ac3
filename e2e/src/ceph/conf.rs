//! The configuration of one small cluster.

use std::path::Path;

/// What differs between two clusters.
pub(super) struct Facts<'a> {
    /// The identity of the cluster.
    pub(super) fsid: &'a str,
    /// Where all its data is.
    pub(super) folder: &'a Path,
    /// First and last port; the monitor has the first.
    pub(super) ports: (u16, u16),
}

/// The text of `ceph.conf`.
pub(super) fn text(facts: &Facts<'_>) -> String {
    let Facts {
        fsid,
        folder,
        ports: (monitor, last),
    } = facts;
    let (folder, first) = (folder.display(), monitor + 1);
    format!(
        "\
[global]
fsid = {fsid}
mon_initial_members = a
mon_host = [v2:127.0.0.1:{monitor}/0]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_ipv6 = false
ms_bind_msgr1 = false
ms_bind_msgr2 = true
ms_bind_port_min = {first}
ms_bind_port_max = {last}
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
auth_allow_insecure_global_id_reclaim = false
keyring = {folder}/$name.keyring
run_dir = {folder}/run
admin_socket = {folder}/run/$name.$pid.asok
log_file = {folder}/log/$name.log
mon_cluster_log_file = {folder}/log/cluster.log
crash_dir = {folder}/crash
log_to_stderr = false
err_to_stderr = true
debug_ms = 0/0
# One copy of everything on one disk is what is wanted, and no reason for a warning.
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
mon_data_avail_warn = 2
mon_data_avail_crit = 1
mgr_initial_modules =
mgr_pool = false
# A monitor that is alone has nobody to wait for.
mon_election_timeout = 1
paxos_propose_interval = 0.1
paxos_min_wait = 0.02
mon_osd_min_down_reporters = 1
osd_heartbeat_grace = 6
mon_tick_interval = 2

[mon]
mon_data = {folder}/mon.a
keyring = {folder}/mon.a/keyring
[mgr]
mgr_data = {folder}/mgr.x
mgr_tick_period = 1
mgr_stats_period = 1
[osd]
osd_data = {folder}/osd.$id
osd_objectstore = bluestore
# A sparse file: only what was written takes room.
bluestore_block_size = 6442450944
bluestore_block_create = true
bluestore_block_preallocate_file = false
bluestore_block_db_create = false
bluestore_block_wal_create = false
bluestore_cache_autotune = false
bluestore_cache_size = 67108864
osd_memory_target = 939524096
osd_op_num_shards = 2
osd_op_num_threads_per_shard = 1
osd_scrub_load_threshold = 0
[client]
rbd_default_features = 61
# rbd-fuse does not pass on what a flush answers, so nothing may wait for a flush: a write is refused at once, or done.
rbd_cache = false
# How soon rbd-mirror notices things, in seconds; 30 by default, which is how long a test would wait.
rbd_mirror_image_state_check_interval = 3
rbd_mirror_pool_replayers_refresh_interval = 3
rbd_mirror_delete_retry_interval = 3
rbd_mirror_leader_heartbeat_interval = 1
# The connection of rbd-mirror to the other cluster. Without a limit it waits for ever for one that died in the middle of a
# copy, and a promotion by force waits for it.
[client.rbd-mirror-peer]
rados_osd_op_timeout = 10
rados_mon_op_timeout = 10
"
    )
}
