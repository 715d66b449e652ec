//! `fanbridge dead list`, `show` and `export`: reads the dead letters of a running bridge through its admin
//! API, or, under the files' locks, those in the state file that a stopped one left.

use std::io::{self, IsTerminal};

use super::super::client::{Client, path_with};
use super::super::output::{Format, Rows, print, terminal_json};
use super::super::running::unread_state;
use super::super::tail::short_id;
use super::super::{Failure, configuration_to_ask, notice};
use super::groups::{causes, named, of_bridge};
use super::{ExportArgs, ListArgs, ShowArgs, none_such, unheard, unopened};
use crate::config::Config;
use crate::dead_letter;
use crate::disk::{DiskLock, RealDisk};
use crate::spool::{SpoolError, lock_to_read};
use crate::state::{DeadFilter, DeadGroups, DeadLetterInfo, FILE_NAME, State, StateError};

/// Letters per export request.
const EXPORT_PAGE: usize = 100;

pub async fn list(args: &ListArgs) -> Result<(), Failure> {
    let letters = Letters::reach(&configuration_to_ask(&args.config)?).await?;
    let filter = letters.resolved(args.filter.filter()).await?;
    let page = letters.list(&filter, args.after, args.limit).await?;
    if args.format == Format::Table
        && let Some(causes) = causes(&letters.groups(&filter).await?)
    {
        print(&format!("{causes}\n"))?;
    }
    let is_terminal = args.format == Format::Table && io::stdout().is_terminal();
    rows(&page, is_terminal).print(args.format)?;
    if let Some(last) = page.last().filter(|_| page.len() as u64 == args.limit) {
        notice(format_args!("there might be more dead letters: continue with --after {}", last.id));
    }
    Ok(())
}

/// The rows of a list; on a terminal an id is shown by its beginning, by which `explain` finds it.
fn rows(page: &[DeadLetterInfo], is_terminal: bool) -> Rows {
    let mut rows = Rows::new(&[
        "id",
        "sink",
        "reason",
        "event_type",
        "event_id",
        "attempts",
        "last",
        "body_bytes",
        "detail",
    ]);
    for letter in page {
        let mut row = serde_json::to_value(letter).unwrap_or_default();
        if is_terminal {
            row["event_id"] = short_id(&letter.event_id).into();
        }
        rows.add(row);
    }
    rows
}

pub async fn show(args: &ShowArgs) -> Result<(), Failure> {
    let letters = Letters::reach(&configuration_to_ask(&args.config)?).await?;
    match letters.show(args.id).await? {
        Some(document) => print(&format!("{}\n", terminal_json(document))),
        None => Err(none_such(&[args.id])),
    }
}

pub async fn export(args: &ExportArgs) -> Result<(), Failure> {
    let letters = Letters::reach(&configuration_to_ask(&args.config)?).await?;
    let filter = letters.resolved(args.filter.filter()).await?;
    let mut after = 0;
    while let Some((lines, last)) = letters.export(&filter, after, EXPORT_PAGE).await? {
        print(&terminal_json(lines))?;
        after = last;
    }
    Ok(())
}

/// Access to the dead letters of a bridge.
pub(super) enum Letters {
    /// The running bridge, through its admin API.
    Running(Box<Client>),
    /// The state file of a stopped bridge, opened for reading. The lock keeps a bridge from starting
    /// meanwhile.
    Stopped { state: State, _lock: Option<Box<dyn DiskLock>> },
}

impl Letters {
    /// Asks the running bridge, or opens the state file if no bridge answers.
    pub(super) async fn reach(config: &Config) -> Result<Self, Failure> {
        let silent = match Client::admin(&config.admin).await {
            Ok(bridge) => return Ok(Self::Running(Box::new(bridge))),
            Err(failure) => failure,
        };
        // This process does nothing else, so it can block on the disk.
        let dir = &config.spool.dir;
        let locked = match lock_to_read(&RealDisk::default(), dir) {
            Ok(locked) => locked,
            Err(SpoolError::Locked(_)) => return Err(unheard(config, &silent)),
            Err(error) => return Err(unopened(config, &error)),
        };
        match State::open_to_read(&dir.join(FILE_NAME)) {
            Ok(state) => Ok(Self::Stopped { state, _lock: locked }),
            // A bridge is running, but its admin listener does not answer.
            Err(StateError::Locked(_)) => Err(unheard(config, &silent)),
            Err(error) => Err(unread_state(&error)),
        }
    }

    /// The filter with the whole id of its group, of which it can have the beginning.
    pub(super) async fn resolved(&self, mut filter: DeadFilter) -> Result<DeadFilter, Failure> {
        if let Some(asked) = &filter.group {
            let all = self.groups(&DeadFilter::default()).await?;
            filter.group = Some(named(&all, asked)?);
        }
        Ok(filter)
    }

    /// The letters by their cause.
    pub(super) async fn groups(&self, filter: &DeadFilter) -> Result<DeadGroups, Failure> {
        match self {
            Self::Running(bridge) => of_bridge(bridge, filter).await,
            Self::Stopped { state, .. } => {
                state.dead_letter_groups(filter).map_err(|error| unread_state(&error))
            }
        }
    }

    /// A page of the list, from the first number after `after`.
    async fn list(
        &self,
        filter: &DeadFilter,
        after: u64,
        limit: u64,
    ) -> Result<Vec<DeadLetterInfo>, Failure> {
        match self {
            Self::Running(bridge) => {
                #[derive(serde::Deserialize)]
                struct Page {
                    items: Vec<DeadLetterInfo>,
                }
                let page: Page = bridge.json(&query("/api/v1/dead", filter, Some((after, limit)))).await?;
                Ok(page.items)
            }
            Self::Stopped { state, .. } => {
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                state.dead_letters(filter, after, limit).map_err(|error| unread_state(&error))
            }
        }
    }

    /// One letter with its body, as JSON on one line.
    async fn show(&self, id: u64) -> Result<Option<String>, Failure> {
        match self {
            Self::Running(bridge) => {
                let document = bridge.document(&format!("/api/v1/dead/{id}")).await?;
                Ok(document.map(|document| String::from_utf8_lossy(&document).into_owned()))
            }
            Self::Stopped { state, .. } => {
                let document = dead_letter::show(state, id).map_err(|error| unread_state(&error))?;
                document
                    .map(|document| serde_json::to_string(&document))
                    .transpose()
                    .map_err(|error| Failure::io("cannot write the dead letter", &error))
            }
        }
    }

    /// A page of letters with their bodies as JSON Lines, and the number of the last one; `None`
    /// after the last page.
    async fn export(
        &self,
        filter: &DeadFilter,
        after: u64,
        limit: usize,
    ) -> Result<Option<(String, u64)>, Failure> {
        let lines = match self {
            Self::Running(bridge) => {
                let path = query("/api/v1/dead/export", filter, Some((after, limit as u64)));
                let lines = bridge.document(&path).await?;
                String::from_utf8_lossy(&lines.unwrap_or_default()).into_owned()
            }
            Self::Stopped { state, .. } => {
                let page =
                    dead_letter::export(state, filter, after, limit).map_err(|error| unread_state(&error))?;
                String::from_utf8_lossy(&page.lines).into_owned()
            }
        };
        #[derive(serde::Deserialize)]
        struct Numbered {
            id: u64,
        }
        let Some(line) = lines.lines().next_back() else {
            return Ok(None);
        };
        let last: Numbered =
            serde_json::from_str(line).map_err(|error| Failure::io("cannot read the export", &error))?;
        Ok(Some((lines, last.id)))
    }
}

/// The path of a request for these letters, or for the first `limit` of them with numbers after `after`.
pub(super) fn query(path: &str, filter: &DeadFilter, page: Option<(u64, u64)>) -> String {
    let (after, limit) = page.map(|(after, limit)| (after.to_string(), limit.to_string())).unzip();
    let pairs = [
        ("sink", filter.sink.as_deref()),
        ("quarantined", filter.quarantined.then_some("true")),
        ("reason", filter.reason.as_deref()),
        ("type", filter.event_type.as_deref()),
        ("group", filter.group.as_deref()),
        ("after", after.as_deref()),
        ("limit", limit.as_deref()),
    ];
    path_with(path, &pairs)
}
