//! `pairgate`: the operator's command line. Everything is in the library.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    pairgate_cli::main().await
}
