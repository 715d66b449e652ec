//! Raw deliveries: nothing is signed, so nothing is believed without the password.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::message::{Message, OTHER_LISTED_TOPIC, TOPIC, UNLISTED_TOPIC};
use crate::support::turns;
use crate::world::{RAW_PASSWORD, RAW_USERNAME, World};

const BODY: &str = r#"{"type":"call.created","call_cid":"default:a"}"#;
const RAW: (&str, &str) = ("x-amz-sns-rawdelivery", "true");

fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{password}")))
}

#[test]
fn a_raw_delivery_is_refused_unless_the_source_takes_them() {
    let _turn = turns::in_company();
    let world = World::start();
    let credentials = basic(RAW_USERNAME, RAW_PASSWORD);
    let headers = [RAW, ("x-amz-sns-topic-arn", TOPIC), ("authorization", &credentials)];
    for body in [BODY.as_bytes(), &Message::notification(BODY).signed().json()] {
        let answer = world.post(0, &headers, body);
        assert_eq!(answer.status, 401);
        assert_eq!(answer.header("www-authenticate"), None);
    }
    assert_eq!(world.double.connections(), 0);
}

#[test]
fn a_raw_delivery_is_taken_from_who_has_the_password_and_names_a_listed_topic() {
    let _turn = turns::in_company();
    let world = World::start_with(|setting, _| setting.raw = true);
    let topic = ("x-amz-sns-topic-arn", TOPIC);
    let challenge = world.post(0, &[RAW, topic], BODY.as_bytes());
    assert_eq!(challenge.status, 401);
    assert_eq!(challenge.header("www-authenticate"), Some(r#"Basic realm="fanbridge""#));
    let wrong = [
        basic(RAW_USERNAME, "another-password-of-them"),
        basic("another", RAW_PASSWORD),
        basic(RAW_USERNAME, ""),
        format!("Bearer {RAW_PASSWORD}"),
    ];
    for wrong in &wrong {
        assert_eq!(
            world.post(0, &[RAW, topic, ("authorization", wrong)], BODY.as_bytes()).status,
            401,
            "{wrong}"
        );
    }
    assert_eq!(world.refused("password"), 5.0);

    let known = basic(RAW_USERNAME, RAW_PASSWORD);
    let known = ("authorization", &*known);
    let kind = ("x-amz-sns-message-type", "Notification");
    for headers in [&[RAW, kind, known][..], &[RAW, kind, known, ("x-amz-sns-topic-arn", UNLISTED_TOPIC)]] {
        assert_eq!(world.post_bare(0, headers, BODY.as_bytes()).status, 403);
    }
    assert_eq!(world.refused("other_topic"), 2.0);

    let id = ("x-amz-sns-message-id", "m-1");
    let accepted = world.post(0, &[RAW, known, topic, id], BODY.as_bytes());
    assert!(accepted.text().contains("accepted"), "{}", accepted.text());
    // The header may be missing, and the body in another form.
    let encoded = BASE64_STANDARD.encode(BODY);
    let other = ("x-amz-sns-topic-arn", OTHER_LISTED_TOPIC);
    assert!(world.post(0, &[known, other], encoded.as_bytes()).text().contains("duplicate"));
    assert!(world.post(0, &[RAW, known, topic], b"\xff\xfe").text().contains("quarantined"));

    // What is signed is judged by its signature, also here.
    world.assert_taken(0, &Message::notification(BODY).signed(), "duplicate");
    world.assert_refused(0, &Message::notification(BODY).signed_by_other().json(), "signature");
    assert_eq!(world.deliver(&Message::subscription().signed()).text(), r#"{"verdict":"confirmed"}"#);
}
