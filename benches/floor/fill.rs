//! Fills a spool with events that its sink has: what a bridge finds at a start after a busy day.
//!
//! Written through the bridge's own log, as fast as it takes them, so that the files are what a bridge
//! of this build leaves.

use bytes::Bytes;
use clap::Args;
use fanbridge::dedup::DuplicateKey;
use fanbridge::disk::RealDisk;
use fanbridge::event::{Entry, Event, EventTime, Fingerprint, Timestamp};
use fanbridge::spool::{Appended, LockedDir, Spool, SpoolOptions};
use fanbridge::state::{FILE_NAME, Progress, State};
use fanbridge::telemetry::Metrics;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};
use tokio::task::JoinSet;

use crate::body::{Bodies, EVENT_TYPE};

/// Appends that wait for the disk at once.
const WAITING: usize = 1024;
/// How many appends are between two looks at the size.
const LOOK_EVERY: u64 = 64;
/// No bound that the log could come to.
const BYTES_MAX: u64 = 1 << 50;

/// Fills a spool.
#[derive(Args)]
pub struct Fill {
    /// The spool's directory.
    #[arg(long)]
    dir: PathBuf,
    /// GiB that the log takes.
    #[arg(long)]
    gib: f64,
    /// Bytes of each body; with its attributes an event takes about 300 more.
    #[arg(long, default_value_t = 720)]
    body_bytes: usize,
    /// The sink that has all events already.
    #[arg(long, default_value = "lake")]
    sink: String,
}

/// What was written.
#[derive(Serialize)]
struct Filled {
    events: u64,
    bytes: u64,
    seconds: f64,
}

impl Fill {
    /// Fills it and prints what was written.
    ///
    /// # Errors
    /// When the log or the state does not take what it is given.
    pub async fn run(self) -> anyhow::Result<()> {
        let started = Instant::now();
        let locked = LockedDir::take(&self.dir, Arc::new(RealDisk::default()))?;
        let options = SpoolOptions { dir: self.dir.clone(), bytes_max: BYTES_MAX, ..SpoolOptions::default() };
        let (spool, _) = Spool::open(locked, options, Arc::new(Metrics::new()))?;
        let bytes_max = (self.gib * f64::from(1 << 30)) as u64;
        let bodies = Bodies::new(self.body_bytes, 1000, b"events are not signed here")?;
        let next = Arc::new(AtomicU64::new(0));
        let mut writers = JoinSet::new();
        for _ in 0..WAITING {
            writers.spawn(write(spool.clone(), bodies.clone(), Arc::clone(&next), bytes_max));
        }
        while let Some(ended) = writers.join_next().await {
            ended??;
        }
        let (head, bytes) = (spool.head(), spool.usage().bytes);
        spool.close().await;
        // Every reader has everything: the sink's, and the one that looks for quarantined deliveries.
        let all = |sink: &str| Progress { sink: sink.into(), cursor: head, dead: Vec::new() };
        State::open(&self.dir.join(FILE_NAME))?.commit(&[all(&self.sink), all("(quarantine)")])?;
        let filled = Filled { events: head.0, bytes, seconds: started.elapsed().as_secs_f64() };
        println!("{}", serde_json::to_string(&filled)?);
        Ok(())
    }
}

/// One event after the other, until the log has its size.
async fn write(spool: Spool, mut bodies: Bodies, next: Arc<AtomicU64>, bytes_max: u64) -> anyhow::Result<()> {
    let mut body = bodies.blank().to_vec();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number.is_multiple_of(LOOK_EVERY) && spool.usage().bytes >= bytes_max {
            // The others find the bound at once.
            next.fetch_max(u64::MAX / 2, Ordering::Relaxed);
        }
        if number >= u64::MAX / 2 {
            return Ok(());
        }
        let webhook_id = bodies.write(&mut body, number);
        let event = event(&body, std::str::from_utf8(&webhook_id)?, number);
        let key = DuplicateKey::of(&event.source, &event.id);
        let appended = spool.append(Entry::from(event), Some(key)).await?;
        anyhow::ensure!(matches!(appended, Appended::Stored(_)), "no two events are alike");
    }
}

/// With the attributes that admission gives an event of this kind.
fn event(body: &[u8], webhook_id: &str, number: u64) -> Event {
    let entity = format!("default:bench-{:06}", number % 1000);
    let arrived = Timestamp::from(SystemTime::now());
    Event {
        id: format!("sha256-{webhook_id}{webhook_id}").into(),
        source: "/stream/default".into(),
        event_type: EVENT_TYPE.into(),
        provider: "stream".into(),
        family: "video.session".into(),
        source_name: "bench".into(),
        key: Some(entity.clone().into()),
        subject: Some(entity.into()),
        time: EventTime::Stated(arrived.to_rfc3339().into()),
        arrived,
        configuration: Some(Fingerprint([7; 6])),
        extensions: vec![("webhookid".into(), webhook_id.into())],
        only_sink: None,
        body: Bytes::copy_from_slice(body),
    }
}
