//! The certificate behind a signature: what holds, what does not, and what a fetch may cost.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rcgen::{ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use time::OffsetDateTime;

use crate::authority::{Authority, KEY, Leaf, WeakKey};
use crate::double::File;
use crate::message::{Message, TOPIC, certificate_path, certificate_url};
use crate::support::bridge::Home;
use crate::support::{await_until, turns};
use crate::world::{World, posted};

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
    let world = World::start_with(|setting, _| setting.sources = 4);
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
    let stranger = Authority::root("root of the tests");
    let elliptic = KeyPair::generate().unwrap();
    let certificates = [
        ("certificate_expired", world.root.issue(&expired)),
        ("certificate_not_yet_valid", world.root.issue(&early)),
        ("certificate_self_signed", Leaf::named(&[NAME]).self_signed()),
        ("certificate_self_signed", world.root.certificate.pem()),
        ("certificate_name", world.root.issue(&Leaf::named(&["evil.example"]))),
        ("certificate_name", world.root.issue(&Leaf::named(&["sns.us-east-1.amazonaws.com"]))),
        ("certificate_name", world.root.issue(&Leaf::named(&["*.amazonaws.com"]))),
        ("certificate_name", world.root.issue(&Leaf::named(&["sns.amazonaws.com.evil.example"]))),
        ("certificate_name", world.root.issue(&Leaf::named(&[]))),
        ("certificate_chain", stranger.issue(&Leaf::named(&[NAME]))),
        ("certificate_chain", stranger.issue(&Leaf::named(&[NAME])) + &stranger.certificate.pem()),
        ("certificate_key", world.root.issue_for(&Leaf::named(&[NAME]), &elliptic)),
        ("certificate_key", world.root.issue_for(&Leaf::named(&[NAME]), &WeakKey::new())),
        ("certificate_usage", changed(|leaf| leaf.usages = vec![KeyUsagePurpose::KeyEncipherment])),
        (
            "certificate_usage",
            changed(|leaf| leaf.extended_usages = vec![ExtendedKeyUsagePurpose::EmailProtection]),
        ),
        ("certificate_usage", changed(|leaf| leaf.is_authority = true)),
        ("certificate_form", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into()),
    ];
    // Each source makes five fetches a minute for one network.
    for (number, (reason, pem)) in certificates.into_iter().enumerate() {
        let number = number + 1;
        world.double.put(&certificate_path(number), File::Here(pem.into()));
        world.assert_refused(number / 5, &by_certificate(number).json(), reason);
        assert_eq!(world.double.connections(), number, "{reason}");
    }
    let untrusted =
        world.bridge.metric("fanbridge_sns_certificate_fetches_total", &["outcome=\"untrusted\""]);
    assert_eq!(untrusted, 17.0);
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
    assert!(visits.iter().all(|visit| visit.tls && visit.host == HOST), "{visits:?}");
}

#[test]
fn a_host_that_answers_otherwise_is_not_followed() {
    let _turn = turns::in_company();
    let world = World::start_with(|setting, _| setting.sources = 2);
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
    let world = World::start();
    for (number, text) in ["", "<html>log in</html>", &KEY.serialize_pem()].into_iter().enumerate() {
        world.double.put(&certificate_path(number + 1), File::Here(text.into()));
        world.assert_unavailable(0, &by_certificate(number + 1), "certificate_form");
    }
}

#[test]
fn a_host_that_cannot_be_reached_or_believed_is_503_so_that_sns_sends_again() {
    let _turn = turns::in_company();
    let world = World::start_with(|setting, _| setting.sources = 2);
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

    world.double.put(&certificate_path(6), File::Here(good.clone().into()));
    world.double.present(Authority::root("a stranger").tls(&[HOST], &[]));
    world.assert_unavailable(1, &by_certificate(6), "certificate_tls");
    world.double.put(&certificate_path(7), File::Here(good.into()));
    world.double.present(world.root.tls(&["evil.example"], &[]));
    world.assert_unavailable(1, &by_certificate(7), "certificate_tls");
    let unavailable =
        world.bridge.metric("fanbridge_sns_certificate_fetches_total", &["outcome=\"unavailable\""]);
    assert_eq!(unavailable, 7.0);
}

#[test]
fn a_chain_is_made_of_the_file_the_handshake_and_the_authoritys_own_file() {
    let _turn = turns::in_company();
    let world = World::start();
    let middle = world.root.below("middle of the tests");
    let leaf = middle.issue(&Leaf::named(&[NAME]));
    let put = |number, pem: &str| world.double.put(&certificate_path(number), File::Here(pem.into()));

    put(1, &(leaf.clone() + &middle.certificate.pem()));
    world.assert_taken(0, &by_certificate(1), "accepted");
    put(2, &leaf);
    world.assert_refused(0, &by_certificate(2).json(), "certificate_chain");

    world.double.present(world.root.tls(&[HOST], &[&middle.certificate]));
    put(3, &leaf);
    world.assert_taken(0, &by_certificate(3), "accepted");
    world.double.present(world.root.tls(&[HOST], &[]));

    let mut pointing = Leaf::named(&[NAME]);
    pointing.issuer_url = Some("http://crt.r2m01.amazontrust.com/r2m01.cer".into());
    put(4, &middle.issue(&pointing));
    world.double.put("/r2m01.cer", File::Here(middle.certificate.der().to_vec()));
    world.assert_taken(0, &by_certificate(4), "accepted");
    let visit = world.double.visits().pop().unwrap();
    assert_eq!((visit.tls, &*visit.host, &*visit.path), (false, "crt.r2m01.amazontrust.com", "/r2m01.cer"));

    // Whose certificate anybody could have made may name any place; nobody goes there.
    let before = world.double.connections();
    pointing.issuer_url = Some("http://169.254.169.254/r2m01.cer".into());
    put(6, &middle.issue(&pointing));
    world.assert_refused(0, &by_certificate(6).json(), "certificate_chain");
    assert_eq!(world.double.connections(), before + 1, "for the file itself");
}

#[test]
fn an_issuer_that_cannot_be_had_is_503_because_the_message_is_not_to_blame() {
    let _turn = turns::in_company();
    let world = World::start_with(|setting, _| setting.sources = 3);
    let middle = world.root.below("middle of the tests");
    let issuer = middle.certificate.der().to_vec();
    let mut leaf = Leaf::named(&[NAME]);
    leaf.issuer_url = Some("http://crt.r2m01.amazontrust.com/r2m01.cer".into());
    let leaf = middle.issue(&leaf);
    let elsewhere = "http://login.example/".to_owned();
    let another = world.root.below("another").certificate.der().to_vec();
    let files = [
        File::Status(301, "location", elsewhere.clone()),
        File::Status(302, "location", elsewhere),
        File::Status(403, "x-none", "1".into()),
        File::Status(404, "x-none", "1".into()),
        File::Status(500, "x-none", "1".into()),
        File::Here(b"<html>log in</html>".to_vec()),
        File::Here(Vec::new()),
        File::Here(another),
        File::Here(issuer[..issuer.len() / 2].to_vec()),
        File::Endless,
        File::Cut,
    ];
    let count = files.len();
    for (number, file) in files.into_iter().enumerate() {
        world.double.put(&certificate_path(number + 1), File::Here(leaf.clone().into()));
        world.double.put("/r2m01.cer", file);
        world.assert_unavailable(number / 5, &by_certificate(number + 1), "certificate_issuer");
    }
    world.double.put("/r2m01.cer", File::Here(issuer));
    world.double.put(&certificate_path(count + 1), File::Here(leaf.into()));
    world.assert_taken(count / 5, &by_certificate(count + 1), "accepted");
}

#[test]
fn a_chain_that_has_expired_is_no_fault_of_the_certificate() {
    let _turn = turns::in_company();
    let world = World::start();
    let middle = world.root.below("middle of the tests");
    let expired = world.root.vouched_until(&middle, OffsetDateTime::now_utc() - time::Duration::days(1));
    let mut leaf = Leaf::named(&[NAME]);
    let put = |number, pem: &str| world.double.put(&certificate_path(number), File::Here(pem.into()));
    put(1, &(middle.issue(&leaf) + &expired));
    world.assert_refused(0, &by_certificate(1).json(), "certificate_chain");
    leaf.issuer_url = Some("http://crt.r2m01.amazontrust.com/r2m01.cer".into());
    world.double.put("/r2m01.cer", File::Here(middle.certificate.der().to_vec()));
    put(2, &(middle.issue(&leaf) + &expired));
    world.assert_taken(0, &by_certificate(2), "accepted");
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
fn a_failure_is_remembered_and_strangers_cause_only_so_many_fetches() {
    let _turn = turns::in_company();
    let world = World::start();
    world.assert_taken(0, &by_certificate(0), "accepted");
    for _ in 0..3 {
        world.assert_unavailable(0, &by_certificate(1), "certificate_status");
    }
    assert_eq!(world.double.connections(), 2, "the good one and the missing one, each once");
    // Ten a minute, and half of them for one network: three more, and then none.
    for number in 2..5 {
        world.assert_unavailable(0, &by_certificate(number), "certificate_status");
    }
    for number in 5..20 {
        world.assert_unavailable(0, &by_certificate(number), "certificate_fetches");
    }
    assert_eq!(world.double.connections(), 5);
    // The rest is for others.
    for number in 20..40 {
        let answer = post_from(Ipv4Addr::new(127, 0, 0, 2), &world, &by_certificate(number));
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    }
    assert_eq!(world.double.connections(), 10);
    world.assert_taken(0, &by_certificate(0), "accepted");
    assert_eq!(world.double.connections(), 10, "what is known needs no fetch");
}

#[test]
fn a_certificate_that_was_trusted_is_known_after_a_restart_if_it_still_holds() {
    let _turn = turns::in_company();
    let world = World::start();
    let mut brief = Leaf::named(&[NAME]);
    brief.not_after = OffsetDateTime::now_utc() + time::Duration::seconds(8);
    world.double.put(&certificate_path(1), File::Here(world.root.issue(&brief).into()));
    world.assert_taken(0, &by_certificate(0), "accepted");
    world.assert_taken(0, &by_certificate(1), "accepted");
    let kept = world.home.path("spool").join("sns-certificates");
    await_until("both are kept", Duration::from_secs(10), || {
        let files = fs::read_dir(&kept).ok()?.filter_map(Result::ok);
        (files.filter(|file| file.path().extension().is_some_and(|ending| ending == "pem")).count() == 2)
            .then_some(())
    });
    world.double.put(&certificate_path(0), File::Cut);
    let rest = brief.not_after + time::Duration::seconds(1) - OffsetDateTime::now_utc();
    std::thread::sleep(rest.try_into().unwrap_or_default());

    let world = world.restarted();
    world.assert_taken(0, &by_certificate(0), "accepted");
    assert_eq!(world.double.connections(), 2, "one for each before, and none since");
    world.assert_refused(0, &by_certificate(1).json(), "certificate_expired");
    assert_eq!(world.double.connections(), 3);

    // What somebody else wrote there is judged like anything that is fetched.
    let stranger = Authority::root("root of the tests");
    let forged = stranger.issue(&Leaf::named(&[NAME])) + &stranger.certificate.pem();
    let file = kept.join(format!("eu-west-1-{:032x}.pem", 0));
    fs::write(&file, format!("{}\n{forged}", certificate_url(0))).unwrap();
    let world = world.restarted();
    world.assert_unavailable(0, &by_certificate(0), "certificate_connection");
}

/// Delivers from another address of this machine; the answer as it came.
fn post_from(address: Ipv4Addr, world: &World, message: &Message) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((address, 0).into()).unwrap();
        let stream = socket.connect((Ipv4Addr::LOCALHOST, world.bridge.http_port()).into()).await;
        stream.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    (&stream).write_all(&posted(message)).unwrap();
    let mut answer = String::new();
    // Who is answered 503 is hung up on.
    (&stream).read_to_string(&mut answer).unwrap();
    answer
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
