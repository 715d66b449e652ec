//! `fanbridge top`: what comes and goes in the running bridge by the second, by source and by sink.
//!
//! It reads the metrics of the admin listener again and again, and shows the difference.

mod block;

use std::num::NonZeroU64;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, MissedTickBehavior, interval};

use self::block::{TopBlock, TopNames};
use super::client::{Client, block_on};
use super::output::{print_while_read, terminal_size};
use super::tail::{Key, Keyboard, KeyboardEvent, next_event};
use super::{ConfigArgs, Exit, Failure, configuration_to_ask};
use crate::config::Config;
use crate::scalars::Period;
use crate::source::Channel;
use crate::telemetry::Readings;

/// Shortest time between two looks.
const EVERY_MIN: Duration = Duration::from_millis(100);
/// How long a bridge can be away before it has ended.
const AWAY_MAX: Duration = Duration::from_secs(15);

/// Arguments of `top`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How often to look, `100ms` or more
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = every)]
    every: Period,
    /// End after so many blocks
    #[arg(long, value_name = "N")]
    count: Option<NonZeroU64>,
    /// How to print a block
    #[arg(long, value_enum, default_value_t)]
    format: TopFormat,
    #[command(flatten)]
    config: ConfigArgs,
}

fn every(text: &str) -> Result<Period, String> {
    let period: Period = text.parse()?;
    let is_long_enough = period.0 >= EVERY_MIN;
    is_long_enough.then_some(period).ok_or_else(|| format!("expected at least {}", Period(EVERY_MIN)))
}

/// The form of a block on stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum TopFormat {
    /// Two tables, which are drawn anew in their place on a terminal
    #[default]
    Table,
    /// One JSON object a line
    Ndjson,
}

/// Shows what comes and goes until it is interrupted, has shown enough or nobody reads.
///
/// # Errors
/// Exit code 74 if no bridge answers at the start, 75 if it ends meanwhile.
pub fn run(args: &Args) -> Result<(), Failure> {
    let config = configuration_to_ask(&args.config)?;
    let code = block_on(async {
        let client = Client::admin(&config.admin).await?;
        let keyboard = (args.format == TopFormat::Table).then(Keyboard::open).flatten();
        let mut top = Top { args, names: names(&config), shown: 0, drawn: 0 };
        tokio::select! {
            biased;
            interrupted = tokio::signal::ctrl_c() => {
                interrupted.map_err(|error| Failure::io("cannot wait for an interrupt", &error)).map(|()| 0)
            }
            ended = top.follow(&client, keyboard) => ended,
        }
    })?;
    match code {
        0 => Ok(()),
        // A signal ended it, and the terminal is restored.
        code => std::process::exit(code),
    }
}

/// The sources and sinks of a configuration. Only a source that takes requests answers its sender.
fn names(config: &Config) -> TopNames {
    let answers = |channel: &Channel| !matches!(channel, Channel::Sqs(_));
    let sources = config.sources.iter().map(|source| (source.name.to_string(), answers(&source.channel)));
    TopNames {
        sources: sources.collect(),
        sinks: config.sinks.iter().map(|sink| sink.name.clone()).collect(),
    }
}

/// What is shown, and how much of it was.
#[derive(Debug)]
struct Top<'a> {
    args: &'a Args,
    names: TopNames,
    shown: u64,
    /// Lines of the block that stands on the terminal.
    drawn: usize,
}

impl Top<'_> {
    /// Shows a block again and again; the exit code.
    async fn follow(&mut self, client: &Client, mut keyboard: Option<Keyboard>) -> Result<i32, Failure> {
        let mut before = look(client).await?;
        let mut ticks = interval(self.args.every.0);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            tokio::select! {
                biased;
                event = next_event(&mut keyboard) => match event {
                    KeyboardEvent::End(code) => return Ok(code),
                    KeyboardEvent::Key(Key::Quit) => return Ok(0),
                    KeyboardEvent::Key(_) => continue,
                },
                _ = ticks.tick() => {}
            }
            let now = match look(client).await {
                Ok(now) => now,
                // One that starts again begins anew; the difference is then what came since.
                Err(failure) if before.1.elapsed() < AWAY_MAX && failure.exit != Exit::Config => continue,
                Err(failure) => return Err(Failure::new(Exit::Temporary, failure.to_string())),
            };
            let seconds = (now.1 - before.1).as_secs_f64();
            let block = TopBlock::between(&before.0, &now.0, seconds, &self.names, SystemTime::now().into());
            before = now;
            if !self.show(&block)? {
                return Ok(0);
            }
        }
    }

    /// Prints a block, in the place of the one before if that stands on a terminal; whether more is wanted.
    fn show(&mut self, block: &TopBlock) -> Result<bool, Failure> {
        let terminal = terminal_size();
        let text = match (self.args.format, terminal) {
            (TopFormat::Ndjson, _) => {
                let line = serde_json::to_string(block);
                line.map_err(|error| Failure::io("cannot write the block", &error))? + "\n"
            }
            (TopFormat::Table, Some((columns, rows))) => {
                let erase = match self.drawn {
                    0 => String::new(),
                    drawn => format!("\u{1b}[{drawn}A\r\u{1b}[J"),
                };
                // The last line of the terminal is the cursor's.
                let text = block.text(Some(rows.saturating_sub(1)));
                self.drawn = text.lines().count();
                // A line that a narrow terminal breaks would be two.
                let cut = |line: &str| line.chars().take(columns).chain(['\n']).collect::<String>();
                erase + &text.lines().map(cut).collect::<String>()
            }
            (TopFormat::Table, None) if self.shown > 0 => format!("\n{}", block.text(None)),
            (TopFormat::Table, None) => block.text(None),
        };
        self.shown += 1;
        let is_read = print_while_read(&text)?;
        Ok(is_read && self.args.count.is_none_or(|count| self.shown < count.get()))
    }
}

/// The metrics, and when they came.
async fn look(client: &Client) -> Result<(Readings, Instant), Failure> {
    let text = client.document("/metrics").await?.unwrap_or_default();
    Ok((Readings::of(&String::from_utf8_lossy(&text)), Instant::now()))
}
