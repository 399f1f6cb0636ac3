//! A child process of a test can be frozen, thawed and killed, and what it prints is kept.

use std::path::Path;

use anyhow::{Context, Result};
use lifeboat_e2e::{Program, wait};

fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // pid (name) state ...
    stat.rsplit_once(") ")?.1.chars().next()
}

async fn until_state(pid: u32, wanted: Option<char>) -> Result<()> {
    let ask = || async move { Ok((state(pid) == wanted).then_some(())) };
    wait::until_answer(&format!("process state {wanted:?}"), ask).await
}

#[tokio::test]
async fn a_process_is_frozen_thawed_and_killed() -> Result<()> {
    let mut program = Program::start_other(Path::new("/bin/sleep"), "sleeper", &["1000"], &[])?;
    let pid = program.pid().context("no pid")?;
    program.freeze().await?;
    until_state(pid, Some('T')).await?;
    program.thaw().await?;
    until_state(pid, Some('S')).await?;
    program.kill().await?;
    until_state(pid, None).await
}

#[tokio::test]
async fn its_output_is_in_its_log() -> Result<()> {
    let script = ["-c", "echo out; echo err >&2; exit 3"];
    let mut program = Program::start_other(Path::new("/bin/bash"), "speaker", &script, &[])?;
    let status = wait::until_answer("it ends", || std::future::ready(program.ended())).await?;
    assert_eq!(status.code(), Some(3));
    assert_eq!(program.log()?, "out\nerr\n");
    Ok(())
}
