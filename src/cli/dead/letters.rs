//! Reads dead letters from a running bridge, or from the state file that a stopped one left.

use super::super::client::Client;
use super::super::{Exit, Failure, chain};
use crate::config::Config;
use crate::dead_letter;
use crate::disk::{DiskLock, RealDisk};
use crate::spool::{SpoolError, lock_to_read};
use crate::state::{DeadFilter, DeadLetterInfo, FILE_NAME, State, StateError};

/// Access to the dead letters of a bridge.
pub enum Letters {
    /// The running bridge, through its admin API.
    Running(Client),
    /// The state file of a stopped bridge, opened for reading. The lock keeps a bridge from starting
    /// meanwhile.
    Stopped { state: State, _held: Option<Box<dyn DiskLock>> },
}

impl Letters {
    /// Asks the running bridge, or opens the state file if no bridge answers.
    pub async fn reach(config: &Config) -> Result<Self, Failure> {
        let silent = match Client::admin(&config.admin).await {
            Ok(bridge) => return Ok(Self::Running(bridge)),
            Err(failure) => failure,
        };
        // This process does nothing else, so it can block on the disk.
        let dir = &config.spool.dir;
        let held = match lock_to_read(&RealDisk::default(), dir) {
            Ok(held) => held,
            Err(SpoolError::Locked(_)) => return Err(silent),
            Err(error) => {
                return Err(Failure::io(format!("cannot open the spool in {}", dir.display()), &error));
            }
        };
        match State::open_to_read(&dir.join(FILE_NAME)) {
            Ok(state) => Ok(Self::Stopped { state, _held: held }),
            // A bridge is running, but its admin listener does not answer.
            Err(StateError::Locked(_)) => Err(silent),
            Err(error) => Err(failed(&error)),
        }
    }

    /// The running bridge, which a change of dead letters needs.
    pub fn running(self) -> Result<Client, Failure> {
        match self {
            Self::Running(bridge) => Ok(bridge),
            Self::Stopped { .. } => Err(Failure::new(
                Exit::Temporary,
                "no bridge is running, and only a running bridge can change its dead letters: start it with \
                 `fanbridge run`",
            )),
        }
    }

    /// A page of the list, from the first number after `after`.
    pub async fn list(
        &mut self,
        filter: &DeadFilter,
        after: u64,
        limit: u64,
    ) -> Result<Vec<DeadLetterInfo>, Failure> {
        match self {
            Self::Running(bridge) => bridge.json(&query("/api/dead", filter, after, limit)).await,
            Self::Stopped { state, .. } => {
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                state.dead_letters(filter, after, limit).map_err(|error| failed(&error))
            }
        }
    }

    /// One letter with its body, as JSON on one line.
    pub async fn show(&mut self, id: u64) -> Result<Option<String>, Failure> {
        match self {
            Self::Running(bridge) => {
                let document = bridge.document(&format!("/api/dead/{id}")).await?;
                Ok(document.map(|document| String::from_utf8_lossy(&document).into_owned()))
            }
            Self::Stopped { state, .. } => {
                let document = dead_letter::show(state, id).map_err(|error| failed(&error))?;
                document
                    .map(|document| serde_json::to_string(&document))
                    .transpose()
                    .map_err(|error| Failure::io("cannot write the dead letter", &error))
            }
        }
    }

    /// A page of letters with their bodies as JSON Lines, and the number of the last one; `None`
    /// after the last page.
    pub async fn export(
        &mut self,
        filter: &DeadFilter,
        after: u64,
        limit: usize,
    ) -> Result<Option<(String, u64)>, Failure> {
        let lines = match self {
            Self::Running(bridge) => {
                let lines = bridge.document(&query("/api/dead/export", filter, after, limit as u64)).await?;
                String::from_utf8_lossy(&lines.unwrap_or_default()).into_owned()
            }
            Self::Stopped { state, .. } => {
                let page =
                    dead_letter::export(state, filter, after, limit).map_err(|error| failed(&error))?;
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

fn query(path: &str, filter: &DeadFilter, after: u64, limit: u64) -> String {
    let (after, limit) = (after.to_string(), limit.to_string());
    let pairs = [
        ("sink", filter.sink.as_deref()),
        ("quarantined", filter.quarantined.then_some("true")),
        ("reason", filter.reason.as_deref()),
        ("type", filter.event_type.as_deref()),
        ("after", Some(after.as_str())),
        ("limit", Some(limit.as_str())),
    ];
    path_with(path, &pairs)
}

/// A path with a query, without the pairs that have no value.
fn path_with(path: &str, pairs: &[(&str, Option<&str>)]) -> String {
    let mut text = path.to_owned();
    let given = pairs.iter().filter_map(|(name, value)| value.map(|value| (name, value)));
    for (at, (name, value)) in given.enumerate() {
        text.push(if at == 0 { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(byte.into()),
                _ => text.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    text
}

fn failed(error: &StateError) -> Failure {
    let exit = match error {
        StateError::Locked(_) => Exit::Temporary,
        StateError::Newer { .. } => Exit::Config,
        StateError::Missing(_)
        | StateError::Damaged { .. }
        | StateError::NoRoom { .. }
        | StateError::Gone { .. }
        | StateError::Io { .. } => Exit::Io,
    };
    Failure::new(exit, chain(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_keeps_every_value_in_its_place() {
        let path =
            path_with("/api/dead", &[("sink", Some("a&b=c d/é")), ("reason", None), ("limit", Some("5"))]);
        assert_eq!(path, "/api/dead?sink=a%26b%3Dc%20d%2F%C3%A9&limit=5");
        assert_eq!(path_with("/api/dead", &[("sink", None)]), "/api/dead");
    }
}
