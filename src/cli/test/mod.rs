//! `fanbridge test`: runs the tests of a configuration, without a bridge, a network or a secret of anybody:
//! those that are written in it, and those of a file.
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
use super::{ConfigArgs, Exit, Failure, colour_on, configuration_to_look, find};
use crate::config::{Config, ConfigTests, Report, load_tests};

/// Name of the file with the tests, in the directory of the configuration.
const TESTS_FILE: &str = "fanbridge.tests.yaml";

/// What to do if there is no test.
const EXAMPLE: &str = "write one in either, such as this, or name another file:
tests:
  - { name: a call is taken, source: stream, sample: call.created,
      expect: { verdict: accepted } }";

/// Arguments of `test`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A file with tests beside those in the configuration; by default `fanbridge.tests.yaml` next to it
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
    let config = configuration_to_look(&args.config)?;
    let found = find(&args.config);
    let dir = found.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
    let path = args.file.clone().unwrap_or_else(|| dir.join(TESTS_FILE));
    let is_there = args.file.is_some() || path.exists();
    let within = config.tests.as_ref().map_err(refused)?;
    if within.tests.is_empty() && !is_there {
        let nowhere = format!("there is no `tests` in the configuration, and no {}", path.display());
        return Err(Failure::new(Exit::Io, format!("{nowhere}; {EXAMPLE}")));
    }
    let of_file = if is_there { read_tests(&path, &config)? } else { ConfigTests::default() };
    let mut results = run_all(within, &config, dir)?;
    results.extend(run_all(&of_file, &config, path.parent().unwrap_or(Path::new("")))?);
    print(&match args.format {
        TestFormat::Table => report::table(&results),
        TestFormat::Ndjson => report::ndjson(&results)?,
        TestFormat::Junit => report::junit(&results)?,
    })?;
    // What was printed says which.
    if results.iter().all(TestResult::passed) { Ok(()) } else { Err(Failure::new(Exit::Failed, "")) }
}

/// The tests of a file.
fn read_tests(path: &Path, config: &Config) -> Result<ConfigTests, Failure> {
    let text = String::from_utf8(read(path)?).map_err(|_| {
        Failure::new(Exit::Config, format!("{} is not UTF-8 text: save it as UTF-8", path.display()))
    })?;
    load_tests(&path.to_string_lossy(), &text, config).map_err(|report| refused(&report))
}

/// Prints what is wrong with tests.
fn refused(report: &Report) -> Failure {
    eprintln!("{}\n", report.render(colour_on(&std::io::stderr())));
    Failure::new(Exit::Config, "the tests have errors and cannot be run")
}

/// Runs tests that are written in this directory.
fn run_all(tests: &ConfigTests, config: &Config, dir: &Path) -> Result<Vec<TestResult>, Failure> {
    let explained = config.explained();
    let now = SystemTime::now().into();
    (0..tests.tests.len()).map(|index| judge(tests, index, config, &explained, dir, now)).collect()
}
