//! The figures of a former run: prints the table of goals, and draws the plot, from its JSON.
//!
//! `figures target/bench.json --plot docs/performance.svg`

#[cfg(test)]
#[path = "../run/flat.rs"]
mod flat;
#[path = "../run/goals.rs"]
mod goals;
#[path = "../run/plot.rs"]
mod plot;
#[path = "../run/table.rs"]
mod table;
#[allow(dead_code, reason = "the bench has targets of its own")]
#[path = "../run/verdict.rs"]
mod verdict;

use anyhow::Context;
use clap::Parser;
use std::path::PathBuf;
use table::{median, plain_table};

/// Prints the goals that a run of the bench met and missed.
#[derive(Parser)]
struct Arguments {
    /// The run's results.
    results: PathBuf,
    /// Where the plot goes.
    #[arg(long, value_name = "SVG")]
    plot: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let text = std::fs::read(&arguments.results)
        .with_context(|| format!("cannot read {}", arguments.results.display()))?;
    let results = serde_json::from_slice(&text)?;
    println!("{}", goals::table(&goals::goals(&results)));
    if let Some(path) = &arguments.plot {
        let svg = plot::svg(&results).context("the run measured too few numbers of connections")?;
        std::fs::write(path, svg).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
