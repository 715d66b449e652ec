//! `fanbridge completions` and `fanbridge man`: the command line for shells and for `man`.

use std::path::PathBuf;

use clap_complete::Shell;

use super::help::command;
use super::output::print;
use super::{Exit, Failure};

/// Name of the program in both.
const PROGRAM: &str = "fanbridge";

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell that completes
    #[arg(value_enum)]
    shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// Directory for the pages, which is made if it does not exist
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Prints the script with which a shell completes verbs, options and their values.
///
/// # Errors
/// When stdout cannot be written.
pub fn run(args: &Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(), PROGRAM, &mut script);
    let script = String::from_utf8(script)
        .map_err(|error| Failure::new(Exit::Io, format!("the script is not text: {error}")))?;
    print(&script)
}

/// Writes a page for the program and one for each verb, all of section 1.
///
/// # Errors
/// When the directory or a page cannot be written.
pub fn run_man(args: &ManArgs) -> Result<(), Failure> {
    let dir = args.dir.display();
    let written =
        std::fs::create_dir_all(&args.dir).and_then(|()| clap_mangen::generate_to(command(), &args.dir));
    written.map_err(|error| Failure::io(format_args!("cannot write the pages into {dir}"), &error))
}
