//! `record-writer`: the application of the tests on real storage. Appends records to a file on its volume, each made safe before it
//! is acknowledged, and ends with an error as soon as one is refused.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use lifeboat_e2e::ceph::records::{Record, Records};

/// Writes numbered records, one after the other, going on after the last one that is there.
#[derive(Parser)]
struct Args {
    /// The file on the volume.
    #[arg(long)]
    file: PathBuf,
    /// What whoever relies on the records has been told: each is appended here once it is safe.
    #[arg(long)]
    told: PathBuf,
    /// Whose records these are.
    #[arg(long)]
    of: String,
    /// The cluster where this runs.
    #[arg(long)]
    site: String,
    /// Milliseconds between two records.
    #[arg(long, default_value_t = 50)]
    pause: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let mut options = File::options();
    options.create(true).read(true).write(true).truncate(false);
    let mut file = options.open(&args.file).context("no file")?;
    let mut told = File::options()
        .create(true)
        .append(true)
        .open(&args.told)
        .context("nobody to tell")?;
    let mut number = last(&mut file)?;
    let mut pace = tokio::time::interval(Duration::from_millis(args.pause));
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        number += 1;
        let record = Record {
            of: args.of.clone(),
            site: args.site.clone(),
            number,
            time: now()?,
        };
        let line = format!("{record}\n");
        let safe = file
            .write_all(line.as_bytes())
            .and_then(|()| file.sync_data());
        safe.with_context(|| format!("stopped: record {number} was refused"))?;
        told.write_all(line.as_bytes())?;
    }
}

/// The number of the last record. What is after it was being written when a machine died, and nobody was told of it.
fn last(file: &mut File) -> Result<u64> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
    file.set_len(whole as u64)?;
    file.seek(SeekFrom::End(0))?;
    let found = Records::read(&bytes);
    ensure!(found.is_whole(), "what is there is broken: {found:?}");
    Ok(found.last())
}

#[expect(
    clippy::disallowed_methods,
    reason = "compared with the times of real storage"
)]
fn now() -> Result<i64> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(i64::try_from(since.as_millis())?)
}
