//! Credentials of a role, from a metadata service that hangs, and later hands out some that expire.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::inlet::{DEADLINE, Inlet, await_readiness, events, texts};
use crate::support::await_until;
use crate::support::aws::{Aws, messages};
use crate::support::proxy::call::Answer;
use crate::support::proxy::{ANY, Fault, Proxy};

/// Where the metadata service has a session's token, the role's name, and the role's credentials.
const TOKEN: &str = "/latest/api/token";
const NAMES: [&str; 2] =
    ["/latest/meta-data/iam/security-credentials-extended/", "/latest/meta-data/iam/security-credentials/"];

fn credentials(valid: Duration) -> Fault {
    let text = |at: SystemTime| OffsetDateTime::from(at).format(&Rfc3339).expect("a time");
    let now = SystemTime::now();
    Fault::Answer(Answer::new(
        200,
        serde_json::json!({
            "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": text(now), "Expiration": text(now + valid),
            "AccessKeyId": "test", "SecretAccessKey": "test", "Token": "session", "AccountId": "000000000000",
        })
        .to_string(),
    ))
}

#[test]
fn a_metadata_service_that_hangs_is_told_and_what_it_hands_out_later_is_renewed_in_time() {
    let Some(aws) = Aws::connect("a metadata service that hangs") else { return };
    let queue = aws.queue("role", &[]);
    let inlet = Inlet::new(aws.endpoint(), &queue.url, "", "");
    let metadata = Proxy::before("http://127.0.0.1:9");
    metadata.always(ANY, Fault::HoldCall(Duration::from_secs(3600)));
    let endpoint = format!("AWS_EC2_METADATA_SERVICE_ENDPOINT={}", metadata.endpoint());
    let mut bridge = inlet.home.spawn_under(&[
        "env",
        "-u",
        "AWS_ACCESS_KEY_ID",
        "-u",
        "AWS_SECRET_ACCESS_KEY",
        "-u",
        "AWS_PROFILE",
        "AWS_EC2_METADATA_DISABLED=false",
        &endpoint,
    ]);
    await_until("the admin listener answers", DEADLINE, || bridge.admin().get("/livez").ok());
    await_readiness(&bridge, 503, &["source queue", "credentials", "give the machine a role"]);
    let load = events("role", 20);
    let answer = load[0].send(&mut bridge.client()).unwrap();
    assert!(answer.is_success(), "webhooks are taken all the same: {}", answer.text());
    let asked = metadata.count(ANY);
    assert!((1..=20).contains(&asked), "asked {asked} times by then");

    metadata.heal();
    metadata.always(
        TOKEN,
        Fault::Answer(Answer::new(200, "session").with("x-aws-ec2-metadata-token-ttl-seconds", "21600")),
    );
    for names in NAMES {
        metadata.always(names, Fault::Answer(Answer::new(200, "reader")));
        let role = format!("{names}reader");
        metadata.times(1, &role, credentials(Duration::from_secs(20)));
        metadata.always(&role, credentials(Duration::from_secs(6 * 3600)));
    }
    bridge.await_ready();
    let handed_out = || NAMES.iter().map(|names| metadata.count(&format!("{names}reader"))).sum::<usize>();
    await_until("they are renewed", DEADLINE, || (handed_out() >= 2).then_some(()));
    queue.send(&messages(texts(&load)));
    inlet.await_exactly(&load, &queue, DEADLINE);
    assert_eq!(handed_out(), 2, "good ones are kept");
    bridge.stop();
}
