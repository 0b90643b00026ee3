//! The command line: `keyhaven-vault serve`, `init`, `account`, `status`, `doctor`, `bundle`.

mod args;
mod commands;
mod output;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;

use self::args::Arguments;
use crate::os;

/// How a command ended, for scripts. 2 is the argument parser's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Something failed that another try may mend: a disk, a port, a file.
    Failed = 1,
    /// Another process uses the data folder.
    InUse = 3,
    /// There is no vault in the data folder, or there is one already.
    Misplaced = 4,
    /// The vault is gone: its store is older than the core's memory, or its secrets are lost.
    Gone = 5,
    /// A file is damaged, or `doctor` found something.
    Damaged = 6,
    /// The account does not exist, or does already.
    Account = 7,
}

/// Runs the command line and returns the process's exit code. `args` begins with the program's
/// name, as [`std::env::args_os`] does.
///
/// The calling process is closed to debuggers and core dumps before anything is read.
pub fn cli_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    os::harden();
    let arguments = match Arguments::try_parse_from(args) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and versions are no failures; the parser knows which stream each goes to.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    output::log_to_stderr(arguments.verbose);
    let exit = commands::run(arguments);
    ExitCode::from(exit as u8)
}
