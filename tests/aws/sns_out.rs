//! What subscribers of SNS topics get, and what becomes of what cannot be published.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_sqs::types::MessageSystemAttributeName;

use crate::sns_set_up::{DEADLINE, Out, SHAPE, WINDOW, await_acknowledged, await_degraded};
use crate::support::aws::{REGION, wait};
use crate::support::client::request;
use crate::support::load::{Delivery, Load, STREAM_PATH, Shape};
use crate::support::oracle::Ledger;
use crate::support::proxy::Fault;
use crate::support::{Tier, await_until, readers, signing, turns};

#[test]
fn a_fifo_topic_has_each_event_once_and_in_order_over_kills_and_lost_answers() {
    let _turn = turns::in_company();
    let Some(out) = Out::new("a FIFO topic over kills", "kills.fifo") else { return };
    let queue = out.aws.queue("kills.fifo", &[]);
    out.topic.subscribe(&queue, &[("RawMessageDelivery", "true")]);
    out.proxy.every(5, "PublishBatch", Fault::CutAfter);
    let mut bridge = out.home.start();
    let load = Load::start(out.home.http, Shape { pause: Duration::from_millis(10), ..SHAPE });
    for _ in 0..Tier::of_this_run().pick(3, 6, 50) {
        await_acknowledged(&load, 150);
        bridge.kill();
        bridge = out.home.start();
    }
    await_acknowledged(&load, 100);
    out.proxy.heal();
    let (ledger, _) = load.finish();
    out.drained(&ledger);
    let mut arrivals = Vec::new();
    let arrivals = readers::drained(&ledger, DEADLINE, || {
        let received = queue.receive(Duration::from_secs(1));
        queue.delete(&received);
        let arrival = |body: &str| readers::structured(&out.topic.arn, body.as_bytes());
        arrivals.extend(received.iter().map(|message| arrival(message.body().unwrap())));
        arrivals.clone()
    });
    let asked: usize = out.proxy.calls("PublishBatch").iter().map(|call| call.entries.len()).sum();
    assert!(asked > arrivals.len(), "{asked} entries: nothing was published twice, so nothing was shown");
    bridge.stop();
    assert_eq!(queue.depth().total(), 0);
    ledger.judge(&arrivals).assert_kept(0, WINDOW);
}

#[test]
fn a_subscribers_filter_policy_on_the_family_lets_only_that_family_through() {
    let _turn = turns::in_company();
    let Some(out) = Out::new("a filter policy on the family", "filtered") else { return };
    let (all, recordings) = (out.aws.queue("all", &[]), out.aws.queue("recordings", &[]));
    let raw = ("RawMessageDelivery", "true");
    out.topic.subscribe(&all, &[raw]);
    out.topic.subscribe(&recordings, &[raw, ("FilterPolicy", r#"{"family":["video.recording"]}"#)]);
    let bridge = out.home.start();
    let (ledger, mut client) = (Ledger::default(), bridge.client());
    let types = ["call.created", "call.recording_ready", "call.session_started", "call.recording_started"];
    for (number, event_type) in types.iter().enumerate() {
        Delivery::new(event_type, "default:a", number as u64, 0).hand_over(&mut client, &ledger);
    }
    let all = all.take(types.len(), DEADLINE);
    assert_eq!(all.len(), types.len());
    let types_of = |received: &[aws_sdk_sqs::types::Message]| -> BTreeSet<String> {
        let body = |message: &aws_sdk_sqs::types::Message| {
            readers::structured("", message.body().unwrap().as_bytes())
        };
        received.iter().map(|message| body(message).event_type).collect()
    };
    let filtered = types_of(&recordings.take(2, DEADLINE));
    assert_eq!(filtered, ["call.recording_ready".to_owned(), "call.recording_started".to_owned()].into());
    assert_eq!(recordings.depth().total(), 0);
    bridge.stop();
}

/// Subscribers filter by message attributes, so a list that leaves one out leaves their policies without it.
#[test]
fn a_list_of_attributes_narrows_the_document_and_what_subscribers_can_filter_by() {
    let _turn = turns::in_company();
    let Some(out) = Out::new("a list of attributes", "listed.fifo") else { return };
    let names = ["all", "by-family", "by-provider"];
    let [all, by_family, by_provider] = names.map(|name| out.aws.queue(&format!("{name}.fifo"), &[]));
    let raw = ("RawMessageDelivery", "true");
    out.topic.subscribe(&all, &[raw]);
    out.topic.subscribe(&by_family, &[raw, ("FilterPolicy", r#"{"family":["video.recording"]}"#)]);
    out.topic.subscribe(&by_provider, &[raw, ("FilterPolicy", r#"{"provider":["stream"]}"#)]);
    out.configure(&out.topic.arn, ", attributes: [family, sequence]");
    let bridge = out.home.start();
    let delivery = Delivery::new("call.recording_ready", "default:a", 1, 0);
    delivery.hand_over(&mut bridge.client(), &Ledger::default());
    let message = all.take(1, DEADLINE).remove(0);
    let document: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(message.body().unwrap()).unwrap();
    let members: Vec<_> = document.keys().map(String::as_str).collect();
    assert_eq!(members.join(" "), "data datacontenttype family id sequence source specversion type");
    let attributes: BTreeSet<_> = message.message_attributes().unwrap().keys().map(String::as_str).collect();
    assert_eq!(attributes, BTreeSet::from(["family", "id", "source", "type"]));
    let group = message.attributes().unwrap().get(&MessageSystemAttributeName::MessageGroupId);
    assert_eq!(group.map(String::as_str), Some("default:a"), "the group is no attribute");
    assert_eq!(by_family.take(1, DEADLINE).len(), 1);
    assert_eq!(by_provider.depth().total(), 0, "no message has a provider to filter by");
    bridge.stop();
}

/// A signed delivery with any text in it.
fn delivery_with(text: &str, key: &str) -> Delivery {
    let body = format!(r#"{{"type":"call.created","call_cid":"{key}","text":"{text}"}}"#).into_bytes();
    let request = request(STREAM_PATH, &[("x-signature", &signing::stream(&body))], &body);
    Delivery { id: signing::digest_id(&body), key: key.into(), body, request }
}

#[test]
fn what_sns_cannot_carry_becomes_a_dead_letter_with_the_reason_and_holds_nobody_up() {
    let _turn = turns::in_company();
    let Some(out) = Out::new("messages that SNS cannot carry", "refused") else { return };
    let bridge = out.home.start();
    let (ledger, mut client) = (Ledger::default(), bridge.client());
    let key = "default:a";
    Delivery::new("call.created", key, 1, 0).hand_over(&mut client, &ledger);
    Delivery::new("call.created", key, 2, 300_000).hand_over(&mut client, &Ledger::default());
    delivery_with("\u{ffff}", key).hand_over(&mut client, &Ledger::default());
    // The same as an escape, and with every other kind of character, can be sent.
    delivery_with(r"\uffff\u0000\u001f tab: \t, ü, 😀, ￼", key).hand_over(&mut client, &ledger);
    for reason in ["too_large", "xml_illegal"] {
        let labels = ["sink=\"billing\"", &format!("reason=\"{reason}\"")];
        await_until("a dead letter with the reason", DEADLINE, || {
            (bridge.metric("fanbridge_dead_letters_total", &labels) >= 1.0).then_some(())
        });
    }
    let arrivals = out.drained(&ledger);
    assert_eq!(bridge.metric("fanbridge_dead_letters_total", &["sink=\"billing\""]), 2.0, "and no other");
    bridge.stop();
    ledger.judge(&arrivals).assert_kept(0, 1);
}

#[test]
fn events_for_a_missing_topic_are_kept_and_go_out_when_topics_apply_has_made_it() {
    let _turn = turns::in_company();
    let Some(out) = Out::new("a missing SNS topic", "missing.fifo") else { return };
    wait(out.aws.sns.delete_topic().topic_arn(&out.topic.arn).send()).unwrap();
    let bridge = out.home.start();
    let load = Load::start(out.home.http, Shape { pause: Duration::from_millis(5), ..SHAPE });
    let trouble = await_degraded(&bridge);
    assert!(trouble.starts_with("unknown_topic") && trouble.contains("fanbridge topics apply"), "{trouble}");
    await_acknowledged(&load, 200);

    let plan = out.home.try_verb(&["topics", "plan", "--format", "ndjson"]);
    assert_eq!(plan.status.code(), Some(1), "{plan:?}");
    let topic: serde_json::Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert_eq!(
        (&topic["topic"], &topic["state"], &topic["kind"]),
        (&out.topic.arn.clone().into(), &"missing".into(), &"fifo".into())
    );
    let with = ["--attribute", "DisplayName=Billing", "--tag", "team=billing"];
    let applied = out.home.run_verb(&[&["topics", "apply", "--format", "ndjson"], &with[..]].concat());
    let topic: serde_json::Value = serde_json::from_str(&applied).unwrap();
    assert_eq!(topic["state"], "created");
    let made = wait(out.aws.sns.get_topic_attributes().topic_arn(&out.topic.arn).send()).unwrap();
    let attributes = made.attributes().unwrap();
    assert_eq!((&*attributes["DisplayName"], &*attributes["FifoTopic"]), ("Billing", "true"));
    let tags = wait(out.aws.sns.list_tags_for_resource().resource_arn(&out.topic.arn).send()).unwrap();
    assert_eq!(
        tags.tags().iter().map(|tag| (tag.key(), tag.value())).collect::<Vec<_>>(),
        [("team", "billing")]
    );
    out.home.run_verb(&["topics", "plan"]);
    out.home.run_verb(&["topics", "apply"]);

    let (ledger, _) = load.finish();
    let arrivals = out.drained(&ledger);
    assert_eq!(bridge.metric("fanbridge_dead_letters_total", &[]), 0.0);
    bridge.stop();
    ledger.judge(&arrivals).assert_kept(0, WINDOW);
}

#[test]
fn topics_apply_says_when_the_credentials_belong_to_another_account() {
    let _turn = turns::in_company();
    let Some(out) = Out::new("an SNS topic of another account", "foreign") else { return };
    let name = out.topic.arn.rsplit(':').next().unwrap();
    let theirs = format!("arn:aws:sns:{REGION}:222222222222:{name}");
    out.configure(&theirs, "");
    let applied = out.home.try_verb(&["topics", "apply"]);
    assert_eq!(applied.status.code(), Some(1), "{applied:?}");
    let said = String::from_utf8(applied.stderr).unwrap();
    assert!(said.contains(&out.topic.arn) && said.contains("use credentials of the account"), "{said}");
}

#[test]
fn a_bridge_without_credentials_says_what_to_do_and_keeps_everything_until_it_has_some() {
    let _turn = turns::in_company();
    let Some(out) = Out::new("a bridge without AWS credentials", "credentials") else { return };
    let without = ["env", "-u", "AWS_ACCESS_KEY_ID", "-u", "AWS_SECRET_ACCESS_KEY"];
    let bridge = out.home.start_under(&without);
    let idle = await_degraded(&bridge);
    assert!(idle.contains("no AWS credentials") && idle.contains("AWS_ACCESS_KEY_ID"), "{idle}");
    let ready = bridge.admin().get("/readyz").unwrap();
    assert!(ready.status == 200 && ready.text().contains("no AWS credentials"), "{}", ready.text());
    let load = Load::start(out.home.http, Shape { pause: Duration::from_millis(5), ..SHAPE });
    await_acknowledged(&load, 200);
    let trouble = await_degraded(&bridge);
    assert!(trouble.contains("no AWS credentials"), "{trouble}");
    let (ledger, _) = load.finish();
    assert_eq!(out.calls(), 0, "nothing can be signed");
    assert_eq!(bridge.metric("fanbridge_dead_letters_total", &[]), 0.0);
    bridge.stop();
    let bridge = out.home.start();
    let arrivals = out.drained(&ledger);
    let ready = bridge.admin().get("/readyz").unwrap();
    assert_eq!(ready.text(), "ok\n");
    bridge.stop();
    ledger.judge(&arrivals).assert_kept(0, WINDOW);
}
