//! The `fanbridge` program: runs the command that its arguments name, and returns its exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    fanbridge::cli::run(fanbridge::cli::parse())
}
