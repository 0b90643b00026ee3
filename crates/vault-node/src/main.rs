//! `keyhaven-vault`: see `keyhaven-vault --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    keyhaven_vault_node::cli_main(std::env::args_os())
}
