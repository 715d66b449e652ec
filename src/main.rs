//! The `fanbridge` program: runs the command that its arguments name, and returns its exit code.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    fanbridge::cli::run(fanbridge::cli::Cli::parse())
}
