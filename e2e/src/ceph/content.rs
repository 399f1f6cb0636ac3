//! What an image holds: writing to it and checksums of it, through the `rbd` program alone.

use std::{ffi::OsStr, time::Duration};

use super::rbd::{Rbd, RbdError, run};

/// How long a gigabyte may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Writes bytes at an offset, in bytes. Fails with code 30 on a copy.
pub async fn write(rbd: &Rbd, image: &str, offset: u64, bytes: &[u8]) -> Result<(), RbdError> {
    let size = rbd.info(image).await?.size;
    let diff = difference(size, offset, bytes);
    let spec = rbd.spec(image);
    let args = ["import-diff", "--no-progress", "-", &spec];
    rbd.run(&args, LIMIT, Some(&diff)).await.map(drop)
}

/// The SHA-256, in hex, of all that an image holds.
pub async fn sha256(rbd: &Rbd, image: &str) -> Result<String, RbdError> {
    let text = export(rbd, image, "sha256sum", "").await?;
    Ok(text
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned())
}

/// The first bytes of an image, as text; zeros are left out.
pub async fn beginning(rbd: &Rbd, image: &str, bytes: u64) -> Result<String, RbdError> {
    export(rbd, image, "head", &format!("-c{bytes}")).await
}

/// Feeds all that an image holds to a program.
async fn export(rbd: &Rbd, image: &str, program: &str, argument: &str) -> Result<String, RbdError> {
    // Of a program that reads the beginning only, `rbd` sees a broken pipe. Its own failure shows by an empty pipe too,
    // and is told apart by the look at the image that comes first.
    rbd.info(image).await?;
    let script = r#"if [ "$1" = head ]; then how=+o; else how=-o; fi
set $how pipefail; reader=$1; argument=$2; shift 2
rbd "$@" 2> >(tail -n 3 >&2) | "$reader" ${argument:+"$argument"} | tr -d '\0'"#;
    let mut args: Vec<String> = ["-c", script, "export", program, argument]
        .map(str::to_owned)
        .into();
    args.extend(rbd.arguments());
    args.extend(["export", "--no-progress", &rbd.spec(image), "-"].map(str::to_owned));
    let verb = format!("rbd export {image}");
    let out = run("bash", args.iter().map(OsStr::new), &verb, LIMIT, None).await?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// One piece of data in the format of `rbd export-diff`.
fn difference(size: u64, offset: u64, bytes: &[u8]) -> Vec<u8> {
    let mut diff = b"rbd diff v1\ns".to_vec();
    diff.extend(size.to_le_bytes());
    diff.push(b'w');
    diff.extend(offset.to_le_bytes());
    diff.extend((bytes.len() as u64).to_le_bytes());
    diff.extend(bytes);
    diff.push(b'e');
    diff
}
