//! PersistentVolumes, claims and workloads as portable records
