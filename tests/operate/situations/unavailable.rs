//! Deliveries that are answered 503, and those of which nobody waited for the answer.

use std::fs;
use std::time::Duration;

use super::stage::{LARGE, SMALL_BODIES, SMALL_SPOOL, call, configure, files, nobody, post, request};
use super::{Made, Row};
use crate::support::await_until;
use crate::support::bridge::{Bridge, Home};
use crate::support::client::Answer;
use crate::support::inject::{self, Ballast, FileFault};

const WITHIN: Duration = Duration::from_secs(30);

/// A home whose deliveries wait for this sink.
fn awaiting(lake: String) -> (Home, Bridge) {
    let home = Home::new();
    configure(&home, "", "ack: { after: [lake], within: 4s }\n", &[("lake", lake)]);
    let bridge = home.start();
    (home, bridge)
}

/// Asked about an answer by its number.
fn of(home: Home, answer: &Answer, alive: impl std::any::Any) -> Option<Made> {
    assert_eq!(answer.status, 503, "{}", answer.text());
    Made::explain(home, &[&request(answer)], alive)
}

/// Sends events until one is answered 503; that answer.
fn until_refused(bridge: &Bridge, bytes: usize) -> Answer {
    let mut client = bridge.client();
    let mut answers = (0..20_000).map(|number| call(number, bytes).send(&mut client).expect("an answer"));
    answers.find(|answer| !answer.is_success()).expect("there is no room in the end")
}

pub const ROWS: &[Row] = &[
    Row {
        name: "a spool that a stuck sink has filled",
        situation: "refused",
        reason: "spool_full",
        make: |_| {
            let home = Home::new();
            configure(&home, SMALL_SPOOL, SMALL_BODIES, &[("lake", nobody())]);
            let bridge = home.start();
            let answer = until_refused(&bridge, LARGE);
            of(home, &answer, bridge)?.with(&[" events behind"])
        },
        cause: "refused with 503: spool_full; lake is ",
        fix: "mend lake; or raise `spool.bytes_max`",
    },
    Row {
        name: "a disk with less room than is to stay free",
        situation: "refused",
        reason: "disk_low",
        make: |_| {
            let home = Home::new();
            configure(&home, "", "", &[("lake", files("lake"))]);
            let path = home.path("fanbridge.yaml");
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, text.replace("free_bytes_min: 0", "free_bytes_min: 1000 TiB")).unwrap();
            let bridge = home.spawn_under(&[]);
            let answer = await_until("the bridge answers that it has no room", WITHIN, || {
                let event = call(1, 0);
                let answer = event.send(&mut bridge.client()).ok()?;
                answer.text().contains("urn:fanbridge:request:").then_some(answer)
            });
            of(home, &answer, bridge)
        },
        cause: "refused with 503: disk_low",
        fix: "free space on the disk of `spool.dir`",
    },
    Row {
        name: "a disk that is full",
        situation: "refused",
        reason: "disk_full",
        make: |what| {
            if !inject::can_mount(what) {
                return None;
            }
            let home = Home::new();
            let limits = "limits: { body_bytes_max: 64 KiB, inflated_bytes_max: 64 KiB }\n";
            configure(&home, SMALL_SPOOL, limits, &[("lake", nobody())]);
            let wrapper = inject::tiny_disk(&home.path("spool"), 32 * 1024);
            let bridge = home.start_under(&wrapper.iter().map(String::as_str).collect::<Vec<_>>());
            let ballast = Ballast::fill(&bridge.path_inside(&home.path("spool")));
            let answer = until_refused(&bridge, LARGE);
            of(home, &answer, (ballast, bridge))
        },
        cause: "refused with 503: disk_full",
        fix: "free space on the disk of `spool.dir`",
    },
    Row {
        name: "a disk that does not answer in time",
        situation: "refused",
        reason: "ack_timeout",
        make: |what| {
            if !inject::can_attach(what) {
                return None;
            }
            let home = Home::new();
            configure(&home, "", "limits: { ack_timeout: 1s }\n", &[("lake", files("lake"))]);
            let bridge = home.start();
            assert!(call(1, 0).send(&mut bridge.client()).expect("an answer").is_success());
            let segment = home.segments().pop().unwrap();
            let fault = FileFault::begin(bridge.pid(), &segment, "fdatasync:delay_enter=8000000");
            let answer = call(2, 0).send(&mut bridge.client()).expect("an answer");
            of(home, &answer, (fault, bridge))
        },
        cause: "refused with 503: ack_timeout",
        fix: "look at the disk of `spool.dir`",
    },
    Row {
        name: "a delivery whose sink does not accept it in time",
        situation: "refused",
        reason: "ack_late",
        make: |_| {
            let (home, bridge) = awaiting(nobody());
            let answer = call(1, 0).send(&mut bridge.client()).expect("an answer");
            of(home, &answer, bridge)
        },
        cause: "refused with 503: ack_late",
        fix: "mend the sink that `ack.after` of the source names",
    },
    Row {
        name: "a delivery whose sink rejects it",
        situation: "refused",
        reason: "ack_rejected",
        make: |_| {
            let lake = nobody().replace(" }", ", properties: { message.max.bytes: 1000 } }");
            let (home, bridge) = awaiting(lake);
            let answer = call(1, 4000).send(&mut bridge.client()).expect("an answer");
            of(home, &answer, bridge)
        },
        cause: "refused with 503: ack_rejected",
        fix: "mend the sink that `ack.after` of the source names",
    },
    Row {
        name: "a delivery that is no event, and whose answer waits for a sink",
        situation: "refused",
        reason: "ack_quarantined",
        make: |_| {
            let (home, bridge) = awaiting(files("lake"));
            let answer = post(&bridge, br#"{"type":"call.created","type":"call.ended"}"#);
            of(home, &answer, bridge)
        },
        cause: "refused with 503: ack_quarantined: it cannot become an event",
        fix: "tell the provider; `fanbridge dead list` has it",
    },
];
