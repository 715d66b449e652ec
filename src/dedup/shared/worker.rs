//! The one task that speaks to the server: asks for appends, tells what is durable, keeps the
//! connection.
//!
//! A round that fails, or takes too long, ends the connection. From then on every question is
//! answered at once with "away", and the server is tried again once a second: an outage costs one
//! wait a second at most, and not one for every event.

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

/// The shortest time from one attempt to connect to the next.
const DIAL_EVERY: Duration = Duration::from_secs(1);

/// How long an attempt may take. No event waits for it.
const DIAL_MAX: Duration = Duration::from_secs(1);

/// How long the server has to stay usable to be told as usable again.
const USABLE_TOLD_AFTER: Duration = Duration::from_secs(5);

/// The shortest time from one line about why it cannot be used to the next.
const AWAY_TOLD_EVERY: Duration = Duration::from_secs(10);

/// How often in a row a connection may be lost sooner than that before it is told.
const LOST_SOON_MAX: u32 = 3;

/// How long telling what is left may take at the end.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// Keeps the shared window: to be run as a task for as long as the spool is appended to.
pub struct SharedWindowWorker {
    dialler: Dialler,
    keys: KeyNames,
    /// How long the answers to a round may take.
    patience: Duration,
    asking: ClaimWorker,
    telling: ConfirmWorker,
    usable: Arc<AtomicBool>,
    degraded: Gauge,
    /// When the last attempt to connect began.
    dialled: Instant,
    link: Option<Connection>,
    news: News,
}

impl SharedWindowWorker {
    /// After the first attempt to connect.
    pub(super) async fn open(
        config: &SharedWindowOptions,
        patience: Duration,
        asking: ClaimWorker,
        telling: ConfirmWorker,
        usable: Arc<AtomicBool>,
        degraded: Gauge,
    ) -> Self {
        let life = RandomState::new().build_hasher().finish();
        let mut keeper = Self {
            dialler: Dialler::new(config.server.clone()),
            keys: KeyNames::new(&config.prefix, life, config.ack_timeout, config.window),
            patience,
            asking,
            telling,
            usable,
            degraded,
            dialled: Instant::now(),
            link: None,
            news: News::new(config.server.clone()),
        };
        let dialled = dial(&mut keeper.dialler, &keeper.keys, Instant::now()).await;
        keeper.take(dialled);
        keeper
    }

    /// Works until told to stop; then tells what is durable and not yet told, and ends.
    pub async fn run(mut self, stop: CancellationToken) {
        while stop.run_until_cancelled(self.work()).await.is_some() {}
        self.usable.store(false, Ordering::Relaxed);
        if let Some(link) = self.link.take() {
            let farewell = self.telling.finish(link.line(self.patience), &self.keys);
            // What takes longer is not told, and another replica may store it, no more.
            let _ = timeout(FAREWELL_MAX, farewell).await;
        }
        let events = self.telling.untold();
        if events > 0 {
            tracing::warn!(events, "the shared duplicate window was not told of the newest events");
        }
    }

    /// Speaks to the server until it cannot be used, or tries it once again. Dropped, it keeps the
    /// connection.
    async fn work(&mut self) {
        match &mut self.link {
            Some(link) => {
                let (asks, tells) = (link.line(self.patience), link.line(self.patience));
                let trouble = tokio::select! {
                    trouble = self.asking.serve(asks, &self.keys) => trouble,
                    trouble = self.telling.serve(tells, &self.keys) => trouble,
                    () = link.gone() => ServerError::Broken,
                    never = self.news.settle() => match never {},
                };
                // The log has it if the next attempt fails as well, or this happens again and again.
                tracing::debug!(%trouble, "lost the connection to the shared duplicate window");
                self.news.lost(&trouble);
                self.link = None;
                self.show();
            }
            None => {
                let due = Instant::now().max(self.dialled + DIAL_EVERY);
                let dialled = tokio::select! {
                    dialled = dial(&mut self.dialler, &self.keys, due) => dialled,
                    never = self.asking.decline() => match never {},
                    never = self.telling.keep() => match never {},
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
            Err(trouble) => self.news.away(&trouble),
        }
        self.show();
    }

    /// Lets appends and the outside see whether the server can be used.
    fn show(&self) {
        self.usable.store(self.link.is_some(), Ordering::Relaxed);
        self.degraded.set(i64::from(self.link.is_none()));
    }
}

/// Connects when it is due.
async fn dial(dialler: &mut Dialler, keys: &KeyNames, due: Instant) -> Result<Connection, ServerError> {
    sleep_until(due).await;
    timeout(DIAL_MAX, dialler.dial(keys)).await.unwrap_or(Err(ServerError::Silent))
}

/// What the log says of the server: one line when it cannot be used, another if the reason has
/// changed, and one when it could be used again for a while.
#[derive(Debug)]
struct News {
    server: Server,
    /// Why it is told as away, and when it was told, if it is.
    away: Option<(String, Instant)>,
    usable_since: Option<Instant>,
    /// Connections in a row that were lost soon after they were made.
    lost_soon: u32,
}

impl News {
    fn new(server: Server) -> Self {
        Self { server, away: None, usable_since: None, lost_soon: 0 }
    }

    /// A connection was lost. A server that can be connected to and then is too slow, every time, is as
    /// good as away.
    fn lost(&mut self, trouble: &ServerError) {
        let soon = self.usable_since.is_some_and(|since| since.elapsed() < USABLE_TOLD_AFTER);
        self.lost_soon = if soon { self.lost_soon + 1 } else { 0 };
        if self.lost_soon >= LOST_SOON_MAX {
            self.away(trouble);
        }
    }

    fn away(&mut self, trouble: &ServerError) {
        self.usable_since = None;
        let trouble = trouble.to_string();
        // Two reasons may take turns.
        let told = |(told, at): &(String, Instant)| *told == trouble || at.elapsed() < AWAY_TOLD_EVERY;
        if !self.away.as_ref().is_some_and(told) {
            tracing::warn!(
                server = %self.server,
                trouble,
                "the shared duplicate window cannot be used: each replica recognises its own duplicates \
                 only, until the server can be used again"
            );
            self.away = Some((trouble, Instant::now()));
        }
    }

    fn usable(&mut self) {
        // The first time there is nothing to wait for.
        if self.usable_since.is_none() && self.away.is_none() {
            tracing::info!(server = %self.server, "the shared duplicate window is in use");
        }
        self.usable_since = Some(Instant::now());
    }

    /// Tells that the server can be used again, if it was told as away, once it has been usable for
    /// a while. Then waits for ever.
    async fn settle(&mut self) -> Infallible {
        if let (Some(_), Some(since)) = (&self.away, self.usable_since) {
            sleep_until(since + USABLE_TOLD_AFTER).await;
            tracing::info!(server = %self.server, "the shared duplicate window is in use again");
            self.away = None;
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
            lose(&mut now_and_then, USABLE_TOLD_AFTER * 2);
        }
        assert!(now_and_then.away.is_none());
        let mut every_time = News::new(server());
        for lost in 1..=LOST_SOON_MAX {
            lose(&mut every_time, Duration::from_millis(100));
            assert_eq!(every_time.away.is_some(), lost == LOST_SOON_MAX, "after {lost}");
        }
    }
}
