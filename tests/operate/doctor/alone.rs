//! What is about time, and so runs with nothing beside it.

use std::fs;
use std::net::TcpListener;

use super::Diagnosis;
use super::machine::words;
use crate::support::bridge::Home;
use crate::support::inject;
use crate::support::{servers, turns};

#[test]
fn doctor_ends_within_its_time_when_everything_hangs() {
    let _turn = turns::alone();
    // Whoever connects to these is taken into the system's queue and never answered.
    let [admin, other] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let silent = other.local_addr().unwrap();
    let home = Home::new();
    fs::write(home.path("redis-url"), format!("redis://{silent}")).unwrap();
    let text = format!(
        "\x20 queue: {{ provider: stream, app: queue, sqs: {{ queue_url: \"http://{silent}/111111111111/q\" }} }}\n\
         aws: {{ endpoint: \"http://{silent}\", region: us-east-1 }}\n\
         sinks:\n  lake: {{ kafka: {{ brokers: \"{silent}\" }} }}\n  \
         tls: {{ kafka: {{ brokers: \"{silent}\", tls: {{}} }} }}\n"
    );
    let redis = home.path("redis-url").display().to_string();
    home.configure(&format!("duplicates: {{ redis: \"file:{redis}\" }}"), &text);
    let text = fs::read_to_string(home.path("fanbridge.yaml")).unwrap();
    let (configured, hung) = (format!("127.0.0.1:{}", home.admin), admin.local_addr().unwrap().to_string());
    fs::write(home.path("fanbridge.yaml"), text.replace(&configured, &hung)).unwrap();
    let wrapper = if inject::can_trace("a disk that hangs") {
        inject::trace(&home.path("trace"), &["-e", "inject=fdatasync:delay_enter=60000000"])
    } else {
        Vec::new()
    };
    let said = Diagnosis::under(&words(&wrapper), &home, &[]);
    assert!(said.seconds < 15.0, "it took {} s", said.seconds);
    said.fails("kafka.reach", &["lake"]);
    said.says("kafka.topics", "unknown", &["no broker answers"]);
    said.fails("redis", &[]);
    said.fails("sqs.queue", &[]);
    said.says("tls.chain", "unknown", &["tls"]);
    said.says("bridge.degraded", "unknown", &["has not answered"]);
    if !wrapper.is_empty() {
        said.fails("disk.fdatasync", &["has not answered for 10 s"]);
    } else {
        servers::tell_skipped("a disk that hangs", "strace is missing");
    }
}
