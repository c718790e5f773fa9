//! Entry point: arguments in, exit code out. Everything else lives in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // reqwest and OTLP panic without a provider; a second installation would only be refused.
    let _ = rustls::crypto::ring::default_provider().install_default();
    deploywatch::cli::main(std::env::args_os())
}
