//! `fanbridge test`: runs the tests of a configuration, without a bridge, a network or a secret of anybody.
//!
//! Each test is a delivery as if it came signed, judged by the same code as in the bridge, and compared with
//! what the test expects.

mod judge;
mod report;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use self::judge::{TestResult, judge};
use super::output::print;
use super::recorded::read;
use super::{ConfigArgs, Exit, Failure, colour_on, configuration, find};
use crate::config::load_tests;

/// Name of the file with the tests, in the directory of the configuration.
const TESTS_FILE: &str = "fanbridge.tests.yaml";

/// What to do if there is none.
const EXAMPLE: &str = "write one, such as this, or name another file:
tests:
  - { name: a call is taken, source: stream, sample: call.created,
      expect: { verdict: accepted } }";

/// Arguments of `test`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file with the tests; by default `fanbridge.tests.yaml` beside the configuration
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// How to print the results
    #[arg(long, value_enum, default_value_t)]
    format: TestFormat,
    #[command(flatten)]
    config: ConfigArgs,
}

/// The form of the results on stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum TestFormat {
    /// A line for each test, and one for each thing that is not as expected
    #[default]
    Table,
    /// One JSON object a test
    Ndjson,
    /// JUnit's XML, for CI
    Junit,
}

/// Runs the tests and prints the results.
///
/// # Errors
/// Exit code 1 if a test fails, 74 if a file cannot be read, 78 if the tests or the configuration have
/// errors.
pub fn run(args: &Args) -> Result<(), Failure> {
    let config = configuration(&args.config)?;
    let path = args.file.clone().unwrap_or_else(|| beside(find(&args.config).as_deref()));
    if args.file.is_none() && !path.exists() {
        return Err(Failure::new(Exit::Io, format!("there is no {}; {EXAMPLE}", path.display())));
    }
    let text = String::from_utf8(read(&path)?).map_err(|_| {
        Failure::new(Exit::Config, format!("{} is not UTF-8 text: save it as UTF-8", path.display()))
    })?;
    let tests = load_tests(&path.to_string_lossy(), &text, &config).map_err(|report| {
        eprintln!("{}\n", report.render(colour_on(&std::io::stderr())));
        Failure::new(Exit::Config, "the tests have errors and cannot be run")
    })?;
    let dir = path.parent().unwrap_or(Path::new(""));
    let explained = config.explained();
    let now = SystemTime::now().into();
    let results = (0..tests.tests.len()).map(|index| judge(&tests, index, &config, &explained, dir, now));
    let results: Vec<TestResult> = results.collect::<Result<_, _>>()?;
    print(&match args.format {
        TestFormat::Table => report::table(&results),
        TestFormat::Ndjson => report::ndjson(&results)?,
        TestFormat::Junit => report::junit(&results)?,
    })?;
    // What was printed says which.
    if results.iter().all(TestResult::passed) { Ok(()) } else { Err(Failure::new(Exit::Failed, "")) }
}

/// The file of the tests of this configuration.
fn beside(configuration: Option<&Path>) -> PathBuf {
    configuration.and_then(Path::parent).unwrap_or(Path::new("")).join(TESTS_FILE)
}
