//! Volume handles as ceph-csi writes them: `0001-LENGTH-CLUSTER-POOL-UUID`, lengths and pool in hex.

/// The version of the format.
const VERSION: &str = "0001";
/// Digits of the pool's number.
const POOL_DIGITS: usize = 16;
/// Characters of a UUID.
const UUID: usize = 36;

/// A handle, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle {
    /// The cluster, as the driver's configuration names it.
    pub cluster: String,
    /// The number of the pool, on the side where the volume was made.
    pub pool: u64,
    /// The volume.
    pub uuid: String,
}

impl Handle {
    /// Takes a handle apart; none if it is not one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(VERSION)?.strip_prefix('-')?;
        let (length, rest) = rest.split_once('-')?;
        if length.len() != 4 {
            return None;
        }
        let length = usize::from_str_radix(length, 16).ok()?;
        let cluster = rest.get(..length)?;
        let rest = rest.get(length..)?.strip_prefix('-')?;
        let (pool, uuid) = rest.split_once('-')?;
        let well = pool.len() == POOL_DIGITS && uuid.len() == UUID && !cluster.is_empty();
        let hex = uuid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        let pool = u64::from_str_radix(pool, 16).ok()?;
        (well && hex).then(|| Self {
            cluster: cluster.to_owned(),
            pool,
            uuid: uuid.to_owned(),
        })
    }

    /// The image that holds the volume.
    pub fn image(&self) -> String {
        image_of(&self.uuid)
    }
}

impl std::fmt::Display for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            cluster,
            pool,
            uuid,
        } = self;
        let length = cluster.len();
        write!(
            f,
            "{VERSION}-{length:04x}-{cluster}-{pool:0POOL_DIGITS$x}-{uuid}"
        )
    }
}

/// The image of the volume with this UUID.
pub fn image_of(uuid: &str) -> String {
    format!("csi-vol-{uuid}")
}

/// The handle of an image that has a name as [`image_of`] gives.
pub fn handle_of(cluster: &str, pool: u64, image: &str) -> Option<Handle> {
    let uuid = image.strip_prefix("csi-vol-")?;
    let (cluster, uuid) = (cluster.to_owned(), uuid.to_owned());
    Some(Handle {
        cluster,
        pool,
        uuid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "0001-0009-rook-ceph-000000000000001f-9a558698-8db1-406b-a79b-8e3d71bd5545";

    #[test]
    fn a_handle_is_read_and_written() {
        let handle = Handle::parse(TEXT).unwrap();
        assert_eq!(handle.cluster, "rook-ceph");
        assert_eq!(handle.pool, 31);
        assert_eq!(
            handle.image(),
            "csi-vol-9a558698-8db1-406b-a79b-8e3d71bd5545"
        );
        assert_eq!(handle.to_string(), TEXT);
        assert_eq!(handle_of("rook-ceph", 31, &handle.image()), Some(handle));
    }

    #[test]
    fn what_is_no_handle_of_ours_is_refused() {
        let cut = TEXT.len() - 1;
        let long = TEXT.replacen("0009", "ffff", 1);
        for text in [
            "",
            "group-1",
            &TEXT[..cut],
            &long,
            &TEXT.replace("9a55", "zz/."),
        ] {
            assert_eq!(Handle::parse(text), None, "{text}");
        }
    }
}
