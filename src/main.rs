//! fanbridge: arguments → verb → exit code.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    fanbridge::cli::run(fanbridge::cli::Cli::parse())
}
