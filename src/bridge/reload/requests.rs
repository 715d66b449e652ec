//! What is asked for, with the file as it was read.

use std::sync::Arc;

use serde_json::Value as Json;
use tokio::sync::mpsc::Receiver;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::admin::reload::{AskedReload, ReloadRefusal};
use crate::config::{Config, ConfigurationFile, LoadError, Loaded};

/// The requests to read the configuration again, one at a time.
pub(in crate::bridge) struct ReloadRequests {
    requests: Receiver<AskedReload>,
    file: Option<Arc<ConfigurationFile>>,
    /// The request whose file is being read.
    reading: Option<(AskedReload, JoinHandle<FileRead>)>,
}

/// A request, and what was read for it.
pub(in crate::bridge) struct ReadConfiguration {
    pub(in crate::bridge) asked: AskedReload,
    /// The configuration, and its warnings.
    pub(in crate::bridge) loaded: FileRead,
}

type FileRead = Result<(Config, Vec<Json>), ReloadRefusal>;

impl ReloadRequests {
    /// The requests to read this file; without one, each is refused.
    pub(in crate::bridge) fn new(
        requests: Receiver<AskedReload>,
        file: Option<Arc<ConfigurationFile>>,
    ) -> Self {
        Self { requests, file, reading: None }
    }

    /// The next request, once its file is read and checked. Nothing is lost if the future is dropped.
    pub(in crate::bridge) async fn next(&mut self) -> ReadConfiguration {
        loop {
            if let Some((_, reading)) = &mut self.reading {
                let loaded = reading.await.unwrap_or_else(|_| {
                    let why = "the check of the configuration broke down, which is a fault: see the log";
                    Err(ReloadRefusal::Failed(why.to_owned()))
                });
                if let Some((asked, _)) = self.reading.take() {
                    return ReadConfiguration { asked, loaded };
                }
            }
            let asked = match self.requests.recv().await {
                Some(asked) => asked,
                None => std::future::pending().await,
            };
            let file = self.file.clone();
            self.reading = Some((asked, spawn_blocking(move || read(file.as_deref()))));
        }
    }
}

fn read(file: Option<&ConfigurationFile>) -> FileRead {
    match file.ok_or(ReloadRefusal::NoFile)?.load() {
        Ok(Loaded { config, warnings }) => Ok((config, listed(warnings.to_json()))),
        Err(LoadError::Refused(report)) => Err(ReloadRefusal::Errors(listed(report.to_json()))),
        Err(LoadError::Unreadable { path, source }) => {
            Err(ReloadRefusal::Failed(format!("cannot read {}: {source}", path.display())))
        }
    }
}

fn listed(problems: Json) -> Vec<Json> {
    match problems {
        Json::Array(problems) => problems,
        _ => Vec::new(),
    }
}
