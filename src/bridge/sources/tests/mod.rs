//! The sources of a running bridge, swapped while deliveries come.
#![allow(clippy::unwrap_used)]

mod peer;
mod queue;
mod swaps;
mod under_load;

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use super::*;
use crate::bridge::Bridge;
use crate::config::{Config, Environment, load};
use crate::timeline::{StepFilter, StepKind, TakenStep};

const OLD: &str = "the-old-secret-of-these-tests";
const NEW: &str = "the-new-secret-of-these-tests";
const FORGED: &str = "a-secret-that-nobody-configured";

/// A running bridge whose sources are swapped.
struct Swapped {
    bridge: Bridge,
    dir: tempfile::TempDir,
}

impl Swapped {
    /// A bridge with these sources and this selection.
    async fn start(rest: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("secret"), OLD).unwrap();
        let config = config(dir.path(), rest);
        Self { bridge: Bridge::start(config).await.unwrap(), dir }
    }

    /// Swaps the sources for those of another configuration. These are unchanged.
    async fn swap(&mut self, rest: &str, unchanged: &[&str]) {
        let prepared = self.prepare(rest, unchanged).await.unwrap();
        self.bridge.sources.swap(prepared);
    }

    async fn prepare(&self, rest: &str, unchanged: &[&str]) -> Result<PreparedSources, BridgeError> {
        let config = config(self.dir.path(), rest);
        self.bridge.sources.prepare(&config, &|name| unchanged.contains(&name)).await
    }

    fn address(&self) -> SocketAddr {
        self.bridge.http_address()
    }

    /// The series of all metrics, without their values.
    fn series(&self) -> Vec<String> {
        let text = self.bridge.sources.surroundings.metrics.render();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
    }

    /// What was taken of a source.
    fn taken(&self, source: &str) -> Vec<TakenStep> {
        let filter = StepFilter { source: Some(source.to_owned()), ..StepFilter::default() };
        let steps = self.bridge.timeline().newest(None, &filter, usize::MAX).steps.into_iter();
        let taken = steps.filter_map(|step| match step.kind {
            StepKind::Taken(taken) => Some(taken),
            _ => None,
        });
        taken.collect()
    }

    fn stop(self) -> Pin<Box<impl Future<Output = ()>>> {
        let Self { bridge, dir } = self;
        Box::pin(async move {
            bridge.stop().await.unwrap();
            drop(dir);
        })
    }
}

/// A configuration in this directory.
fn config(dir: &Path, rest: &str) -> Config {
    let dir = dir.display();
    let text = format!(
        "http: {{ listen: 127.0.0.1:0 }}\n\
         admin: {{ listen: 127.0.0.1:0 }}\n\
         spool: {{ dir: {dir}/spool, free_bytes_min: 0 }}\n\
         sinks: {{ local: {{ file: {{ dir: {dir}/topics }} }} }}\n\
         {}",
        rest.replace("DIR", &dir.to_string())
    );
    let env = |name: &str| match name {
        "OLD" => Some(OLD.to_owned()),
        "NEW" => Some(NEW.to_owned()),
        _ => None,
    };
    let read = |path: &Path| std::fs::read(path);
    let outside = Environment { env: &env, read: &read, now: SystemTime::now().into() };
    load("fanbridge.yaml", &text, &outside).unwrap_or_else(|report| panic!("{report}")).config
}
