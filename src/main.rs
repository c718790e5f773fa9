//! Entry point: arguments in, exit code out. Everything else lives in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    deploywatch::cli::main(std::env::args_os())
}
