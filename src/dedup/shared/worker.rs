//! The one task that speaks to the server: it claims keys for appends, confirms the keys of durable events,
//! and keeps the connection.
//!
//! A round that fails, or takes too long, ends the connection. From then on every claim is answered at once
//! with `Away`, and the server is tried again once a second. So an outage makes at most one append wait a
//! second, and not every one.

use std::convert::Infallible;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::SharedWindowOptions;
use super::claims::ClaimWorker;
use super::commands::KeyNames;
use super::confirms::ConfirmWorker;
use super::connection::{Connection, Dialler};
use super::error::ServerError;
use super::server::Server;
use crate::telemetry::Episode;

/// The shortest time from one attempt to connect to the next.
const DIAL_EVERY: Duration = Duration::from_secs(1);

/// How long an attempt to connect can take; no event waits for it.
const DIAL_MAX: Duration = Duration::from_secs(1);

/// How long the server has to stay usable before the log says that it is usable again.
const USABLE_LOGGED_AFTER: Duration = Duration::from_secs(5);

/// How many connections in a row can be lost sooner than [`USABLE_LOGGED_AFTER`] before the log says so.
const LOST_SOON_MAX: u32 = 3;

/// How long confirming the keys that are left can take at the end.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// The worker of the shared window. Run it as a task for as long as anything appends to the spool.
pub struct SharedWindowWorker {
    dialler: Dialler,
    keys: KeyNames,
    /// How long the answers to a round can take.
    patience: Duration,
    claims: ClaimWorker,
    confirms: ConfirmWorker,
    usable: Arc<AtomicBool>,
    degraded: Gauge,
    /// When the last attempt to connect began.
    dialled: Instant,
    link: Option<Connection>,
    news: News,
}

impl SharedWindowWorker {
    /// Returns the worker after the first attempt to connect.
    pub(super) async fn open(
        config: &SharedWindowOptions,
        patience: Duration,
        claims: ClaimWorker,
        confirms: ConfirmWorker,
        usable: Arc<AtomicBool>,
        degraded: Gauge,
    ) -> Self {
        let run = RandomState::new().build_hasher().finish();
        let mut worker = Self {
            dialler: Dialler::new(config.server.clone()),
            keys: KeyNames::new(&config.prefix, run, config.ack_timeout, config.window),
            patience,
            claims,
            confirms,
            usable,
            degraded,
            dialled: Instant::now(),
            link: None,
            news: News::new(config.server.clone()),
        };
        let dialled = dial(&mut worker.dialler, &worker.keys, Instant::now()).await;
        worker.take(dialled);
        worker
    }

    /// Works until it is stopped; then confirms the keys that are not yet confirmed, and ends.
    pub async fn run(mut self, stop: CancellationToken) {
        while stop.run_until_cancelled(self.work()).await.is_some() {}
        self.usable.store(false, Ordering::Relaxed);
        if let Some(link) = self.link.take() {
            let farewell = self.confirms.finish(link.pipe(self.patience), &self.keys);
            // Keys that take longer are not confirmed. The log line below says so.
            let _ = timeout(FAREWELL_MAX, farewell).await;
        }
        let events = self.confirms.unconfirmed();
        if events > 0 {
            tracing::warn!(
                events,
                "the newest {events} durable events were not confirmed in the shared duplicate window before \
                 the end: another replica can store a copy of them"
            );
        }
    }

    /// With a connection: serves claims and confirms until the connection fails. Without one: tries once to
    /// connect. Dropping the future keeps the connection.
    async fn work(&mut self) {
        match &mut self.link {
            Some(link) => {
                let (claims, confirms) = (link.pipe(self.patience), link.pipe(self.patience));
                let error = tokio::select! {
                    error = self.claims.serve(claims, &self.keys) => error,
                    error = self.confirms.serve(confirms, &self.keys) => error,
                    () = link.gone() => ServerError::Broken,
                    never = self.news.settle() => match never {},
                };
                // A warning follows if the next attempt fails as well, or if this happens again and again.
                tracing::debug!(trouble = %error, "the connection to the shared duplicate window was lost");
                self.news.lost(&error);
                self.link = None;
                self.show();
            }
            None => {
                let due = Instant::now().max(self.dialled + DIAL_EVERY);
                let dialled = tokio::select! {
                    dialled = dial(&mut self.dialler, &self.keys, due) => dialled,
                    never = self.claims.decline() => match never {},
                    never = self.confirms.keep() => match never {},
                };
                self.dialled = due;
                self.take(dialled);
            }
        }
    }

    /// Takes the outcome of an attempt to connect.
    fn take(&mut self, dialled: Result<Connection, ServerError>) {
        match dialled {
            Ok(link) => {
                self.link = Some(link);
                self.news.usable();
            }
            Err(error) => self.news.away(&error),
        }
        self.show();
    }

    /// Shows appends and the metric whether the server can be used.
    fn show(&self) {
        self.usable.store(self.link.is_some(), Ordering::Relaxed);
        self.degraded.set(i64::from(self.link.is_none()));
    }
}

/// Waits until `due`, and then tries to connect.
async fn dial(dialler: &mut Dialler, keys: &KeyNames, due: Instant) -> Result<Connection, ServerError> {
    sleep_until(due).await;
    timeout(DIAL_MAX, dialler.dial(keys)).await.unwrap_or(Err(ServerError::Silent))
}

/// What the log says of the server: one line when it cannot be used, another when the reason has
/// changed, and one when it has been usable again for a while.
#[derive(Debug)]
struct News {
    server: Server,
    /// The time in which the server cannot be used, by the reason.
    away: Episode<String>,
    usable_since: Option<Instant>,
    /// Connections in a row that were lost soon after they were made.
    lost_soon: u32,
}

impl News {
    fn new(server: Server) -> Self {
        Self { server, away: Episode::ending_after(USABLE_LOGGED_AFTER), usable_since: None, lost_soon: 0 }
    }

    /// Notes that a connection was lost. A server that takes connections and then is too slow, every time,
    /// counts as away.
    fn lost(&mut self, error: &ServerError) {
        let soon = self.usable_since.is_some_and(|since| since.elapsed() < USABLE_LOGGED_AFTER);
        self.lost_soon = if soon { self.lost_soon + 1 } else { 0 };
        if self.lost_soon >= LOST_SOON_MAX || self.away.is_ongoing() {
            self.away(error);
        }
    }

    fn away(&mut self, error: &ServerError) {
        self.usable_since = None;
        let trouble = error.to_string();
        if self.away.happens(trouble.clone(), Instant::now().into_std()).is_some() {
            tracing::warn!(
                server = %self.server,
                trouble,
                "the shared duplicate window cannot be used ({trouble}): until it can, each replica \
                 recognises only its own duplicates; check the server {server}",
                server = self.server
            );
        }
    }

    fn usable(&mut self) {
        // The first connection is logged at once.
        if self.usable_since.is_none() && !self.away.is_ongoing() {
            tracing::info!(server = %self.server, "the shared duplicate window is in use");
        }
        let now = Instant::now();
        self.usable_since = Some(now);
        // Its end is told by `settle`, because it is not told at once.
        let _ = self.away.over(now.into_std());
    }

    /// Logs that the server can be used again, if the log says that it is away, once it has been usable for a
    /// while. Then waits for ever.
    async fn settle(&mut self) -> Infallible {
        if let Some(ends_at) = self.away.ends_at() {
            sleep_until(ends_at.into()).await;
            if let Some(end) = self.away.over(Instant::now().into_std()) {
                let seconds = end.seconds();
                tracing::info!(
                    server = %self.server,
                    seconds,
                    "the shared duplicate window is in use again"
                );
            }
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_lost_again_and_again_is_told_as_away_and_one_that_is_lost_now_and_then_is_not()
    {
        let server = || Server::parse("redis://127.0.0.1").expect("a server");
        let lose = |news: &mut News, after: Duration| {
            news.usable();
            let lost = news.usable_since.map(|since| since.checked_sub(after).unwrap_or(since));
            news.usable_since = lost;
            news.lost(&ServerError::Silent);
        };
        tokio::time::advance(Duration::from_secs(3600)).await;
        let mut now_and_then = News::new(server());
        for _ in 0..10 {
            lose(&mut now_and_then, USABLE_LOGGED_AFTER * 2);
        }
        assert!(!now_and_then.away.is_ongoing());
        let mut every_time = News::new(server());
        for lost in 1..=LOST_SOON_MAX {
            lose(&mut every_time, Duration::from_millis(100));
            assert_eq!(every_time.away.is_ongoing(), lost == LOST_SOON_MAX, "after {lost}");
        }
    }
}
