//! Messages that SNS itself has signed, with the certificates that it has served. The messages are those
//! of the tests of the AWS SDK for Java (Apache-2.0). They are checked as of the day they were sent.

#![allow(clippy::unwrap_used)]

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::certificate::SigningCertificate;
use super::*;

const TOPIC: &str = "arn:aws:sns:us-west-2:131990247566:dongie-standard-topic";
const GENUINE: [&str; 4] = [
    include_str!("../../../tests/sns/genuine/notification-1.json"),
    include_str!("../../../tests/sns/genuine/notification-2.json"),
    include_str!("../../../tests/sns/genuine/subscription-1.json"),
    include_str!("../../../tests/sns/genuine/unsubscribe-2.json"),
];
const US_WEST_2: &str = include_str!("../../../tests/sns/genuine/us-west-2.pem");
const AF_SOUTH_1: &str = include_str!("../../../tests/sns/genuine/af-south-1.pem");

fn moment(text: &str) -> Timestamp {
    Timestamp::from(std::time::SystemTime::from(OffsetDateTime::parse(text, &Rfc3339).unwrap()))
}

fn config() -> SnsSourceOptions {
    let topics = vec![TopicArn::parse(TOPIC).unwrap()];
    SnsSourceOptions { topics, allow_sha1: true, raw: None, certificate_double: None }
}

/// Checks the certificate in a file as one of these names at a moment.
fn check(file: &str, names: &[String], now: &str) -> Result<SigningCertificate, &'static str> {
    let certificate = CertificateDer::from_pem_slice(file.as_bytes()).unwrap();
    SigningCertificate::check(&certificate, names, moment(now))
}

fn envelope(text: &str) -> Envelope {
    match Envelope::read(text.as_bytes()) {
        Reading::Envelope(envelope) => *envelope,
        other => panic!("{other:?}"),
    }
}

/// Whether the signature of an envelope holds, as of a few minutes later.
fn holds(envelope: &Envelope) -> bool {
    let (config, arrived) = (config(), moment("2026-03-06T20:05:00Z"));
    let claim = SignatureClaim::read(envelope, &HeaderMap::new(), arrived, &config).unwrap();
    let names = claim.certificate.certificate_names();
    let certificate = check(US_WEST_2, &names, "2026-03-06T20:05:00Z").unwrap();
    assert!(certificate.is_valid_at(arrived));
    certificate.has_signed(&envelope.signed_text(), &claim)
}

#[test]
fn what_sns_itself_has_signed_holds_and_nothing_else_does() {
    for text in GENUINE {
        let genuine = envelope(text);
        assert!(holds(&genuine), "{text}");
        let changed = |change: fn(&mut Envelope)| {
            let mut envelope = genuine.clone();
            change(&mut envelope);
            holds(&envelope)
        };
        assert!(!changed(|envelope| envelope.message = "another".into()), "{text}");
        assert!(!changed(|envelope| envelope.message_id = "another".into()), "{text}");
        // The token is signed in an UnsubscribeConfirmation as well, where libraries disagree with the
        // documentation.
        let is_confirmation = genuine.kind != EnvelopeKind::Notification;
        assert_eq!(changed(|envelope| envelope.token = None), !is_confirmation, "{text}");
    }
}

#[test]
fn the_certificates_that_sns_serves_are_taken_in_the_names_and_time_that_they_state() {
    let names = ["sns-signing.af-south-1.amazonaws.com".to_owned()];
    let now = "2026-10-02T18:00:00Z";
    let certificate = check(AF_SOUTH_1, &names, now).unwrap();
    assert!(certificate.is_valid_at(moment("2027-02-07T23:59:59Z")));
    assert!(!certificate.is_valid_at(moment("2027-02-08T00:00:00Z")));
    assert!(certificate.is_valid_at(moment("2026-07-25T00:00:00Z")));
    assert!(!certificate.is_valid_at(moment("2026-07-24T23:59:59Z")));
    for (names, now, reason) in [
        (&["sns.amazonaws.com".to_owned()], now, "certificate_name"),
        (&names, "2027-02-08T00:00:00Z", "certificate_expired"),
        (&names, "2026-07-24T23:59:59Z", "certificate_not_yet_valid"),
    ] {
        assert_eq!(check(AF_SOUTH_1, names, now).unwrap_err(), reason);
    }
}
