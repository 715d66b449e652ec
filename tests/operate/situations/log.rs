//! Events whose entries are gone or damaged, and those of sinks that are gone.

use std::fs;

use super::stage::{
    SMALL_BODIES, SMALL_SPOOL, await_pruned, await_settled, call, configure, files, fill, nobody,
};
use super::{Made, Row};
use crate::support::await_until;
use crate::support::bridge::{Bridge, Home};
use crate::support::redis::Redis;

/// How many large events fill a small spool and push the first ones out.
const MORE_THAN_FIT: u64 = 220;
const WITHIN: std::time::Duration = std::time::Duration::from_secs(30);

/// A small spool that the events have filled over, of which this sink takes all; the id of the first.
fn filled_over(lake: String) -> (Home, Bridge, String) {
    let home = Home::new();
    configure(&home, SMALL_SPOOL, SMALL_BODIES, &[("lake", lake)]);
    let bridge = home.start();
    let first = fill(&bridge, MORE_THAN_FIT);
    await_pruned(&home);
    (home, bridge, first)
}

/// A replica that shares its duplicate window, in the home of a bridge with one sink.
fn replica(redis: &Redis) -> Home {
    let home = Home::new();
    fs::write(home.path("redis-url"), redis.url()).unwrap();
    let window = format!("duplicates: {{ redis: \"file:{}\" }}", home.path("redis-url").display());
    configure(&home, &window, "", &[("lake", files("lake"))]);
    home
}

pub const ROWS: &[Row] = &[
    Row {
        name: "an event that was delivered, and whose entry is gone",
        situation: "delivered",
        reason: "",
        make: |_| {
            let (home, bridge, first) = filled_over(files("lake"));
            Made::explain(home, &[&first], bridge)
        },
        cause: "delivered to lake: stream.video.call-lifecycle 00000001.jsonl byte 0",
        fix: "",
    },
    Row {
        name: "an event that is older than the log, after a restart",
        situation: "forgotten",
        reason: "",
        make: |_| {
            let (home, bridge, first) = filled_over(files("lake"));
            bridge.stop();
            let bridge = home.start();
            Made::explain(home, &[&first], bridge)?.with(&["the log goes back to 2"])
        },
        cause: "; it is older, or never came",
        fix: "look in the topic; raise `spool.retain` to keep events for longer",
    },
    Row {
        name: "an event that a full spool gave up before a sink had read it",
        situation: "missed",
        reason: "",
        make: |_| {
            let (home, bridge, first) = filled_over(nobody() + ", on_full: detach_sink");
            Made::explain(home, &[&first], bridge)
        },
        cause: "lake missed it: its entry was gone from the log before the sink had read it",
        fix: "if the spool was full: `on_full: block` for the sink, or more `spool.bytes_max`",
    },
    Row {
        name: "an event whose entry has a flipped bit",
        situation: "damaged",
        reason: "",
        make: |_| {
            let home = Home::new();
            configure(&home, SMALL_SPOOL, SMALL_BODIES, &[("lake", files("lake"))]);
            let bridge = home.start();
            let first = fill(&bridge, 40);
            await_settled(&bridge, "lake");
            bridge.stop();
            let segment = home.segments().remove(0);
            let mut bytes = fs::read(&segment).unwrap();
            bytes[20_000] ^= 4;
            fs::write(segment, bytes).unwrap();
            let bridge = home.start();
            Made::explain(home, &[&first], bridge)
        },
        cause: "its entry in segment 00000000000000000001.log is damaged; lake skipped it",
        fix: "have the provider send it again; look at the disk",
    },
    Row {
        name: "a copy of an event that another replica has",
        situation: "duplicate",
        reason: "",
        make: |what| {
            let redis = Redis::start(what)?;
            let (home, other) = (replica(&redis), replica(&redis));
            let bridges = (home.start(), other.start());
            let event = call(1, 0);
            assert!(event.send(&mut bridges.1.client()).expect("an answer").is_success());
            let label = ["verdict=\"duplicate\""];
            await_until("the copy is known as one", WITHIN, || {
                assert!(event.send(&mut bridges.0.client()).ok()?.is_success());
                (bridges.0.metric("fanbridge_events_total", &label) > 0.0).then_some(())
            });
            Made::explain(home, &[&event.id], (bridges, other, redis))
        },
        cause: "a copy of an event that another replica has",
        fix: "",
    },
    Row {
        name: "a dead letter that was redriven for a sink that is gone",
        situation: "sink_gone",
        reason: "",
        make: |_| {
            let home = Home::new();
            let billing = nobody().replace(" }", ", properties: { message.max.bytes: 1000 } }");
            configure(&home, "", "", &[("lake", files("lake")), ("billing", billing)]);
            let bridge = home.start();
            let large = call(1, 4000);
            assert!(large.send(&mut bridge.client()).expect("an answer").is_success());
            await_until("billing rejects it", WITHIN, || {
                let kept = bridge.metric("fanbridge_dead_letters_kept", &["sink=\"billing\""]);
                (kept > 0.0).then_some(())
            });
            home.run_verb(&["pause", "billing", "--reason", "it goes"]);
            home.run_verb(&["dead", "redrive", "1", "--yes"]);
            bridge.stop();
            configure(&home, "", "", &[("lake", files("lake"))]);
            let bridge = home.start();
            Made::explain(home, &[&large.id], bridge)
        },
        cause: "sink_gone: billing was removed, and it is dead letter 2",
        fix: "configure it again and `fanbridge dead redrive 2`",
    },
];
