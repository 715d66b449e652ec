//! `fanbridge tail`: shows the steps of the running bridge as they come, a line each.
//!
//! It asks the admin listener again and again for what came behind the last page, so that nothing is shown
//! twice, and what was not shown is counted. It outlives a restart of the bridge. On a terminal it has keys.

mod choice;
mod interactive;
mod keys;
mod line;
mod lines;
mod live;
mod terminal;

use std::num::NonZeroU64;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use self::choice::{ChoiceLine, LineChoice};
use self::interactive::asked;
pub(super) use self::interactive::{Keyboard, KeyboardEvent, next_event};
pub(super) use self::keys::Key;
pub(super) use self::line::{short_id, short_name};
use self::lines::{StepLines, missed, remark};
pub(super) use self::live::LiveTail;
use super::client::{Client, block_on, path_with};
use super::output::{print_while_read, terminal_json};
use super::{ConfigArgs, Exit, Failure, configuration_to_ask};
use crate::config::{Config, did_you_mean};
use crate::event::IdMatch;
use crate::scalars::Period;
use crate::timeline::{Step, StepWord};

/// The path of the admin API's steps.
pub(super) const STEPS_PATH: &str = "/api/v1/events";
/// How long a bridge can be away before it has ended.
const AWAY_MAX: Duration = Duration::from_secs(15);
/// The pause after a request that failed or brought no step. A bridge that stops answers at once.
const PAUSE: Duration = Duration::from_millis(250);

/// What the keys do, as it is said on a terminal.
const KEYS: &str = "\nkeys: q quit, space pause, f failed only, ↑↓ choose, enter explain";

/// Arguments of `tail`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only deliveries of this source, and its events in the sinks
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only events of this type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only this: accepted, filtered, duplicate, quarantined, refused, unanswered, published, held or
    /// rejected
    #[arg(long, value_name = "WORD")]
    verdict: Option<StepWord>,
    /// Only what happens in this sink
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// Only what somebody has to look at: quarantined, refused, unanswered, held or rejected
    #[arg(long)]
    failed: bool,
    /// Only events whose id begins so, with or without `sha256-`
    #[arg(long, value_name = "ID")]
    id: Option<IdMatch>,
    /// How to print what happens
    #[arg(long, value_enum, default_value_t)]
    format: TailFormat,
    /// Begin with what the bridge still has in memory since its start
    #[arg(long)]
    since_start: bool,
    /// End after so many lines
    #[arg(long, value_name = "N")]
    count: Option<NonZeroU64>,
    /// End after this time (`10s`, `5m`); with `--count`, fewer lines by then are a failure
    #[arg(long = "for", value_name = "TIME")]
    lasts: Option<Period>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// The form of a step on stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum TailFormat {
    /// A line for people; an accepted event is shown when a sink has it
    #[default]
    Table,
    /// Every step with all its fields, one JSON object a line
    Ndjson,
}

/// Shows steps until it is interrupted, has shown enough, the time is over or nobody reads.
///
/// # Errors
/// Exit code 2 for an unknown source or sink, 74 if no bridge answers at the start, 75 if it ends meanwhile,
/// 1 if fewer steps than wanted came in time.
pub fn run(args: &Args) -> Result<(), Failure> {
    let config = configuration_to_ask(&args.config)?;
    check_names(args, &config)?;
    let code = block_on(async {
        let client = Client::admin(&config.admin).await?;
        let keyboard = (args.format == TailFormat::Table).then(Keyboard::open).flatten();
        let mut tail = Tail::new(args, &config);
        let over = async {
            match args.lasts {
                Some(Period(time)) => sleep(time).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            interrupted = tokio::signal::ctrl_c() => {
                interrupted.map_err(|error| Failure::io("cannot wait for an interrupt", &error)).map(|()| 0)
            }
            ended = tail.follow(&client, keyboard) => ended,
            () = over => tail.time_is_over().map(|()| 0),
        }
    })?;
    match code {
        0 => Ok(()),
        // A signal ended it, and the terminal is restored.
        code => std::process::exit(code),
    }
}

/// Refuses a source or a sink that the configuration does not have: no step would ever be shown.
fn check_names(args: &Args, config: &Config) -> Result<(), Failure> {
    let sources: Vec<&str> = config.sources.iter().map(|source| &*source.name).collect();
    let sinks: Vec<&str> = config.sinks.iter().map(|sink| &*sink.name).collect();
    for (what, asked, known) in [("source", &args.source, sources), ("sink", &args.sink, sinks)] {
        if let Some(name) = asked.as_deref().filter(|name| !known.contains(name)) {
            let meant = did_you_mean(name, known);
            let message = format!("the configuration has no {what} `{name}`{meant}");
            return Err(Failure::new(Exit::Usage, message));
        }
    }
    Ok(())
}

/// A page of steps, as the admin API answers it.
#[derive(Debug, Deserialize)]
pub(super) struct StepsPage {
    /// The steps.
    pub(super) items: Vec<Value>,
    /// Where the next request goes on.
    pub(super) next: String,
    missed: u64,
    restarted: bool,
}

/// What is shown, and how much of it was.
#[derive(Debug)]
struct Tail<'a> {
    args: &'a Args,
    lines: StepLines,
    shown: u64,
    /// Whether only what somebody has to look at is shown.
    failed: bool,
    /// Whether somebody at the terminal wants to see no more for now.
    is_paused: bool,
    choice: LineChoice,
}

impl<'a> Tail<'a> {
    fn new(args: &'a Args, config: &Config) -> Self {
        let shows_accepted = args.verdict == Some(StepWord::Accepted);
        Self {
            args,
            lines: StepLines::new(config.sinks.len(), shows_accepted),
            shown: 0,
            failed: args.failed,
            is_paused: false,
            choice: LineChoice::default(),
        }
    }

    /// Shows what comes until it is enough, nobody reads it, or a key or a signal ends it; the exit code.
    async fn follow(&mut self, client: &Client, mut keyboard: Option<Keyboard>) -> Result<i32, Failure> {
        let mut after = "start".to_owned();
        if !self.args.since_start {
            after = client.json::<StepsPage>(&format!("{STEPS_PATH}?after=now&limit=1")).await?.next;
        }
        let keys = if keyboard.is_some() { KEYS } else { "" };
        eprintln!("showing what happens from {} on; times are UTC{keys}", self.beginning());
        let mut away: Option<Instant> = None;
        loop {
            let path = self.next(&after);
            let page = tokio::select! {
                biased;
                event = next_event(&mut keyboard) => match self.obey(event, client).await? {
                    Some(code) => return Ok(code),
                    None => continue,
                },
                page = client.json::<StepsPage>(&path), if !self.is_paused => page,
            };
            match page {
                Ok(page) => {
                    away = None;
                    let is_empty = page.items.is_empty();
                    after.clone_from(&page.next);
                    if !self.show(page)? {
                        return Ok(0);
                    }
                    if !is_empty {
                        continue;
                    }
                }
                Err(failure) if matches!(failure.exit, Exit::Io | Exit::Temporary) => {
                    let since = *away.get_or_insert_with(|| {
                        eprintln!("{failure}: waiting up to {} s for the bridge", AWAY_MAX.as_secs());
                        Instant::now()
                    });
                    if since.elapsed() > AWAY_MAX {
                        let message = format!("the bridge was away for {} s: {failure}", AWAY_MAX.as_secs());
                        return Err(Failure::new(Exit::Temporary, message));
                    }
                }
                Err(failure) => return Err(failure),
            }
            sleep(PAUSE).await;
        }
    }

    /// The path of the request for what came behind a cursor, or else for the next step.
    fn next(&self, after: &str) -> String {
        let args = self.args;
        let parameters = [
            ("after", Some(after)),
            ("limit", Some("1000")),
            ("wait", Some("20s")),
            ("source", args.source.as_deref()),
            ("type", args.event_type.as_deref()),
            ("verdict", args.verdict.map(StepWord::as_str)),
            ("sink", args.sink.as_deref()),
            ("id", args.id.as_ref().map(IdMatch::as_str)),
            ("failed", self.failed.then_some("true")),
        ];
        path_with(STEPS_PATH, &parameters)
    }

    fn beginning(&self) -> &'static str {
        if self.args.since_start { "the bridge's start" } else { "now" }
    }

    /// Prints a page; whether more is wanted.
    fn show(&mut self, page: StepsPage) -> Result<bool, Failure> {
        let mut text = String::new();
        if page.restarted {
            self.remark("the bridge has started again", &mut text);
        }
        if page.missed > 0 {
            self.remark(&missed(page.missed), &mut text);
        }
        for item in page.items {
            if self.is_over() {
                break;
            }
            if let Some(line) = self.shown_item(item, &mut text) {
                text.push_str(&line);
                text.push('\n');
                self.shown += 1;
            }
        }
        let is_read = text.is_empty() || print_while_read(&text)?;
        Ok(is_read && !self.is_over())
    }

    /// Whether all lines that were asked for are shown.
    fn is_over(&self) -> bool {
        self.args.count.is_some_and(|count| self.shown >= count.get())
    }

    /// Says what is no step. Programs get only steps on stdout.
    fn remark(&self, words: &str, text: &mut String) {
        match self.args.format {
            TailFormat::Table => text.push_str(&remark(words)),
            TailFormat::Ndjson => eprintln!("{words}"),
        }
    }

    /// The line of a step, if it has one.
    fn shown_item(&mut self, item: Value, text: &mut String) -> Option<String> {
        if self.args.format == TailFormat::Ndjson {
            return Some(terminal_json(item.to_string()));
        }
        let selected_by = Vec::<String>::deserialize(&item["selected_by"]).ok();
        let Ok(step) = serde_json::from_value::<Step>(item) else {
            return Some("-- a step of a kind that this release does not know".into());
        };
        let line = self.lines.line(&step, selected_by.as_deref(), text)?;
        self.choice.note(ChoiceLine { text: line.clone(), asked: asked(&step) });
        Some(line)
    }

    /// The end of one whose time is over: a failure if lines are missing.
    fn time_is_over(&self) -> Result<(), Failure> {
        match self.args.count {
            Some(count) if self.shown < count.get() => {
                let message = format!("only {} of {count} steps came in time", self.shown);
                Err(Failure::new(Exit::Failed, message))
            }
            _ => Ok(()),
        }
    }
}
