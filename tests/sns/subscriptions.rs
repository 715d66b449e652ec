//! Subscriptions: made through the service's API, and their end reported.

use crate::message::{Message, OTHER_LISTED_TOPIC, TOPIC, UNLISTED_TOPIC};
use crate::support::turns;
use crate::world::World;

fn changes(world: &World, outcome: &str) -> f64 {
    world.bridge.metric("fanbridge_sns_subscriptions_total", &[&format!("outcome=\"{outcome}\"")])
}

#[test]
fn a_subscription_is_confirmed_through_the_api_and_never_by_its_url() {
    let _turn = turns::in_company();
    let world = World::start();
    // Were this URL followed, the double would notice.
    let url = format!("http://{}/?Action=ConfirmSubscription", world.double.address);
    let message = Message::subscription().with("SubscribeURL", &url).signed();
    assert_eq!(world.deliver(&message).text(), r#"{"verdict":"confirmed"}"#);

    let calls = world.service.calls();
    assert_eq!(calls.len(), 1);
    for (name, value) in [
        ("Action", "ConfirmSubscription"),
        ("TopicArn", TOPIC),
        ("Token", message.get("Token")),
        ("AuthenticateOnUnsubscribe", "true"),
    ] {
        assert_eq!(calls[0].get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(changes(&world, "confirmed"), 1.0);
    world.bridge.assert_logs("subscription confirmed");
    assert_eq!(world.double.connections(), 1, "for the certificate");
    assert_eq!(world.double.visits().len(), 1);
    for url in ["http://169.254.169.254/", "http://localhost/", "file:///etc/passwd", ""] {
        world.assert_taken(0, &Message::subscription().with("SubscribeURL", url).signed(), "confirmed");
    }
}

#[test]
fn a_confirmation_that_fails_is_503_so_that_it_is_sent_again() {
    let _turn = turns::in_company();
    let world = World::start();
    world.service.deny(true);
    let message = Message::subscription().with("TopicArn", OTHER_LISTED_TOPIC).signed();
    world.assert_unavailable(0, &message, "confirmation");
    assert_eq!(changes(&world, "failed"), 1.0);
    // The log says what to do.
    world.bridge.assert_logs("sns:ConfirmSubscription");
    assert!(!world.bridge.log().contains(message.get("Token")), "and keeps the token to itself");
    world.service.deny(false);
    world.assert_taken(0, &message, "confirmed");
    assert_eq!(world.service.calls().len(), 2);
}

#[test]
fn a_topic_that_is_not_listed_is_not_subscribed_to() {
    let _turn = turns::in_company();
    let world = World::start();
    let message = Message::subscription().with("TopicArn", UNLISTED_TOPIC).signed();
    world.assert_refused(0, &message.json(), "subscription_of_other_topic");
    assert_eq!(changes(&world, "refused"), 1.0);
    assert!(world.service.calls().is_empty());
    assert_eq!(world.double.connections(), 0);
    // The log says which one to list.
    world.bridge.assert_logs(UNLISTED_TOPIC);
    let unheard_of = format!("{UNLISTED_TOPIC}\n\u{1b}[31m");
    world.assert_refused(
        0,
        &Message::notification("{}").with("TopicArn", &unheard_of).signed().json(),
        "other_topic",
    );
    let shown = serde_json::to_string(&format!(r"{UNLISTED_TOPIC}\n\u{{1b}}[31m")).unwrap();
    world.bridge.assert_logs(&shown);
}

#[test]
fn the_end_of_a_subscription_is_reported_and_not_undone() {
    let _turn = turns::in_company();
    let world = World::start();
    assert_eq!(world.deliver(&Message::end().signed()).text(), r#"{"verdict":"unsubscribed"}"#);
    assert_eq!(changes(&world, "ended"), 1.0);
    world.bridge.assert_logs("subscription ended");
    assert!(world.service.calls().is_empty());
}
