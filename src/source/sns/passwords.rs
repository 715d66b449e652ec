//! The user names and passwords of raw deliveries that a source takes: the configured ones, and for a while
//! those of its former configuration, because the subscription's URL is changed later than the bridge's.

use http::HeaderMap;
use secrecy::ExposeSecret;

use super::{RawDelivery, raw};
use crate::event::Timestamp;
use crate::source::secrets::{FORMER_MAX, overlap_from};

/// The passwords of one source.
#[derive(Clone, Debug)]
pub(super) struct Passwords {
    current: Option<RawDelivery>,
    /// The former ones, each with the last moment at which it is taken, the newest last.
    former: Vec<(RawDelivery, Timestamp)>,
}

impl Passwords {
    pub(super) fn new(current: Option<RawDelivery>) -> Self {
        Self { current, former: Vec::new() }
    }

    /// The same in the place of former ones. A source that takes no raw deliveries any more takes none at
    /// once.
    pub(super) fn in_place_of(self, before: &Self, now: Timestamp) -> Self {
        let Some(current) = &self.current else { return self };
        let end = overlap_from(now);
        let last = before.current.iter().map(|former| (former.clone(), end));
        let former = before.former.iter().cloned().chain(last);
        let mut former: Vec<_> =
            former.filter(|(former, end)| *end >= now && !is_same(former, current)).collect();
        former.drain(..former.len().saturating_sub(FORMER_MAX));
        Self { former, ..self }
    }

    /// Whether the headers carry one of them.
    pub(super) fn know(&self, headers: &HeaderMap, now: Timestamp) -> bool {
        let former = self.former.iter().filter(|(_, end)| now <= *end).map(|(former, _)| former);
        // All of them are compared, so that the time says nothing of which one it was.
        self.current.iter().chain(former).fold(false, |known, one| known | raw::is_known(headers, one))
    }
}

/// Whether two configurations have the same user name and password. Both are the operator's own.
fn is_same(one: &RawDelivery, other: &RawDelivery) -> bool {
    one.username == other.username && one.password.expose_secret() == other.password.expose_secret()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use http::header::AUTHORIZATION;

    use super::*;

    fn raw(password: &str) -> Option<RawDelivery> {
        Some(RawDelivery { username: "sns".into(), password: password.into() })
    }

    fn known(passwords: &Passwords, password: &str, now: Timestamp) -> bool {
        let given = format!("Basic {}", BASE64_STANDARD.encode(format!("sns:{password}")));
        let headers = HeaderMap::from_iter([(AUTHORIZATION, given.parse().unwrap())]);
        passwords.know(&headers, now)
    }

    #[test]
    fn a_former_password_is_taken_for_ten_minutes_and_of_many_the_newest_few() {
        let (now, minutes) = (Timestamp(1_763_700_000_000_000_000), |n: i64| n * 60_000_000_000);
        let first = Passwords::new(raw("the-first-password"));
        let second = Passwords::new(raw("the-second-password")).in_place_of(&first, now);
        let at = |n| Timestamp(now.0 + minutes(n));
        assert!(
            known(&second, "the-second-password", at(60)) && known(&second, "the-first-password", at(10))
        );
        assert!(!known(&second, "the-first-password", at(11)) && !known(&second, "another-password", now));
        let back = Passwords::new(raw("the-first-password")).in_place_of(&second, at(1));
        assert_eq!(back.former.len(), 1, "what is current again is not former");
        let none = Passwords::new(None).in_place_of(&back, at(1));
        assert!(!known(&none, "the-first-password", at(1)), "no raw delivery is taken any more");
        let many =
            (0..9).fold(first, |before, n| Passwords::new(raw(&n.to_string())).in_place_of(&before, now));
        assert_eq!(many.former.len(), FORMER_MAX);
        assert!(known(&many, "7", now) && !known(&many, "4", now));
    }
}
