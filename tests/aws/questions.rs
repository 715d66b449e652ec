//! What topics ask in a queue, with a service that does not answer, or answers no. Nothing stands behind
//! the proxy, so that these need no emulator.

use std::time::Duration;

use serde_json::{Value, json};

use crate::envelopes::{LISTED, await_letters, question};
use crate::inlet::{DEADLINE, Inlet, assert_each_once, events, texts};
use crate::support::await_until;
use crate::support::bridge::Bridge;
use crate::support::proxy::call::{Answer, Refusal};
use crate::support::proxy::{ANY, Fault, Proxy};

/// How long one question waits for its answer.
const ASKED_FOR: Duration = Duration::from_secs(4);

/// A queue that brings these bodies in one receive, each under its number, and takes every delete.
fn queue_of(bodies: &[String]) -> (Proxy, Inlet) {
    let proxy = Proxy::before("http://127.0.0.1:9");
    let message = |(number, body): (usize, &String)| json!({ "MessageId": format!("m-{number}"), "ReceiptHandle": format!("{number}"), "Body": body });
    let batch: Vec<Value> = bodies.iter().enumerate().map(message).collect();
    let received = |messages: Value| {
        Fault::Answer(
            Answer::new(200, messages.to_string()).with("content-type", "application/x-amz-json-1.0"),
        )
    };
    proxy.times(1, "ReceiveMessage", received(json!({ "Messages": batch })));
    proxy.always("ReceiveMessage", received(json!({})));
    for action in ["DeleteMessageBatch", "ChangeMessageVisibilityBatch"] {
        proxy.always(action, Fault::Accept);
    }
    let url = format!("{}/000000000000/asked", proxy.endpoint());
    let inlet = Inlet::new(&proxy.endpoint(), &url, &format!("confirm_topics: [\"{LISTED}\"]"), "");
    (proxy, inlet)
}

/// The numbers of the messages that were deleted, in their order.
fn deleted(proxy: &Proxy) -> Vec<usize> {
    let calls = proxy.calls("DeleteMessageBatch");
    let receipts = calls.iter().flat_map(|call| &call.entries).map(|entry| entry.field("ReceiptHandle"));
    let mut numbers: Vec<usize> = receipts.map(|receipt| receipt.parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

fn outcomes(bridge: &Bridge, outcome: &str) -> f64 {
    bridge.metric("fanbridge_sns_subscriptions_total", &[&format!("outcome=\"{outcome}\"")])
}

#[test]
fn events_beside_questions_that_nobody_answers_are_stored_first_and_all_questions_are_asked_at_once() {
    let load = events("beside-questions", 5);
    let asking = Proxy::before("http://127.0.0.1:9");
    let questions = (0..5).map(|_| question("SubscriptionConfirmation", LISTED, &asking));
    let bodies: Vec<_> = questions.zip(texts(&load)).flat_map(|(question, text)| [question, text]).collect();
    let (proxy, inlet) = queue_of(&bodies);
    // For longer than anybody waits.
    proxy.always("ConfirmSubscription", Fault::HoldCall(Duration::from_secs(300)));
    proxy.always(ANY, Fault::Accept);
    let bridge = inlet.start();

    proxy.await_calls("ConfirmSubscription", 1, DEADLINE);
    let accepted = bridge.metric("fanbridge_events_total", &["verdict=\"accepted\""]);
    assert_eq!(accepted, 5.0, "durable before anything is asked");
    await_until("every question was given up", DEADLINE, || {
        (outcomes(&bridge, "failed") >= 5.0).then_some(())
    });
    let asked: Vec<_> = proxy.calls("ConfirmSubscription").iter().map(|call| call.at).collect();
    assert_eq!(asked.len(), 5, "each once");
    let (first, last) = (asked.iter().min().unwrap(), asked.iter().max().unwrap());
    let apart = last.duration_since(*first).unwrap();
    assert!(apart < ASKED_FOR, "{apart:?} lie between the first question and the last");

    assert_each_once(&inlet.await_arrivals(5, DEADLINE), &load);
    await_until("the events are deleted", DEADLINE, || (deleted(&proxy) == [1, 3, 5, 7, 9]).then_some(()));
    bridge.stop();
    assert_eq!(deleted(&proxy), [1, 3, 5, 7, 9], "the questions stay in the queue, and come again");
}

#[test]
fn a_question_whose_answer_is_refused_for_good_is_a_letter_and_one_that_may_yet_be_answered_comes_back() {
    let asking = Proxy::before("http://127.0.0.1:9");
    let bodies = [(); 2].map(|()| question("SubscriptionConfirmation", LISTED, &asking));
    let (proxy, inlet) = queue_of(&bodies);
    proxy.times(1, "ConfirmSubscription", Fault::Refuse(Refusal::INVALID));
    proxy.always("ConfirmSubscription", Fault::Refuse(Refusal::THROTTLED));
    let bridge = inlet.start();
    let letter = await_letters(&bridge, 1).remove(0);
    assert_eq!(letter["reason"], "subscription_confirmation");
    let detail = letter["detail"].as_str().unwrap();
    assert!(detail.contains("(InvalidParameter)"), "{detail}");
    assert!(detail.contains("subscribe the queue to it again"), "{detail}");
    await_until("the letter's message is deleted", DEADLINE, || (deleted(&proxy).len() == 1).then_some(()));
    assert_eq!((outcomes(&bridge, "refused"), outcomes(&bridge, "failed")), (1.0, 1.0));
    let left = bridge.metric("fanbridge_sqs_messages_left_total", &["reason=\"confirmation\""]);
    assert_eq!(left, 1.0);
    assert!(!bridge.log().contains("2336412f37fb687f5d51e6e2"), "a token is a secret");
    bridge.stop();
}
