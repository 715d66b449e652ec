//! The certificate behind a signature: what holds, what does not, and what a fetch may cost.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rcgen::{ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use time::OffsetDateTime;

use crate::authority::{Authority, KEY, Leaf, OTHER_KEY, WeakKey};
use crate::double::File;
use crate::message::{Message, TOPIC, certificate_path, certificate_url};
use crate::support::bridge::Home;
use crate::support::{await_until, turns};
use crate::world::{World, head, posted};

const NAME: &str = "sns.amazonaws.com";
const HOST: &str = "sns.eu-west-1.amazonaws.com";

/// An event of its own, signed, whose certificate has this number.
fn by_certificate(number: usize) -> Message {
    static EVENTS: AtomicU32 = AtomicU32::new(0);
    let event = EVENTS.fetch_add(1, Ordering::Relaxed);
    let body = format!(r#"{{"type":"call.created","n":{event}}}"#);
    Message::notification(&body).with("SigningCertURL", &certificate_url(number)).signed()
}

#[test]
fn a_certificate_that_does_not_hold_is_refused_whatever_is_wrong_with_it() {
    let _turn = turns::in_company();
    let world = World::start_with(|setting, _| {
        setting.sources = 2;
        setting.many_senders = true;
    });
    let now = OffsetDateTime::now_utc();
    let day = time::Duration::days(1);
    let changed = |change: fn(&mut Leaf)| {
        let mut leaf = Leaf::named(&[NAME]);
        change(&mut leaf);
        world.root.issue(&leaf)
    };
    let (mut expired, mut early) = (Leaf::named(&[NAME]), Leaf::named(&[NAME]));
    expired.not_after = now - day;
    early.not_before = now + day;
    let elliptic = KeyPair::generate().unwrap();
    let certificates = [
        ("certificate_expired", world.root.issue(&expired)),
        ("certificate_not_yet_valid", world.root.issue(&early)),
        ("certificate_name", world.root.issue(&Leaf::named(&["evil.example"]))),
        ("certificate_name", world.root.issue(&Leaf::named(&["sns.us-east-1.amazonaws.com"]))),
        ("certificate_name", world.root.issue(&Leaf::named(&["*.amazonaws.com"]))),
        ("certificate_name", world.root.issue(&Leaf::named(&["sns.amazonaws.com.evil.example"]))),
        ("certificate_name", world.root.issue(&Leaf::named(&[]))),
        ("certificate_key", world.root.issue_for(&Leaf::named(&[NAME]), &elliptic)),
        ("certificate_key", world.root.issue_for(&Leaf::named(&[NAME]), &WeakKey::new())),
        ("certificate_usage", changed(|leaf| leaf.usages = vec![KeyUsagePurpose::KeyEncipherment])),
        (
            "certificate_usage",
            changed(|leaf| leaf.extended_usages = vec![ExtendedKeyUsagePurpose::EmailProtection]),
        ),
        ("certificate_usage", changed(|leaf| leaf.is_authority = true)),
        ("certificate_usage", world.root.certificate.pem()),
        ("certificate_form", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into()),
    ];
    // Strangers cause ten fetches a minute for each source.
    for (number, (reason, pem)) in certificates.into_iter().enumerate() {
        let number = number + 1;
        world.double.put(&certificate_path(number), File::Here(pem.into()));
        world.assert_refused(number / 10, &by_certificate(number).json(), reason);
        assert_eq!(world.double.connections(), number, "{reason}");
    }
    let untrusted =
        world.bridge.metric("fanbridge_sns_certificate_fetches_total", &["outcome=\"untrusted\""]);
    assert_eq!(untrusted, 14.0);
}

#[test]
fn a_certificate_in_a_name_of_its_region_holds() {
    let _turn = turns::in_company();
    let world = World::start();
    for (number, names) in
        [[NAME, "x.example"], ["x.example", HOST], ["sns-signing.eu-west-1.amazonaws.com", HOST]]
            .iter()
            .enumerate()
    {
        let pem = world.root.issue(&Leaf::named(names));
        world.double.put(&certificate_path(number), File::Here(pem.into()));
        world.assert_taken(0, &by_certificate(number), "accepted");
    }
    let visits = world.double.visits();
    assert!(visits.iter().all(|visit| visit.host == HOST), "{visits:?}");
}

#[test]
fn whoever_issued_a_certificate_the_host_that_serves_it_vouches_for_it() {
    let _turn = turns::in_company();
    let world = World::start();
    let another = Authority::root("an authority that nobody trusts");
    let files = [another.issue(&Leaf::named(&[NAME])), Leaf::named(&[NAME]).self_signed()];
    for (number, file) in files.into_iter().enumerate() {
        world.double.put(&certificate_path(number + 1), File::Here(file.into()));
        world.assert_taken(0, &by_certificate(number + 1), "accepted");
    }
}

#[test]
fn of_two_certificates_in_one_file_the_first_one_counts() {
    let _turn = turns::in_company();
    let world = World::start();
    let good = world.root.issue(&Leaf::named(&[NAME]));
    let other = world.root.issue_for(&Leaf::named(&[NAME]), &*OTHER_KEY);
    let expired = {
        let mut leaf = Leaf::named(&[NAME]);
        leaf.not_after = OffsetDateTime::now_utc() - time::Duration::days(1);
        world.root.issue(&leaf)
    };
    let put = |number, file: String| world.double.put(&certificate_path(number), File::Here(file.into()));
    put(1, good.clone() + &other);
    put(2, good.clone() + &expired);
    put(3, other + &good);
    put(4, expired + &good);
    world.assert_taken(0, &by_certificate(1), "accepted");
    world.assert_taken(0, &by_certificate(2), "accepted");
    world.assert_refused(0, &by_certificate(3).json(), "signature");
    world.assert_refused(0, &by_certificate(4).json(), "certificate_expired");
}

#[test]
fn a_host_that_answers_otherwise_is_not_followed() {
    let _turn = turns::in_company();
    let world = World::start_with(|setting, _| {
        setting.sources = 2;
        setting.many_senders = true;
    });
    let elsewhere = format!("https://{HOST}{}", certificate_path(0));
    let files = [
        ("certificate_status", File::Status(301, "location", elsewhere.clone())),
        ("certificate_status", File::Status(302, "location", elsewhere.clone())),
        ("certificate_status", File::Status(307, "location", elsewhere)),
        ("certificate_status", File::Status(404, "x-none", "1".into())),
        ("certificate_status", File::Status(204, "x-none", "1".into())),
        ("certificate_size", File::Endless),
        ("certificate_size", File::Here(vec![b'\n'; (16 << 10) + 1])),
    ];
    for (number, (reason, file)) in files.into_iter().enumerate() {
        let number = number + 1;
        world.double.put(&certificate_path(number), file);
        world.assert_unavailable(number / 5, &by_certificate(number), reason);
        assert_eq!(world.double.connections(), number, "no second request");
    }
    let log = world.bridge.log();
    let said = |text: &&str| text.contains("certificate_status") && text.contains("look for a proxy");
    let lines: Vec<_> = log.lines().filter(said).collect();
    assert!(lines.iter().all(|line| line.contains("WARN") && line.contains(HOST)), "{lines:#?}");
    assert_eq!(lines.len(), 2, "once a minute for each source: {lines:#?}");
}

#[test]
fn a_file_that_is_no_certificate_is_503_because_a_proxy_may_have_written_it() {
    let _turn = turns::in_company();
    let world = World::start_with(|setting, _| setting.many_senders = true);
    let good = world.root.issue(&Leaf::named(&[NAME]));
    let binary = CertificateDer::from_pem_slice(good.as_bytes()).unwrap().to_vec();
    let half = good.as_bytes()[..good.len() / 2].to_vec();
    let files = [vec![], b"<html>log in</html>".to_vec(), KEY.serialize_pem().into(), binary, half];
    for (number, file) in files.into_iter().enumerate() {
        world.double.put(&certificate_path(number + 1), File::Here(file));
        world.assert_unavailable(0, &by_certificate(number + 1), "certificate_form");
    }
}

#[test]
fn a_host_that_cannot_be_reached_or_is_slow_is_503_so_that_sns_sends_again() {
    let _turn = turns::in_company();
    let world = World::start_with(|setting, _| setting.many_senders = true);
    let good = world.root.issue(&Leaf::named(&[NAME]));
    let files = [
        ("certificate_status", File::Status(500, "x-none", "1".into())),
        ("certificate_status", File::Status(503, "x-none", "1".into())),
        ("certificate_status", File::Status(429, "x-none", "1".into())),
        ("certificate_connection", File::Cut),
    ];
    for (number, (reason, file)) in files.into_iter().enumerate() {
        world.double.put(&certificate_path(number + 1), file);
        world.assert_unavailable(0, &by_certificate(number + 1), reason);
    }
    let start = Instant::now();
    world.double.put(&certificate_path(5), File::Late(good.clone().into(), Duration::from_secs(8)));
    world.assert_unavailable(0, &by_certificate(5), "certificate_timeout");
    assert!((3..5).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());

    world.double.put(&certificate_path(6), File::Slow(good.into()));
    world.assert_unavailable(0, &by_certificate(6), "certificate_timeout");
    let unavailable =
        world.bridge.metric("fanbridge_sns_certificate_fetches_total", &["outcome=\"unavailable\""]);
    assert_eq!(unavailable, 6.0);
}

#[test]
fn a_host_that_does_not_prove_over_tls_who_it_is_is_asked_for_nothing() {
    let _turn = turns::in_company();
    let world = World::start_with(|setting, _| setting.many_senders = true);
    let expired = {
        let mut leaf = Leaf::named(&[HOST]);
        leaf.not_after = OffsetDateTime::now_utc() - time::Duration::days(1);
        leaf
    };
    let identities = [
        Authority::root("a stranger").tls(&[HOST]),
        Authority::root("root of the tests").tls(&[HOST]),
        world.root.tls(&["evil.example"]),
        world.root.tls(&["sns.us-east-1.amazonaws.com"]),
        world.root.tls(&[NAME]),
        world.root.tls(&["*.amazonaws.com"]),
        world.root.tls(&["sns.eu-west-1.amazonaws.com.evil.example"]),
        world.root.tls_with(&expired),
    ];
    let good = world.root.issue(&Leaf::named(&[NAME]));
    let count = identities.len();
    for (number, identity) in identities.into_iter().enumerate() {
        world.double.put(&certificate_path(number + 1), File::Here(good.clone().into()));
        world.double.present(identity);
        world.assert_unavailable(0, &by_certificate(number + 1), "certificate_tls");
    }
    assert_eq!(world.double.connections(), count);
    assert_eq!(world.double.visits(), [], "no request was made");
    world.double.present(world.root.tls(&[HOST]));
    world.assert_taken(0, &by_certificate(0), "accepted");
}

#[test]
fn deliveries_at_the_same_time_share_one_fetch_also_if_the_first_sender_hangs_up() {
    let _turn = turns::in_company();
    let world = World::start();
    let good = world.root.issue(&Leaf::named(&[NAME]));
    world.double.put(&certificate_path(1), File::Late(good.into(), Duration::from_millis(1500)));

    let mut first = TcpStream::connect(("127.0.0.1", world.bridge.http_port())).unwrap();
    first.write_all(&posted(&by_certificate(1))).unwrap();
    await_until("the fetch has begun", Duration::from_secs(10), || {
        (world.double.connections() == 1).then_some(())
    });
    drop(first);
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| world.assert_taken(0, &by_certificate(1), "accepted"));
        }
    });
    assert_eq!(world.double.connections(), 1);
}

#[test]
fn a_failure_is_remembered_so_that_the_host_is_not_asked_at_once_again() {
    let _turn = turns::in_company();
    let world = World::start();
    for _ in 0..3 {
        world.assert_unavailable(0, &by_certificate(1), "certificate_status");
    }
    assert_eq!(world.double.connections(), 1);
}

#[test]
fn strangers_use_up_their_fetches_and_known_senders_and_certificates_are_not_affected() {
    let _turn = turns::in_company();
    let world = World::start();
    world.assert_taken(0, &by_certificate(0), "accepted");
    // One network of strangers has two fetches a minute, and all of them ten with the first of all.
    for number in 1..21 {
        assert_answered(&world, Ipv4Addr::new(127, 0, 0, 2), &by_certificate(number), 503);
    }
    assert_eq!(world.double.connections(), 3);
    for number in 21..45 {
        let network = Ipv4Addr::new(127, 0, 0, 3 + u8::try_from(number % 12).unwrap());
        assert_answered(&world, network, &by_certificate(number), 503);
    }
    assert_eq!(world.double.connections(), 10);
    assert_eq!(world.refused("certificate_fetches"), 18.0 + 17.0);
    world.bridge.assert_logs("this minute's fetches are used up");

    // Everybody's messages are taken by the certificate that is known.
    world.assert_taken(0, &by_certificate(0), "accepted");
    assert_answered(&world, Ipv4Addr::new(127, 0, 0, 99), &by_certificate(0), 200);
    assert_eq!(world.double.connections(), 10, "what is known needs no fetch");
    // Also the next certificate is fetched for a network from which something authentic came.
    let next = world.root.issue(&Leaf::named(&[NAME]));
    world.double.put(&certificate_path(100), File::Here(next.into()));
    world.assert_taken(0, &by_certificate(100), "accepted");
    assert_eq!(world.double.connections(), 11);
}

#[test]
fn a_certificate_is_used_until_it_expires_and_then_asked_for_again() {
    let _turn = turns::in_company();
    let world = World::start();
    let mut brief = Leaf::named(&[NAME]);
    brief.not_after = OffsetDateTime::now_utc() + time::Duration::seconds(12);
    for number in [1, 2] {
        world.double.put(&certificate_path(number), File::Here(world.root.issue(&brief).into()));
        world.assert_taken(0, &by_certificate(number), "accepted");
    }
    world.assert_taken(0, &by_certificate(1), "accepted");
    assert_eq!(world.double.connections(), 2, "each was fetched once");
    let rest = brief.not_after + time::Duration::seconds(1) - OffsetDateTime::now_utc();
    std::thread::sleep(rest.try_into().unwrap_or_default());
    world.assert_refused(0, &by_certificate(1).json(), "certificate_expired");
    world.double.put(&certificate_path(2), File::Cut);
    world.assert_unavailable(0, &by_certificate(2), "certificate_connection");
    assert_eq!(world.double.connections(), 4);
}

#[test]
fn the_certificates_that_an_earlier_release_kept_are_left_alone_and_not_believed() {
    let _turn = turns::in_company();
    let stranger = Authority::root("root of the tests");
    let kept = stranger.issue_for(&Leaf::named(&[NAME]), &*OTHER_KEY);
    let kept = format!("{}\n{kept}", certificate_url(0));
    let file = format!("spool/sns-certificates/eu-west-1-{:032x}.pem", 0);
    let world = World::start_with(|_, home| {
        fs::create_dir_all(home.path("spool/sns-certificates")).unwrap();
        fs::write(home.path(&file), &kept).unwrap();
    });
    world.assert_taken(0, &by_certificate(0), "accepted");
    let world = world.restarted();
    world.assert_taken(0, &by_certificate(0), "accepted");
    assert_eq!(world.double.connections(), 2, "one for each start: nothing is kept on disk");
    world.assert_refused(0, &Message::notification("{}").signed_by_other().json(), "signature");

    let World { home, bridge, .. } = world;
    bridge.stop();
    assert!(!home.run_verb(&["spool", "verify"]).contains("sns-certificates"));
    let entries: Vec<_> = fs::read_dir(home.path("spool/sns-certificates")).unwrap().collect();
    assert_eq!((entries.len(), fs::read_to_string(home.path(&file)).unwrap()), (1, kept));
}

/// Delivers from another address of this machine, and asserts the answer's status.
#[track_caller]
fn assert_answered(world: &World, address: Ipv4Addr, message: &Message, status: u16) {
    let body = message.json();
    let head = head(&body);
    let headers: Vec<_> = head.iter().map(|(name, value)| (*name, &**value)).collect();
    let answer = world.bridge.client().at(address).post("/in/sns-0", &headers, &body).unwrap();
    assert_eq!(answer.status, status, "{}", answer.text());
}

#[test]
fn a_system_without_trusted_roots_is_told_so_at_start() {
    let _turn = turns::in_company();
    let home = Home::new();
    let source = format!("  topic: {{ provider: stream, sns: {{ topics: [\"{TOPIC}\"] }} }}\n");
    home.configure("", &source);
    let nowhere =
        ["env", "SSL_CERT_FILE=/nonexistent", "SSL_CERT_DIR=/nonexistent", "AWS_EC2_METADATA_DISABLED=true"];
    let mut bridge = home.spawn_under(&nowhere);
    let status = bridge.await_exit(Duration::from_secs(30));
    assert_eq!(status.code(), Some(78), "{}", bridge.log_tail());
    bridge.assert_logs("no trusted root certificates");
}
