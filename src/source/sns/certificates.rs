//! The cache of signing certificates; a certificate that is not in it is fetched.
//!
//! A certificate is fetched once, however many deliveries ask for it at the same time. The fetch is a
//! task of its own, so that it goes on if the sender that caused it hangs up. A stranger who knows a
//! topic's name can make the bridge ask for any file of the certificate host. So failures are remembered
//! for a while, the fetches of a minute are bounded, one network can cause at most half of them, and a
//! failed fetch never removes a valid certificate.

use parking_lot::{Mutex, MutexGuard};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::sync::watch;
use tokio::time::Instant;

use super::certificate::SigningCertificate;
use super::certificate_store::CertificateStore;
use super::fetch::{CertificateError, Fetcher};
use super::origin::CertificateUrl;
use crate::aws::arn::TopicArn;
use crate::event::Timestamp;
use crate::telemetry::{LogLimit, SourceOutcome};

/// How long a failure is remembered.
const FAILURE_REMEMBERED: Duration = Duration::from_secs(30);
/// Most fetches in any minute. Each region has one certificate, and gets a new one a few times a year.
const FETCHES_PER_MINUTE_MAX: usize = 10;
/// Most fetches in any minute that one network can cause: the other half is for others, such as SNS.
const FETCHES_PER_NETWORK_MAX: usize = FETCHES_PER_MINUTE_MAX / 2;
const MINUTE: Duration = Duration::from_secs(60);
/// Most valid certificates in memory; the one that was not used for longest is removed first.
const VALID_MAX: usize = 32;

/// What became of a fetch.
type Fetched = Result<Arc<SigningCertificate>, CertificateError>;

/// The certificates of one source.
pub(super) struct Certificates {
    source: String,
    fetcher: Arc<Fetcher>,
    store: CertificateStore,
    known: Arc<Mutex<Known>>,
    fetches: Family<SourceOutcome, Counter>,
    log_limit: Arc<LogLimit>,
}

impl Certificates {
    /// The cache of one source. It begins with the stored certificates of these topics' regions that are
    /// still valid.
    pub(super) fn new(
        source: &str,
        fetcher: Fetcher,
        store: CertificateStore,
        topics: &[TopicArn],
        fetches: Family<SourceOutcome, Counter>,
    ) -> Self {
        let mut known = Known::default();
        for (url, chain) in store.read(topics) {
            match fetcher.check(&url, &chain) {
                Ok(certificate) => known.settle(url, Ok(Arc::new(certificate)), Instant::now()),
                Err(flaw) => {
                    tracing::debug!(
                        source,
                        path = url.path(),
                        ?flaw,
                        "a stored SNS signing certificate is not used, because of this flaw"
                    );
                    // Any other flaw can come from the clock or the roots, and be gone at the next start.
                    if flaw.is_expiry() {
                        store.remove(&url);
                    }
                }
            }
        }
        let (source, fetcher, known) = (source.to_owned(), Arc::new(fetcher), Arc::new(Mutex::new(known)));
        Self { source, fetcher, store, known, fetches, log_limit: Arc::default() }
    }

    /// The certificate at a URL that a delivery from this network names, valid at this moment.
    ///
    /// # Errors
    /// When the certificate cannot be trusted, or cannot be fetched now.
    pub(super) async fn get(
        &self,
        url: &CertificateUrl,
        network: Option<IpAddr>,
        moment: Timestamp,
    ) -> Fetched {
        let mut fetching = match lock(&self.known).find(url, network, moment, Instant::now()) {
            Found::Here(fetched) => return fetched,
            Found::Coming(fetching) => fetching,
            Found::Missing(sender, fetching) => {
                self.spawn_fetch(url.clone(), sender);
                fetching
            }
        };
        let fetched = match fetching.wait_for(Option::is_some).await {
            Ok(fetched) => (*fetched).clone(),
            Err(_) => None,
        };
        fetched.unwrap_or(Err(CertificateError::Unavailable("certificate_fetch_ended")))
    }

    fn spawn_fetch(&self, url: CertificateUrl, sender: watch::Sender<Option<Fetched>>) {
        let (fetcher, known) = (Arc::clone(&self.fetcher), Arc::clone(&self.known));
        let (source, fetches) = (self.source.clone(), self.fetches.clone());
        let (log_limit, store) = (Arc::clone(&self.log_limit), self.store.clone());
        // Each of these tasks ends within three seconds, and the fetches of a minute are bounded.
        tokio::spawn(async move {
            let fetched = AssertUnwindSafe(pin!(fetcher.fetch(&url))).catch_unwind().await;
            let (fetched, chain) = match fetched.unwrap_or(Err(CertificateError::Unavailable("panic"))) {
                Ok((certificate, chain)) => (Ok(Arc::new(certificate)), Some(chain)),
                Err(error) => (Err(error), None),
            };
            let outcome = report(&source, &url, fetched.as_ref().err(), &log_limit);
            fetches.get_or_create(&SourceOutcome { source, outcome: outcome.into() }).inc();
            lock(&known).settle(url.clone(), fetched.clone(), Instant::now());
            // An error says that no delivery waits any more.
            let _ = sender.send(Some(fetched));
            if let Some(chain) = chain {
                // Nothing waits for the file to be written.
                tokio::task::spawn_blocking(move || store.write(&url, &chain));
            }
        });
    }
}

/// Logs what became of a fetch, failures once a minute for each reason; returns the outcome for the metrics.
fn report(
    source: &str,
    url: &CertificateUrl,
    error: Option<&CertificateError>,
    log_limit: &LogLimit,
) -> &'static str {
    let host = url.host();
    let Some(error) = error else {
        tracing::info!(source, host, "an SNS signing certificate was fetched and is trusted");
        return "trusted";
    };
    let (reason, advice) = (error.reason(), error.advice());
    let (outcome, problem) = match error {
        CertificateError::Untrusted(_) => ("untrusted", "an SNS signing certificate cannot be trusted"),
        CertificateError::Unavailable(_) => ("unavailable", "an SNS signing certificate cannot be fetched"),
    };
    if let Some(unsaid) = log_limit.admit(reason) {
        tracing::warn!(source, host, path = url.path(), reason, unsaid, "{problem}: {advice}");
    }
    outcome
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock()
}

/// What is known of the certificate at each URL.
#[derive(Default)]
struct Known {
    entries: HashMap<CertificateUrl, Entry>,
    /// The fetches of the last minute: when each began, and which network caused it.
    fetches: VecDeque<(Instant, Option<IpAddr>)>,
}

enum Entry {
    Fetching(watch::Receiver<Option<Fetched>>),
    Holds { certificate: Arc<SigningCertificate>, used: Instant },
    Failed { error: CertificateError, at: Instant },
}

enum Found {
    Here(Fetched),
    /// Another delivery has caused a fetch that is under way.
    Coming(watch::Receiver<Option<Fetched>>),
    /// The caller must fetch the certificate and send the result.
    Missing(watch::Sender<Option<Fetched>>, watch::Receiver<Option<Fetched>>),
}

impl Known {
    fn find(
        &mut self,
        url: &CertificateUrl,
        network: Option<IpAddr>,
        moment: Timestamp,
        now: Instant,
    ) -> Found {
        match self.entries.get_mut(url) {
            Some(Entry::Fetching(fetching)) if fetching.has_changed().is_ok() => {
                return Found::Coming(fetching.clone());
            }
            Some(Entry::Holds { certificate, used }) if certificate.is_valid_at(moment) => {
                *used = now;
                return Found::Here(Ok(Arc::clone(certificate)));
            }
            Some(Entry::Failed { error, at }) if now - *at < FAILURE_REMEMBERED => {
                return Found::Here(Err(*error));
            }
            _ => {}
        }
        while self.fetches.front().is_some_and(|(begun, _)| now - *begun >= MINUTE) {
            self.fetches.pop_front();
        }
        let of_network = self.fetches.iter().filter(|(_, of)| *of == network).count();
        if self.fetches.len() >= FETCHES_PER_MINUTE_MAX || of_network >= FETCHES_PER_NETWORK_MAX {
            return Found::Here(Err(CertificateError::Unavailable("certificate_fetches")));
        }
        self.fetches.push_back((now, network));
        let (sender, receiver) = watch::channel(None);
        self.entries.insert(url.clone(), Entry::Fetching(receiver.clone()));
        Found::Missing(sender, receiver)
    }

    fn settle(&mut self, url: CertificateUrl, fetched: Fetched, now: Instant) {
        self.entries
            .retain(|_, entry| !matches!(entry, Entry::Failed { at, .. } if now - *at >= FAILURE_REMEMBERED));
        let entry = match fetched {
            Ok(certificate) => Entry::Holds { certificate, used: now },
            Err(error) => Entry::Failed { error, at: now },
        };
        self.entries.insert(url, entry);
        let valid = self.entries.iter().filter_map(|(url, entry)| match entry {
            Entry::Holds { used, .. } => Some((*used, url)),
            _ => None,
        });
        if valid.clone().count() > VALID_MAX
            && let Some((_, url)) = valid.min_by_key(|(used, _)| *used)
        {
            let url = url.clone();
            self.entries.remove(&url);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::Ipv4Addr;

    use super::*;

    const NOW: Timestamp = Timestamp(1_778_231_548_000_000_000);
    const THEM: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    const OTHERS: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)));

    fn url(number: usize) -> CertificateUrl {
        let topic = TopicArn::parse("arn:aws:sns:eu-west-1:111111111111:t").unwrap();
        let text = format!("https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-{number:032x}.pem");
        CertificateUrl::read(&text, &topic).unwrap()
    }

    fn good() -> Fetched {
        Ok(Arc::new(SigningCertificate::valid_until(NOW.unix_seconds() + 60)))
    }

    fn failed() -> Fetched {
        Err(CertificateError::Unavailable("certificate_connection"))
    }

    fn is_missing(found: &Found) -> bool {
        matches!(found, Found::Missing(..))
    }

    #[test]
    fn a_certificate_is_kept_until_it_or_its_chain_expires() {
        let (mut known, start) = (Known::default(), Instant::now());
        assert!(is_missing(&known.find(&url(0), THEM, NOW, start)));
        known.settle(url(0), good(), start);
        let later = start + Duration::from_secs(3600);
        assert!(matches!(known.find(&url(0), THEM, NOW, later), Found::Here(Ok(_))));
        let expired = Timestamp(NOW.0 + 61_000_000_000);
        assert!(is_missing(&known.find(&url(0), THEM, expired, later)));
    }

    #[test]
    fn a_failure_is_remembered_for_half_a_minute() {
        let (mut known, start) = (Known::default(), Instant::now());
        assert!(is_missing(&known.find(&url(0), THEM, NOW, start)));
        known.settle(url(0), failed(), start);
        let soon = start + FAILURE_REMEMBERED - Duration::from_millis(1);
        assert!(matches!(known.find(&url(0), THEM, NOW, soon), Found::Here(Err(_))));
        assert!(is_missing(&known.find(&url(0), THEM, NOW, start + FAILURE_REMEMBERED)));
    }

    #[test]
    fn a_fetch_is_waited_for_while_it_runs_and_begun_again_if_it_was_lost() {
        let (mut known, start) = (Known::default(), Instant::now());
        let running = known.find(&url(0), THEM, NOW, start);
        assert!(matches!(known.find(&url(0), THEM, NOW, start), Found::Coming(_)));
        drop(running);
        assert!(is_missing(&known.find(&url(0), THEM, NOW, start)));
    }

    #[test]
    fn fetches_are_counted_by_the_minute_and_failures_push_out_nothing_that_holds() {
        let (mut known, start) = (Known::default(), Instant::now());
        let mut now = start;
        assert!(is_missing(&known.find(&url(0), THEM, NOW, now)));
        known.settle(url(0), good(), now);
        for number in 1..FETCHES_PER_MINUTE_MAX {
            let network = if number < FETCHES_PER_NETWORK_MAX { THEM } else { OTHERS };
            assert!(is_missing(&known.find(&url(number), network, NOW, now)));
            known.settle(url(number), failed(), now);
        }
        let beyond = known.find(&url(99), None, NOW, now + MINUTE - Duration::from_millis(1));
        assert!(matches!(beyond, Found::Here(Err(CertificateError::Unavailable("certificate_fetches")))));
        for number in 100..1000 {
            now += MINUTE;
            assert!(is_missing(&known.find(&url(number), THEM, NOW, now)));
            known.settle(url(number), failed(), now);
        }
        assert!(matches!(known.find(&url(0), THEM, NOW, now), Found::Here(Ok(_))));
        assert!(known.entries.len() < 5, "{}", known.entries.len());
    }

    #[test]
    fn one_network_leaves_half_of_the_fetches_to_others() {
        let (mut known, now) = (Known::default(), Instant::now());
        let causes = |known: &mut Known, network, from: usize| {
            (from..from + 20)
                .filter(|number| is_missing(&known.find(&url(*number), network, NOW, now)))
                .count()
        };
        assert_eq!(causes(&mut known, THEM, 0), 5);
        assert_eq!(causes(&mut known, OTHERS, 100), 5);
        assert_eq!(causes(&mut known, None, 200), 0);
    }

    #[test]
    fn of_many_that_hold_the_one_unused_for_longest_gives_way() {
        let (mut known, mut now) = (Known::default(), Instant::now());
        for number in 0..=VALID_MAX {
            now += MINUTE;
            assert!(is_missing(&known.find(&url(number), THEM, NOW, now)));
            known.settle(url(number), good(), now);
            assert!(matches!(known.find(&url(0), THEM, NOW, now), Found::Here(Ok(_))));
        }
        assert_eq!(known.entries.len(), VALID_MAX);
        assert!(is_missing(&known.find(&url(1), THEM, NOW, now + MINUTE)));
    }
}
