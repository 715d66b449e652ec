//! What the process itself shows: its system calls hold no connection that a refused message could
//! have caused.

use std::fs;
use std::time::Duration;

use crate::forgeries::{no_envelopes, refused_unasked};
use crate::message::Message;
use crate::support::{await_until, inject, turns};
use crate::world::World;

const BODY: &str = r#"{"type":"call.created","call_cid":"default:a"}"#;

/// The calls that begin a conversation with somebody: connections, and datagrams to a resolver.
fn begun(trace: &str) -> Vec<&str> {
    let calls = ["connect(", "sendto(", "sendmsg(", "sendmmsg("];
    let outbound = |line: &&str| calls.iter().any(|call| line.contains(call)) && line.contains("AF_INET");
    trace.lines().filter(outbound).collect()
}

#[test]
fn no_refused_message_causes_a_connection_or_a_look_up() {
    let _turn = turns::in_company();
    if !inject::can_trace("outbound connections") {
        return;
    }
    let world = World::start_with(|setting, home| {
        let calls = ["-e", "trace=connect,sendto,sendmsg,sendmmsg"];
        setting.wrapper = inject::trace(&home.path("trace"), &calls);
    });
    let read = || fs::read_to_string(world.home.path("trace")).unwrap_or_default();
    for (body, reason) in refused_unasked() {
        world.assert_refused(0, &body, reason);
    }
    for body in no_envelopes() {
        world.assert_unauthenticated(&body);
    }
    assert_eq!(begun(&read()), Vec::<&str>::new());

    // The trace would show one: a genuine message needs a certificate.
    world.assert_taken(0, &Message::notification(BODY).signed(), "accepted");
    let port = format!("htons({})", world.double.address.port());
    await_until("the fetch is in the trace", Duration::from_secs(10), || {
        let trace = read();
        let begun = begun(&trace);
        (begun.len() == 1 && begun[0].contains(&port)).then_some(())
    });
}
