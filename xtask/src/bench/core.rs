//! `cargo xtask bench core`: one vault core beside the cryptography of its recoveries.
//!
//! The measuring is `bench/`'s. This runs it with the filled tree kept in `target/bench`, so that it is made once.

use std::process::Command;

use anyhow::{Context as _, bail};

use crate::sim::Options;
use crate::workspace;

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let root = crate::root();
    let folder = workspace::target(&root)?.join("bench");
    let status = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--release", "--package", "keyhaven-bench"])
        .args(["--", "--keep"])
        .arg(folder)
        .args(options.arguments())
        .current_dir(root)
        .status()
        .context("cannot run it")?;
    if !status.success() {
        bail!("nothing was measured");
    }
    Ok(())
}
