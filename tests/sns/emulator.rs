//! The emulator of SNS as the publisher: it subscribes the bridge, is asked to confirm, and
//! delivers what is published.
//!
//! The emulator signs with a certificate that it serves itself, from no host of the service, so what
//! it has signed is refused. A relay between the two signs it again, as the service would.

use std::fs;
use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::authority::{Authority, Leaf};
use crate::double::{Double, File};
use crate::http::{self, Request};
use crate::message::{Message, REGION, certificate_path, certificate_url, timestamp};
use crate::support::aws::{Aws, messages};
use crate::support::bridge::{Bridge, Home};
use crate::support::client::Client;
use crate::support::{await_until, readers, signing, turns};
use crate::world::{RAW_PASSWORD, RAW_USERNAME};

const PATIENCE: Duration = Duration::from_secs(30);

/// Takes what the emulator posts to `/in/…` on and signs envelopes again. The port it listens on.
fn relay(bridge: u16) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // The emulator tries again what was not answered.
            std::thread::spawn(move || stream.and_then(|stream| pass_on(stream, bridge)));
        }
    });
    port
}

fn pass_on(stream: TcpStream, bridge: u16) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let Some(Request { path, mut headers, mut body }) = http::read(&mut stream)? else { return Ok(()) };
    headers.retain(|(name, _)| name.starts_with("x-amz-sns-") || name == "authorization");
    if let Ok(envelope) = serde_json::from_slice::<Value>(&body)
        && envelope.get("SigningCertURL").is_some()
    {
        let members = envelope.as_object().unwrap().clone();
        let message = Message::from(members).with("SignatureVersion", "2").with("Timestamp", &timestamp(0));
        body = message.with("SigningCertURL", &certificate_url(0)).signed().json();
    }
    let headers: Vec<_> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    let answer = Client::new(bridge).post(&path, &headers, &body).map_err(|_| io::ErrorKind::BrokenPipe)?;
    let head = format!("HTTP/1.1 {} Relayed\r\ncontent-length: {}\r\n\r\n", answer.status, answer.body.len());
    stream.get_mut().write_all(&[head.as_bytes(), &answer.body].concat())
}

/// A bridge that this topic may deliver to, and the double that knows its certificate.
fn start(home: &Home, aws: &Aws, topic: &str) -> (Bridge, Double) {
    let root = Authority::root("root of the tests");
    fs::write(home.path("authority.pem"), root.certificate.pem()).unwrap();
    let double = Double::start(root.tls(&[&format!("sns.{REGION}.amazonaws.com")]));
    let good = root.issue(&Leaf::named(&["sns.amazonaws.com"]));
    double.put(&certificate_path(0), File::Here(good.into()));
    let sources = format!(
        "  sns-0: {{ provider: stream, sns: {{ topics: [\"{}\"], raw: {{ username: {RAW_USERNAME}, password: env:RAW_PASSWORD }},\n\
         \x20   certificate_double: {{ address: \"{}\", authority: {} }} }} }}\n\
         aws: {{ endpoint: \"{}\" }}\n\
         sinks:\n  local: {{ file: {{ dir: {} }} }}\n",
        topic,
        double.address,
        home.path("authority.pem").display(),
        aws.endpoint(),
        home.path("topics").display(),
    );
    home.configure("", &sources);
    let password = format!("RAW_PASSWORD={RAW_PASSWORD}");
    let environment = ["env", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", &password];
    (home.start_under(&environment), double)
}

fn await_confirmed(is_confirmed: impl Fn() -> bool) {
    await_until("the subscription is confirmed", PATIENCE, || is_confirmed().then_some(()));
}

/// Publishes a few bodies and asserts that each arrives once, byte for byte.
fn assert_delivers(home: &Home, bridge: &Bridge, topic: &str, publish: impl FnOnce(Vec<String>)) {
    let bodies: Vec<String> = (0..5)
        .map(|n| format!("{{\"type\": \"call.created\", \"n\": {n}, \"note\": \"é \u{1F39E}\"}}"))
        .collect();
    publish(bodies.clone());
    await_until("everything is delivered", PATIENCE, || {
        (bridge.metric("fanbridge_delivered_total", &[]) >= 5.0).then_some(())
    });
    let mut found: Vec<_> =
        readers::files(&home.path("topics")).iter().map(|arrival| arrival.sha256).collect();
    let mut expected: Vec<_> = bodies.iter().map(|body| signing::sha256(body.as_bytes())).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    let events = readers::file_events(&home.path("topics"));
    assert!(events.iter().all(|event| event["snstopic"] == topic), "{events:?}");
}

#[test]
fn a_topic_is_subscribed_to_confirmed_and_delivers() {
    let _turn = turns::in_company();
    let Some(aws) = Aws::connect("a subscription by HTTP") else { return };
    let (home, topic) = (Home::new(), aws.topic("events", &[("SignatureVersion", "2")]));
    let (bridge, double) = start(&home, &aws, &topic.arn);
    let endpoint = format!("http://127.0.0.1:{}/in/sns-0", relay(bridge.http_port()));
    topic.subscribe_endpoint("http", &endpoint, &[]);
    await_confirmed(|| topic.subscriptions()[0].confirmed);
    assert_delivers(&home, &bridge, &topic.arn, |bodies| topic.publish(&messages(bodies)));
    assert_eq!(bridge.metric("fanbridge_sns_subscriptions_total", &["outcome=\"confirmed\""]), 1.0);
    assert_eq!(double.connections(), 1);
}

#[test]
fn a_topic_delivers_raw_with_the_password_of_its_url() {
    let _turn = turns::in_company();
    let Some(aws) = Aws::connect("a raw subscription by HTTP") else { return };
    let (home, topic) = (Home::new(), aws.topic("events", &[]));
    let (bridge, _double) = start(&home, &aws, &topic.arn);
    let port = relay(bridge.http_port());
    let endpoint = format!("http://{RAW_USERNAME}:{RAW_PASSWORD}@127.0.0.1:{port}/in/sns-0");
    topic.subscribe_endpoint("http", &endpoint, &[("RawMessageDelivery", "true")]);
    await_confirmed(|| topic.subscriptions()[0].confirmed);
    assert_delivers(&home, &bridge, &topic.arn, |bodies| topic.publish(&messages(bodies)));
}

#[test]
fn what_the_emulator_signs_is_no_signature_of_the_service() {
    let _turn = turns::in_company();
    let Some(aws) = Aws::connect("the emulator's own signature") else { return };
    let (home, topic) = (Home::new(), aws.topic("events", &[("SignatureVersion", "2")]));
    let (bridge, double) = start(&home, &aws, &topic.arn);
    topic.subscribe_endpoint("http", &format!("http://127.0.0.1:{}/in/sns-0", bridge.http_port()), &[]);
    await_until("the confirmation is refused", PATIENCE, || {
        (bridge.metric("fanbridge_refused_total", &["reason=\"certificate_url\""]) >= 1.0).then_some(())
    });
    assert!(!topic.subscriptions()[0].confirmed);
    assert_eq!(double.connections(), 0);
}
