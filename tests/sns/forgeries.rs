//! What is not genuine: refused, for a reason that only the operator learns, and without a
//! connection to anybody.

use serde_json::json;

use crate::message::{
    Message, OTHER_LISTED_TOPIC, REGION, TOPIC, UNLISTED_TOPIC, certificate_path, certificate_url, timestamp,
};
use crate::support::client::{Answer, request};
use crate::support::{servers, turns};
use crate::world::{REFUSAL, World};

const BODY: &str = r#"{"type":"call.created","call_cid":"default:a"}"#;

/// A genuine message with one member changed before it was signed: the signature alone would hold.
fn changed(name: &str, value: &str) -> Vec<u8> {
    Message::notification(BODY).with(name, value).signed().json()
}

/// The certificate's URL with another host.
fn at(host: &str) -> String {
    format!("https://{host}{}", certificate_path(0))
}

/// Every message that must be refused from what it says alone, with the reason.
pub fn refused_unasked() -> Vec<(Vec<u8>, &'static str)> {
    let host = &format!("sns.{REGION}.amazonaws.com");
    let path = &certificate_path(0);
    let urls = [
        format!("http://{host}{path}"),
        format!("HTTPS://{host}{path}"),
        format!("https:/{host}{path}"),
        format!("https:\\\\{host}{path}"),
        format!(" https://{host}{path}"),
        at("evil.example"),
        at(&format!("{host}.evil.example")),
        at(&format!("{host}@evil.example")),
        at(&format!("evil.example@{host}")),
        at(&format!("user:password@{host}")),
        at("127.0.0.1"),
        at("[::1]"),
        at("169.254.169.254"),
        at("2130706433"),
        at("sns.eu-west-1.xn--mazonaws-5fg.com"),
        at("sns.eu-west-1.amazonaws.c\u{43e}m"),
        at("SNS.eu-west-1.amazonaws.com"),
        at("sns.eu-west-1.amazonaws.com."),
        at("sns.eu-west-1.amazonaws.com.cn"),
        at("sns.eu-west-1.amazonaws.eu"),
        at("sns.eu-west-1.amazonaws.com%2Eevil.example"),
        at("sns%2Eeu-west-1.amazonaws.com"),
        at("sns.us-east-1.amazonaws.com"),
        at("sns.amazonaws.com"),
        at(&format!("{host}:443")),
        at(&format!("{host}:8443")),
        at(&format!("{host}:80")),
        at(&format!("{host}:")),
        "https://sns.s3-us-west-2.amazonaws.com/x.pem".into(),
        at("sns.s3-us-west-2.amazonaws.com"),
        at("sns.s3.eu-west-1.amazonaws.com"),
        at("sns.elb.eu-west-1.amazonaws.com"),
        at("sns.execute-api.eu-west-1.amazonaws.com"),
        at("abc123.execute-api.eu-west-1.amazonaws.com"),
        format!("https://{host}{path}?x"),
        format!("https://{host}{path}#x"),
        format!("https://{host}{path}/../x.pem"),
        format!("https://{host}/..{path}"),
        format!("https://{host}/x/..{path}"),
        format!("https://{host}/%2e%2e{path}"),
        format!("https://{host}{path}\\..\\x.pem"),
        format!("https://{host}{path}\r\nhost: evil.example"),
        format!("https://{host}{}", path.to_uppercase()),
        format!("https://{host}//{path}"),
        format!("https://{host}/x{path}"),
        format!("https://{host}/evil.pem"),
        format!("https://{host}{}", path.replace("0.pem", "A.pem")),
        format!("https://{host}{}", path.replace("0.pem", "%30.pem")),
        format!("https://evil.example/?https://{host}{path}"),
        format!("file://{path}"),
        "/etc/passwd".into(),
        String::new(),
    ];
    let mut refused: Vec<_> =
        urls.iter().map(|url| (changed("SigningCertURL", url), "certificate_url")).collect();
    let subscription = Message::subscription();
    refused.extend([
        (changed("TopicArn", UNLISTED_TOPIC), "other_topic"),
        (changed("TopicArn", &TOPIC.replace(REGION, "us-east-1")), "other_topic"),
        (changed("TopicArn", &TOPIC.to_uppercase()), "other_topic"),
        (changed("TopicArn", ""), "other_topic"),
        (Message::end().with("TopicArn", UNLISTED_TOPIC).signed().json(), "other_topic"),
        (
            subscription.clone().with("TopicArn", UNLISTED_TOPIC).signed().json(),
            "subscription_of_other_topic",
        ),
        (subscription.clone().with("SigningCertURL", &at("evil.example")).signed().json(), "certificate_url"),
        (changed("SignatureVersion", "1"), "signature_sha1"),
        (changed("SignatureVersion", "3"), "signature_version"),
        (changed("SignatureVersion", "02"), "signature_version"),
        (
            Message::notification(BODY).with_json("SignatureVersion", json!(2)).signed().json(),
            "envelope_field_form",
        ),
        (Message::notification(BODY).without("SignatureVersion").signed().json(), "envelope_incomplete"),
        (Message::notification(BODY).signed().with("Signature", "not base64").json(), "signature_form"),
        (Message::notification(BODY).signed().with("Signature", "").json(), "signature_form"),
        (Message::notification(BODY).json(), "envelope_incomplete"),
        (Message::notification(BODY).without("SigningCertURL").signed().json(), "envelope_incomplete"),
        (
            Message::notification(BODY).with_json("Subject", json!(null)).signed().json(),
            "envelope_field_form",
        ),
        (subscription.clone().without("Token").signed().json(), "envelope_incomplete"),
        (subscription.without("SubscribeURL").signed().json(), "envelope_incomplete"),
        (changed("Timestamp", &timestamp(-3610)), "timestamp_too_old"),
        (changed("Timestamp", &timestamp(310)), "timestamp_too_new"),
        (changed("Timestamp", "today"), "timestamp_form"),
        (repeated("Message", "{}"), "envelope_repeated_key"),
        (repeated("TopicArn", UNLISTED_TOPIC), "envelope_repeated_key"),
        (repeated("SigningCertURL", "https://evil.example/x.pem"), "envelope_repeated_key"),
        (repeated("anything", "1"), "envelope_repeated_key"),
    ]);
    refused
}

/// A genuine message with a second member of a name, before the genuine one or in its place.
fn repeated(name: &str, value: &str) -> Vec<u8> {
    let json = String::from_utf8(Message::notification(BODY).signed().json()).unwrap();
    let again =
        if json.contains(&format!("\"{name}\"")) { String::new() } else { format!("\"{name}\": \"\",") };
    json.replacen('{', &format!("{{\"{name}\": \"{value}\",{again}"), 1).into()
}

/// Bodies that are no envelope, and so say nothing of who sent them.
pub fn no_envelopes() -> Vec<Vec<u8>> {
    let bodies: [&[u8]; 9] = [
        b"",
        b"{}",
        b"not json",
        b"\xff\xfe",
        BODY.as_bytes(),
        br#"{"type":"flag.updated","Message":{"text":"Notification"}}"#,
        br#"{"Type":"Notification","Message":{"text":"x"},"TopicArn":"t"}"#,
        br#"{"Type":"Other","Message":"x"}"#,
        br#"{"Type":"notification","Message":"x"}"#,
    ];
    bodies.map(<[u8]>::to_vec).into()
}

#[test]
fn what_cannot_be_genuine_is_refused_alike_and_without_a_connection() {
    let _turn = turns::in_company();
    let world = World::start();
    let refused = refused_unasked();
    for (body, reason) in &refused {
        world.assert_refused(0, body, reason);
    }
    // A head that names a listed topic proves nothing.
    let listed = ("x-amz-sns-topic-arn", TOPIC);
    for (body, reason) in refused.iter().filter(|(_, reason)| reason.contains("other_topic")) {
        let before = world.refused(reason);
        assert_eq!(world.post(0, &[listed], body).text_without_request(), REFUSAL);
        assert_eq!(world.refused(reason), before + 1.0, "{}", String::from_utf8_lossy(body));
    }
    for body in no_envelopes() {
        world.assert_unauthenticated(&body);
    }
    assert_eq!(world.double.connections(), 0);
    assert!(world.service.calls().is_empty());
    let alerts = world.bridge.metric("fanbridge_sns_subscriptions_total", &["outcome=\"refused\""]);
    assert_eq!(alerts, 3.0, "subscriptions that somebody tried to make, each counted");
    world.bridge.assert_logs("subscription_of_other_topic");
    println!("{} forgeries", refused.len());
}

#[test]
fn what_does_not_say_that_a_listed_topic_sent_it_is_refused_before_its_body_is_read() {
    let _turn = turns::in_company();
    let world = World::start_with(|setting, _| setting.raw = true);
    let (kind, topic, raw) =
        ("x-amz-sns-message-type", "x-amz-sns-topic-arn", ("x-amz-sns-rawdelivery", "true"));
    let cases: [(Head, u16, &str); 9] = [
        (&[], 401, "message_type"),
        (&[(topic, TOPIC)], 401, "message_type"),
        (&[(kind, "notification"), (topic, TOPIC)], 401, "message_type"),
        (&[(kind, "Notification"), (kind, "Notification"), (topic, TOPIC)], 401, "message_type"),
        (&[(kind, "Notification")], 403, "other_topic"),
        (&[(kind, "Notification"), (topic, "events")], 403, "other_topic"),
        (&[(kind, "UnsubscribeConfirmation"), (topic, UNLISTED_TOPIC)], 403, "other_topic"),
        (&[(kind, "SubscriptionConfirmation"), (topic, UNLISTED_TOPIC)], 403, "subscription_of_other_topic"),
        (&[(kind, "Notification"), (topic, TOPIC), raw], 401, "password"),
    ];
    for (headers, status, reason) in cases {
        let before = world.refused(reason);
        // Of 100 KiB comes the beginning: whoever waits for the rest does not answer.
        let answer = answered_early(&world, headers);
        assert_eq!(answer.status, status, "{headers:?}");
        assert_eq!(answer.header("connection"), Some("close"), "{headers:?}");
        assert_eq!(world.refused(reason), before + 1.0, "{headers:?}");
    }
    let alerts = world.bridge.metric("fanbridge_sns_subscriptions_total", &["outcome=\"refused\""]);
    assert_eq!(alerts, 1.0, "a subscription that somebody tried to make");
    // The log says which one to list.
    world.bridge.assert_logs(UNLISTED_TOPIC);
    let likely = [(kind, "Notification"), (topic, TOPIC), ("expect", "100-continue")];
    assert_eq!(answered_early(&world, &likely).status, 100, "this one may be genuine");
    assert_eq!(world.double.connections(), 0);
}

/// Headers of a request.
type Head<'a> = &'a [(&'a str, &'a str)];

/// The answer to a request of which a hundredth has come.
fn answered_early(world: &World, headers: Head) -> Answer {
    let request = request("/in/sns-0", headers, &[b' '; 100 << 10]);
    let mut client = world.bridge.client();
    client.send(&request[..request.len() - (99 << 10)]).unwrap();
    client.receive().expect("an answer")
}

#[test]
fn headers_that_contradict_the_envelope_are_refused() {
    let _turn = turns::in_company();
    let world = World::start();
    let body = Message::notification(BODY).signed().json();
    for headers in [
        [("x-amz-sns-message-type", "SubscriptionConfirmation"), ("x-amz-sns-topic-arn", TOPIC)],
        [("x-amz-sns-message-type", "Notification"), ("x-amz-sns-topic-arn", OTHER_LISTED_TOPIC)],
    ] {
        assert_eq!(world.post(0, &headers, &body).status, 403);
    }
    assert_eq!(world.refused("header_contradicts"), 2.0);
    assert_eq!(world.double.connections(), 0);
    let repeating = [("x-amz-sns-message-type", "Notification"), ("x-amz-sns-topic-arn", TOPIC)];
    assert_eq!(world.post(0, &repeating, &body).status, 200);
}

#[test]
fn a_message_with_any_field_changed_after_it_was_signed_is_refused() {
    let _turn = turns::in_company();
    let world = World::start();
    let signed = Message::notification(BODY).with("Subject", "s").signed();
    let mut forged = vec![
        signed.clone().without("Subject"),
        signed.clone().with("Message", &BODY.replace("default:a", "default:b")),
        signed.clone().with("Message", &format!("{BODY}\n")),
        signed.clone().with("MessageId", "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324"),
        signed.clone().with("Subject", "t"),
        signed.clone().with("Timestamp", &timestamp(-60)),
        signed.clone().with("TopicArn", OTHER_LISTED_TOPIC),
        signed.clone().with("Type", "UnsubscribeConfirmation").with("Token", "t").with("SubscribeURL", "u"),
        Message::notification(BODY).signed().with("Subject", "added"),
        Message::notification(BODY).signed().with("Subject", ""),
        Message::notification(BODY).signed_by_other(),
        // Fields moved from one to another, with the same text in the end.
        Message::notification(&format!("{BODY}\nMessageId\nx")).signed().with("Message", BODY),
    ];
    for confirmation in [Message::subscription().signed(), Message::end().signed()] {
        forged.extend([
            confirmation.clone().with("Token", "another"),
            confirmation.clone().with("SubscribeURL", "https://sns.eu-west-1.amazonaws.com/"),
            confirmation.clone().with("Message", "hello"),
            confirmation.clone().with("TopicArn", OTHER_LISTED_TOPIC),
            confirmation.signed_by_other(),
        ]);
    }
    let end = Message::end().signed();
    forged.push(end.with("Type", "SubscriptionConfirmation"));
    // One validator leaves the token out of an UnsubscribeConfirmation; the documentation does not.
    let end = Message::end();
    let text = end.signed_text().replace("Token\n2336412f37fb687f5d51e6e2425c464de\n", "");
    forged.push(end.signed_over(&text));
    for message in &forged {
        world.assert_refused(0, &message.json(), "signature");
    }
    assert_eq!(world.double.connections(), 1, "for the certificate");
    assert!(world.service.calls().is_empty(), "nothing was confirmed");
    let alerts = world.bridge.metric("fanbridge_sns_subscriptions_total", &["outcome=\"refused\""]);
    assert_eq!(alerts, 6.0, "subscriptions that somebody tried to make");
    world.assert_taken(0, &signed, "accepted");
}

#[test]
fn a_message_may_be_an_hour_old_and_a_little_ahead() {
    let _turn = turns::in_company();
    let world = World::start();
    for seconds in [-3500, 200] {
        let body = format!(r#"{{"type":"call.created","n":{seconds}}}"#);
        world.assert_taken(
            0,
            &Message::notification(&body).with("Timestamp", &timestamp(seconds)).signed(),
            "accepted",
        );
    }
}

#[test]
fn a_signature_with_sha1_counts_only_where_it_is_allowed() {
    let _turn = turns::in_company();
    if std::process::Command::new("openssl").arg("version").output().is_err() {
        return servers::skip("signatures with SHA-1", "openssl is missing");
    }
    let world = World::start();
    let old = Message::notification(BODY).with("SignatureVersion", "1").signed_with_sha1();
    world.assert_refused(0, &old.json(), "signature_sha1");
    assert_eq!(world.double.connections(), 0);
    drop(world);

    let world = World::start_with(|setting, _| setting.allow_sha1 = true);
    world.assert_taken(0, &old, "accepted");
    world.assert_taken(0, &Message::notification(BODY).signed(), "duplicate");
    let mislabelled = [
        Message::notification(BODY).with("SignatureVersion", "1").signed(),
        Message::notification(BODY).signed_with_sha1(),
        old.with("SigningCertURL", &certificate_url(0)).with("SignatureVersion", "2"),
    ];
    for message in mislabelled {
        world.assert_refused(0, &message.json(), "signature");
    }
}
