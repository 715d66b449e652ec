//! What the doctor finds where an event or a delivery cannot be asked about.

use std::fs;

use super::stage::{LARGE, SMALL_BODIES, SMALL_SPOOL, call, configure, files, nobody};
use super::{Made, Row};
use crate::support::bridge::Home;
use crate::support::inject::{self, FileFault};

pub const ROWS: &[Row] = &[
    Row {
        name: "a running bridge whose spool is full",
        situation: "bridge.degraded",
        reason: "",
        make: |_| {
            let home = Home::new();
            configure(&home, SMALL_SPOOL, SMALL_BODIES, &[("lake", nobody())]);
            let bridge = home.start();
            let mut client = bridge.client();
            let is_taken = |number| call(number, LARGE).send(&mut client).expect("an answer").is_success();
            assert!(!(0..20_000).all(is_taken), "there is no room in the end");
            Made::doctor(home, "bridge.degraded", bridge)
        },
        cause: "it takes no delivery: the spool cannot store: spool_full",
        fix: "mend the sink that is furthest behind, which `fanbridge top` shows; or raise `spool.bytes_max`",
    },
    Row {
        name: "a running bridge whose disk does not answer",
        situation: "bridge.degraded",
        reason: "",
        make: |what| {
            if !inject::can_attach(what) {
                return None;
            }
            let home = Home::new();
            configure(&home, "", "limits: { ack_timeout: 1s }\n", &[("lake", files("lake"))]);
            let bridge = home.start();
            assert!(call(1, 0).send(&mut bridge.client()).expect("an answer").is_success());
            let segment = home.segments().pop().unwrap();
            let fault = FileFault::begin(bridge.pid(), &segment, "fdatasync:delay_enter=30000000");
            assert_eq!(call(2, 0).send(&mut bridge.client()).expect("an answer").status, 503);
            Made::doctor(home, "bridge.degraded", (fault, bridge))
        },
        cause: "it takes no delivery: the disk under the spool has not answered for ",
        fix: "look at the disk of `spool.dir`",
    },
    Row {
        name: "a secret whose file has a second line",
        situation: "config.check",
        reason: "",
        make: |_| {
            let home = Home::new();
            fs::write(home.path("lines"), "a-secret-of-these-situations\nand-another-line\n").unwrap();
            let source = "  lines: { provider: stream, app: lines, secrets: [file:lines] }\n";
            configure(&home, "", source, &[("lake", files("lake"))]);
            Made::doctor(home, "config.check", ())
        },
        cause: "suspicious secret: lines contains more than one line, which counts as part of the secret",
        fix: "`fanbridge check` shows each with its line and what was probably meant",
    },
];
