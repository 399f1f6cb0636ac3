//! `PersistentVolumes`, claims and workloads as portable records.
//!
//! An application is read on the cluster that owns it ([`export`]), kept as a [`Capture`], and made anew on another
//! cluster ([`import`]). Everything here is pure and works on untyped JSON, because a round trip through typed structs
//! drops the fields those structs do not know.
//!
//! What holds for every object that leaves this crate:
//! - it carries no uid, resourceVersion, owner, finalizer or status of the cluster it was read on;
//! - a volume names the replicated image by its handle, and its claim by name, so that the pair binds to that image
//!   and to nothing else;
//! - it is marked with the placement it was made for, and an object without that mark is never taken for ours
//!   ([`collides`]);
//! - `Debug` shows names, never the contents of a Secret.

pub mod collision;
pub mod export;
pub mod import;
pub mod mapping;
pub mod names;
mod object;
mod quantity;
pub mod record;
pub mod references;
mod scrub;

pub use collision::{Collision, Difference, collides, volume_differs};
pub use export::{ExportError, export_supporting, export_volume, export_workload};
pub use import::{import_pv, import_pvc, import_supporting, import_workload};
pub use mapping::{Mapping, Marks};
pub use record::{Capture, ClaimName, Fingerprint, RecordError, VolumeRecord, WorkloadRecord};
pub use references::{ObjectRef, RefKind, references, service_selects};
