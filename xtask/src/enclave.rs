//! Whether the trusted core fits an enclave, and how much of it there is to read.
//!
//! `testing/enclave` is a program without the standard library around `keyhaven-vault-core`: with
//! `std` anywhere below, it does not compile. What it takes from outside is looked at after linking,
//! because a crate without `std` can still call an operating system by name. Where the compiler has
//! the target `wasm32-unknown-unknown`, the module that comes out must import nothing at all.

mod lines;
mod module;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::workspace;

const PACKAGE: &str = "keyhaven-enclave";
const WASM: &str = "wasm32-unknown-unknown";

/// What a linked program may take from the C library on Linux: bytes moved and compared, the way in
/// and the way out. No memory, no file, no clock, no randomness.
const FROM_LIBC: &[&str] = &[
    "bcmp",
    "memcmp",
    "memcpy",
    "memmove",
    "memset",
    "strlen",
    "__libc_start_main",
    "abort",
    // What instructions the processor has, where there is no instruction to ask (aarch64).
    "getauxval",
    // The C compiler's start files name these of every program, and take them to be absent.
    "_ITM_deregisterTMCloneTable",
    "_ITM_registerTMCloneTable",
    "__cxa_finalize",
    "__gmon_start__",
];

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Fails where the compiler has no wasm32-unknown-unknown, instead of leaving it out.
    #[arg(long)]
    wasm: bool,
}

/// `cargo xtask enclave`.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let root = crate::root();
    let target = workspace::target(&root)?;
    if cfg!(target_os = "linux") {
        on_this_machine(&root, &target)?;
    } else {
        println!("this machine: left out, the program is linked on Linux only");
    }
    if has_wasm(&root)? {
        as_a_module(&root, &target)?;
    } else if options.wasm {
        bail!("the compiler has no {WASM}: `rustup target add {WASM}`");
    } else {
        println!("{WASM}: left out, the compiler does not have it");
    }
    lines::report(&root)
}

/// The core alone, and then with somebody who speaks to it, each linked and run.
fn on_this_machine(root: &Path, target: &Path) -> anyhow::Result<()> {
    for feature in ["enclave", "person"] {
        build(root, feature, None, "link-arg=-lc")?;
        let program = target.join("enclave").join(PACKAGE);
        let listed = workspace::output(
            root,
            "nm",
            &["-D".as_ref(), "-u".as_ref(), program.as_os_str()],
        )?;
        let foreign = foreign(&listed);
        if !foreign.is_empty() {
            bail!(
                "the core reaches for the operating system: {}",
                foreign.join(", ")
            );
        }
        let status = Command::new(&program).status().context("cannot run it")?;
        if !status.success() {
            bail!("{PACKAGE} with `{feature}` did not go as it should: {status}");
        }
    }
    println!("this machine: no std below the core, nothing of the system's is called, and it runs");
    Ok(())
}

/// Names in `nm`'s list of undefined symbols that are not among [`FROM_LIBC`].
fn foreign(listed: &str) -> Vec<&str> {
    let names = listed
        .lines()
        .filter_map(|line| line.split_whitespace().last());
    names
        .map(|name| name.split('@').next().unwrap_or(name))
        .filter(|name| !FROM_LIBC.contains(name))
        .collect()
}

fn as_a_module(root: &Path, target: &Path) -> anyhow::Result<()> {
    // The core alone comes last, so that it is the module that stays.
    for feature in ["person", "enclave"] {
        build(root, feature, Some(WASM), "link-arg=--export=main")?;
        let path = target
            .join(WASM)
            .join("enclave")
            .join(format!("{PACKAGE}.wasm"));
        let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
        let imports = module::imports(&bytes)?;
        if !imports.is_empty() {
            bail!("the module of `{feature}` imports {}", imports.join(", "));
        }
        println!("{WASM}, `{feature}`: {} bytes, no imports", bytes.len());
    }
    Ok(())
}

fn build(root: &Path, feature: &str, target: Option<&str>, link: &str) -> anyhow::Result<()> {
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["rustc", "--quiet", "--profile", "enclave"])
        .args(["--package", PACKAGE, "--features", feature]);
    if let Some(target) = target {
        command.args(["--target", target]);
    }
    let status = command
        .args(["--", "-C", link])
        .current_dir(root)
        .status()
        .context("cannot build it")?;
    if !status.success() {
        bail!("the core does not build without an operating system");
    }
    Ok(())
}

/// Whether the compiler that Cargo uses here brings the target's library.
fn has_wasm(root: &Path) -> anyhow::Result<bool> {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let compiler = compiler.to_string_lossy();
    let folder = workspace::output(
        root,
        &compiler,
        &["--print", "target-libdir", "--target", WASM],
    )?;
    Ok(PathBuf::from(folder.trim()).is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_of_the_operating_system_is_found_among_what_is_linked() {
        let listed = "                 w __gmon_start__\n                 U memcpy@GLIBC_2.14\n";
        assert_eq!(foreign(listed), [""; 0]);
        let listed = format!("{listed}                 U getrandom@GLIBC_2.25\n");
        assert_eq!(foreign(&listed), ["getrandom"]);
    }
}
