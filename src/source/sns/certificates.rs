//! The cache of signing certificates; a certificate that is not in it is fetched.
//!
//! A certificate is fetched once, however many deliveries ask for it at the same time. The fetch is a
//! task of its own, so that it goes on if the sender that caused it hangs up. A stranger who knows a
//! topic's name can make the bridge ask for any file of the certificate host. So failures are remembered
//! for a while, and the fetches of a minute are bounded: strangers together can cause half of them, and those
//! of one site two. The other half is for networks from which something authentic came, and for certificates
//! that were trusted before. A certificate that is trusted and valid needs no fetch, and no failed fetch
//! removes it: whatever strangers do, messages signed with it are taken.

use parking_lot::Mutex;
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
use super::fetch::{CertificateError, Fetcher};
use super::origin::CertificateUrl;
use crate::event::Timestamp;
use crate::telemetry::{LogLimit, SourceOutcome};

/// How long a failure is remembered.
const FAILURE_REMEMBERED: Duration = Duration::from_secs(30);
/// Most fetches in any minute. Each region has one certificate, and gets a new one a few times a year.
const FETCHES_PER_MINUTE_MAX: usize = 20;
/// Most fetches in any minute that strangers together can cause.
const STRANGERS_FETCHES_PER_MINUTE_MAX: usize = FETCHES_PER_MINUTE_MAX / 2;
/// Most fetches in any minute that the strangers of one site can cause. After a start SNS is a stranger, too.
const SITES_FETCHES_PER_MINUTE_MAX: usize = 2;
const MINUTE: Duration = Duration::from_secs(60);
/// Most trusted certificates in memory, several for every region that AWS has; the one that was not used
/// for longest is removed first.
const TRUSTED_MAX: usize = 128;

/// What became of a fetch.
type Fetched = Result<Arc<SigningCertificate>, CertificateError>;

/// The certificates of one source. Clones share them.
#[derive(Clone)]
pub(super) struct Certificates {
    source: String,
    fetcher: Arc<Fetcher>,
    known: Arc<Mutex<Known>>,
    fetches: Family<SourceOutcome, Counter>,
    log_limit: Arc<LogLimit>,
}

impl Certificates {
    /// The empty cache of one source.
    pub(super) fn new(source: &str, fetcher: Fetcher, fetches: Family<SourceOutcome, Counter>) -> Self {
        let (source, fetcher) = (source.to_owned(), Arc::new(fetcher));
        Self { source, fetcher, known: Arc::default(), fetches, log_limit: Arc::default() }
    }

    /// The certificate at a URL that a delivery names, valid at this moment. `stranger` is the delivery's
    /// site if nothing authentic is known of its network.
    ///
    /// # Errors
    /// When the certificate cannot be trusted, or cannot be fetched now.
    pub(super) async fn get(
        &self,
        url: &CertificateUrl,
        stranger: Option<IpAddr>,
        moment: Timestamp,
    ) -> Fetched {
        let found = self.known.lock().find(url, stranger, moment, Instant::now());
        let mut fetching = match found {
            Found::Here(fetched) => return fetched,
            Found::Coming(fetching) => fetching,
            Found::Missing(sender, fetching) => {
                self.spawn_fetch(url.clone(), sender);
                fetching
            }
            Found::Bounded => return Err(self.report_bound(url, stranger.is_some())),
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
        let log_limit = Arc::clone(&self.log_limit);
        // Each of these tasks ends within three seconds, and the fetches of a minute are bounded.
        tokio::spawn(async move {
            let fetched = AssertUnwindSafe(pin!(fetcher.fetch(&url))).catch_unwind().await;
            let fetched = fetched.unwrap_or(Err(CertificateError::Unavailable("panic"))).map(Arc::new);
            let outcome = report(&source, &url, fetched.as_ref().err(), &log_limit);
            fetches.get_or_create(&SourceOutcome { source, outcome: outcome.into() }).inc();
            known.lock().remember(url, fetched.clone(), Instant::now());
            // An error says that no delivery waits any more.
            let _ = sender.send(Some(fetched));
        });
    }

    /// Logs once a minute that a certificate is not fetched; returns the error for the delivery.
    fn report_bound(&self, url: &CertificateUrl, is_stranger: bool) -> CertificateError {
        let error = CertificateError::Unavailable("certificate_fetches");
        if let Some(unsaid) = self.log_limit.admit(error.reason()) {
            let (source, host, path) = (&*self.source, url.host(), url.path());
            let (reason, advice) = (error.reason(), error.advice());
            tracing::warn!(
                source,
                host,
                path,
                reason,
                is_stranger,
                unsaid,
                "an SNS signing certificate is not fetched, as this minute's fetches are used up: {advice}"
            );
        }
        error
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

/// What is known of the certificate at each URL.
#[derive(Default)]
struct Known {
    /// Certificates that were valid when they were fetched, at most [`TRUSTED_MAX`].
    trusted: HashMap<CertificateUrl, Trusted>,
    /// Failures of the last [`FAILURE_REMEMBERED`]; the bound on fetches bounds them, too.
    failed: HashMap<CertificateUrl, Failed>,
    fetching: HashMap<CertificateUrl, watch::Receiver<Option<Fetched>>>,
    /// The fetches of the last minute.
    fetches: VecDeque<Fetch>,
}

struct Trusted {
    certificate: Arc<SigningCertificate>,
    used: Instant,
}

struct Failed {
    error: CertificateError,
    at: Instant,
}

struct Fetch {
    begun: Instant,
    /// The site of the stranger that caused the fetch.
    stranger: Option<IpAddr>,
}

enum Found {
    Here(Fetched),
    /// Another delivery has caused a fetch that is under way.
    Coming(watch::Receiver<Option<Fetched>>),
    /// The caller must fetch the certificate and send the result.
    Missing(watch::Sender<Option<Fetched>>, watch::Receiver<Option<Fetched>>),
    /// The certificate is not here, and nothing more is fetched for this delivery in this minute.
    Bounded,
}

impl Known {
    fn find(
        &mut self,
        url: &CertificateUrl,
        stranger: Option<IpAddr>,
        moment: Timestamp,
        now: Instant,
    ) -> Found {
        let trusted = self.trusted.get_mut(url);
        let was_trusted = trusted.is_some();
        if let Some(trusted) = trusted.filter(|trusted| trusted.certificate.is_valid_at(moment)) {
            trusted.used = now;
            return Found::Here(Ok(Arc::clone(&trusted.certificate)));
        }
        match self.fetching.get(url) {
            Some(fetching) if fetching.has_changed().is_ok() => return Found::Coming(fetching.clone()),
            _ => {}
        }
        match self.failed.get(url) {
            Some(failed) if now - failed.at < FAILURE_REMEMBERED => return Found::Here(Err(failed.error)),
            _ => {}
        }
        if !self.may_fetch(stranger.filter(|_| !was_trusted), now) {
            return Found::Bounded;
        }
        let (sender, receiver) = watch::channel(None);
        self.fetching.insert(url.clone(), receiver.clone());
        Found::Missing(sender, receiver)
    }

    /// Whether another fetch can begin now; if so, counts it.
    fn may_fetch(&mut self, stranger: Option<IpAddr>, now: Instant) -> bool {
        while self.fetches.front().is_some_and(|fetch| now - fetch.begun >= MINUTE) {
            self.fetches.pop_front();
        }
        let count =
            |counts: &dyn Fn(&Fetch) -> bool| self.fetches.iter().filter(|fetch| counts(fetch)).count();
        let has_share = stranger.is_none()
            || (count(&|fetch| fetch.stranger.is_some()) < STRANGERS_FETCHES_PER_MINUTE_MAX
                && count(&|fetch| fetch.stranger == stranger) < SITES_FETCHES_PER_MINUTE_MAX);
        let may = has_share && self.fetches.len() < FETCHES_PER_MINUTE_MAX;
        if may {
            self.fetches.push_back(Fetch { begun: now, stranger });
        }
        may
    }

    /// Notes what became of a fetch that has ended.
    fn remember(&mut self, url: CertificateUrl, fetched: Fetched, now: Instant) {
        self.fetching.remove(&url);
        self.failed.retain(|_, failed| now - failed.at < FAILURE_REMEMBERED);
        match fetched {
            Ok(certificate) => self.trust(url, Trusted { certificate, used: now }),
            Err(error) => drop(self.failed.insert(url, Failed { error, at: now })),
        }
    }

    /// Remembers a trusted certificate. The one that was not used for longest gives way to it.
    fn trust(&mut self, url: CertificateUrl, certificate: Trusted) {
        self.trusted.insert(url, certificate);
        let longest_unused = self.trusted.iter().min_by_key(|(_, trusted)| trusted.used);
        if let Some((url, _)) = longest_unused.filter(|_| self.trusted.len() > TRUSTED_MAX) {
            let url = url.clone();
            self.trusted.remove(&url);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::Ipv4Addr;

    use super::*;
    use crate::aws::arn::TopicArn;

    const NOW: Timestamp = Timestamp(1_778_231_548_000_000_000);
    const EXPIRED: Timestamp = Timestamp(NOW.0 + 61_000_000_000);
    const STRANGER: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    const PROVEN: Option<IpAddr> = None;

    fn url(number: usize) -> CertificateUrl {
        let topic = TopicArn::parse("arn:aws:sns:eu-west-1:111111111111:t").unwrap();
        let text = format!("https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-{number:032x}.pem");
        CertificateUrl::read(&text, &topic).unwrap()
    }

    /// A certificate that is valid now and for a minute.
    fn good() -> Fetched {
        Ok(Arc::new(SigningCertificate::valid_until(NOW.unix_seconds() + 60)))
    }

    fn failed() -> Fetched {
        Err(CertificateError::Unavailable("certificate_connection"))
    }

    fn is_missing(found: &Found) -> bool {
        matches!(found, Found::Missing(..))
    }

    fn is_bounded(found: &Found) -> bool {
        matches!(found, Found::Bounded)
    }

    fn is_valid(found: &Found) -> bool {
        matches!(found, Found::Here(Ok(_)))
    }

    /// Fetches the certificate with this number, with this result.
    #[track_caller]
    fn fetch(known: &mut Known, number: usize, stranger: Option<IpAddr>, fetched: Fetched, now: Instant) {
        assert!(is_missing(&known.find(&url(number), stranger, NOW, now)));
        known.remember(url(number), fetched, now);
    }

    /// How many of twenty certificates, from this number on, are fetched.
    fn fetched_of_twenty(known: &mut Known, from: usize, stranger: Option<IpAddr>, now: Instant) -> usize {
        let missing = |number: &usize| is_missing(&known.find(&url(*number), stranger, NOW, now));
        (from..from + 20).filter(missing).count()
    }

    #[test]
    fn a_certificate_is_used_until_it_expires() {
        let (mut known, start) = (Known::default(), Instant::now());
        fetch(&mut known, 0, STRANGER, good(), start);
        let later = start + Duration::from_secs(3600);
        assert!(is_valid(&known.find(&url(0), STRANGER, NOW, later)));
        assert!(is_missing(&known.find(&url(0), STRANGER, EXPIRED, later)));
    }

    #[test]
    fn a_failure_is_remembered_for_half_a_minute() {
        let (mut known, start) = (Known::default(), Instant::now());
        fetch(&mut known, 0, STRANGER, failed(), start);
        let soon = start + FAILURE_REMEMBERED - Duration::from_millis(1);
        assert!(matches!(known.find(&url(0), STRANGER, NOW, soon), Found::Here(Err(_))));
        assert!(is_missing(&known.find(&url(0), STRANGER, NOW, start + FAILURE_REMEMBERED)));
    }

    #[test]
    fn a_fetch_is_waited_for_while_it_runs_and_begun_again_if_it_was_lost() {
        let (mut known, start) = (Known::default(), Instant::now());
        let running = known.find(&url(0), STRANGER, NOW, start);
        assert!(matches!(known.find(&url(0), STRANGER, NOW, start), Found::Coming(_)));
        drop(running);
        assert!(is_missing(&known.find(&url(0), STRANGER, NOW, start)));
    }

    #[test]
    fn strangers_cause_half_of_the_fetches_of_a_minute_however_many_they_are_and_one_site_two() {
        let (mut known, now) = (Known::default(), Instant::now());
        let sites = |host| Some(IpAddr::V4(Ipv4Addr::new(198, 51, 100, host)));
        let of_sites = |known: &mut Known, hosts: std::ops::Range<u8>| {
            hosts
                .map(|host| fetched_of_twenty(known, usize::from(host) * 1000, sites(host), now))
                .sum::<usize>()
        };
        assert_eq!(fetched_of_twenty(&mut known, 0, STRANGER, now), 2, "one site");
        assert_eq!(of_sites(&mut known, 1..20), 8);
        assert_eq!(of_sites(&mut known, 20..40), 0);
        assert_eq!(fetched_of_twenty(&mut known, 200, PROVEN, now), 10);
        assert_eq!(fetched_of_twenty(&mut known, 300, PROVEN, now), 0);
        let soon = now + MINUTE - Duration::from_millis(1);
        assert!(is_bounded(&known.find(&url(400), PROVEN, NOW, soon)));
        assert_eq!(fetched_of_twenty(&mut known, 500, PROVEN, now + MINUTE), 20);
    }

    #[test]
    fn a_trusted_certificate_needs_no_fetch_when_all_are_used_up() {
        let (mut known, now) = (Known::default(), Instant::now());
        fetch(&mut known, 0, STRANGER, good(), now);
        while !is_bounded(&known.find(&url(known.fetches.len()), PROVEN, NOW, now)) {}
        assert!(is_valid(&known.find(&url(0), STRANGER, NOW, now)));
    }

    #[test]
    fn a_certificate_that_was_trusted_is_fetched_again_beyond_the_strangers_half() {
        let (mut known, now) = (Known::default(), Instant::now());
        fetch(&mut known, 0, STRANGER, good(), now);
        while !is_bounded(&known.find(&url(known.fetches.len()), STRANGER, NOW, now)) {}
        assert!(is_missing(&known.find(&url(0), STRANGER, EXPIRED, now)));
    }

    #[test]
    fn no_failed_fetch_removes_a_trusted_certificate() {
        let (mut known, start) = (Known::default(), Instant::now());
        fetch(&mut known, 0, STRANGER, good(), start);
        // This machine's clock goes wrong, and is put right.
        assert!(is_missing(&known.find(&url(0), STRANGER, EXPIRED, start)));
        known.remember(url(0), failed(), start);
        assert!(matches!(known.find(&url(0), STRANGER, EXPIRED, start), Found::Here(Err(_))));
        assert!(is_valid(&known.find(&url(0), STRANGER, NOW, start)));
        for number in 1..1000 {
            let now = start + MINUTE * u32::try_from(number).unwrap();
            fetch(&mut known, number, STRANGER, failed(), now);
            assert!(is_valid(&known.find(&url(0), STRANGER, NOW, now)));
            assert_eq!(known.failed.len(), 1, "old failures are forgotten");
        }
        assert_eq!((known.trusted.len(), known.fetching.len(), known.fetches.len()), (1, 0, 1));
    }

    #[test]
    fn of_many_trusted_certificates_the_one_unused_for_longest_gives_way() {
        let (mut known, mut now) = (Known::default(), Instant::now());
        for number in 0..=TRUSTED_MAX {
            now += MINUTE;
            fetch(&mut known, number, PROVEN, good(), now);
            assert!(is_valid(&known.find(&url(0), PROVEN, NOW, now)));
        }
        assert_eq!(known.trusted.len(), TRUSTED_MAX);
        assert!(is_missing(&known.find(&url(1), PROVEN, NOW, now + MINUTE)));
    }
}
