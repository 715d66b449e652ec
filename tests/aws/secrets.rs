//! Secrets that AWS keeps: read at the start, followed while the bridge runs, and never shown.

use std::time::Duration;

use crate::support::aws::secret::Secret;
use crate::support::aws::{Aws, REGION};
use crate::support::bridge::{Bridge, Home};
use crate::support::proxy::call::Refusal;
use crate::support::proxy::{Fault, Proxy};
use crate::support::{await_until, signing};

const FIRST: &str = "canary-of-the-first-secret-in-aws-0001";
const SECOND: &str = "canary-of-the-second-secret-in-aws-0002";
const THIRD: &str = "canary-of-the-third-secret-in-aws-0003";
const TOKEN: &str = "canary-of-the-admin-token-in-aws";
const DEADLINE: Duration = Duration::from_secs(30);

/// Configures a webhook with the secret behind this reference.
fn configure(home: &Home, endpoint: &str, secrets: &str, admin: &str) {
    home.configure(
        "",
        &format!(
            "\x20 kept: {{ provider: stream, app: kept, secrets: [{secrets}] }}\n\
             aws: {{ region: {REGION}, endpoint: \"{endpoint}\", read_secrets_every_seconds: 1 }}\n\
             sinks:\n\x20 local: {{ file: {{ dir: {} }} }}\n",
            home.path("topics").display()
        ),
    );
    if !admin.is_empty() {
        let file = home.path("fanbridge.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        let listen = format!("listen: 127.0.0.1:{} }}", home.admin);
        let with = format!("listen: 127.0.0.1:{}, token: \"{admin}\" }}", home.admin);
        std::fs::write(file, text.replace(&listen, &with)).unwrap();
    }
}

fn status(bridge: &Bridge, secret: &str) -> u16 {
    let body = br#"{"type":"call.created","call_cid":"default:a","created_at":"2026-11-21T06:40:00Z"}"#;
    let signature = signing::stream_with(secret, body);
    bridge.client().post("/in/kept", &[("x-signature", &signature)], body).expect("an answer").status
}

fn await_taken(bridge: &Bridge, secret: &str) {
    await_until("the new secret is taken", DEADLINE, || {
        std::thread::sleep(Duration::from_millis(100));
        (status(bridge, secret) == 200).then_some(())
    });
}

#[test]
fn secrets_are_read_from_both_services_by_name_and_arn_and_out_of_json() {
    let Some(aws) = Aws::connect("secrets in AWS") else { return };
    let endpoint = aws.endpoint();
    let plain = Secret::create(endpoint, "fanbridge/plain", FIRST);
    let json = Secret::create(endpoint, "fanbridge/json", &format!(r#"{{"user":"x","key":"{SECOND}"}}"#));
    let parameter = Secret::parameter(endpoint, "fanbridge/parameter", &format!("{THIRD}\n"));
    let token = Secret::create(endpoint, "fanbridge/token", TOKEN);
    let home = Home::new();
    let arn = plain.arn();
    let secrets = format!("\"aws-sm:{arn}\", \"aws-sm:{}#key\", \"aws-ssm:{}\"", json.name, parameter.name);
    configure(&home, endpoint, &secrets, &format!("aws-sm:{}", token.name));
    let bridge = home.start_under(&["env", "RUST_LOG=trace", "FANBRIDGE_LOG=trace"]);
    assert_eq!([FIRST, SECOND, THIRD, TOKEN].map(|secret| status(&bridge, secret)), [200, 200, 200, 401]);
    assert_eq!(bridge.admin().get("/metrics").unwrap().status, 401, "the token is asked for");
    assert!(home.run_verb(&["config", "show"]).contains(&format!("aws-sm:{}", token.name)));
    let types = home.run_verb(&["types", "--seen", "--format", "json"]);
    assert!(types.contains("call.created"), "a verb shows the token that AWS keeps: {types}");
    let doctor = home.try_verb(&["doctor", "--only", "secret.strength"]);
    let told = String::from_utf8_lossy(&doctor.stdout);
    assert!(told.contains("5 secrets"), "{told}");
    // The next read is in the log as well.
    std::thread::sleep(Duration::from_millis(1500));
    let log = bridge.log();
    for canary in [FIRST, SECOND, THIRD, TOKEN] {
        assert!(!log.contains(canary) && !told.contains(canary), "a secret is shown");
    }
    bridge.stop();
}

#[test]
fn a_rotation_in_aws_is_taken_and_an_outage_of_aws_changes_nothing() {
    let Some(aws) = Aws::connect("a rotation in AWS") else { return };
    let proxy = Proxy::before(aws.endpoint());
    let secret = Secret::create(aws.endpoint(), "fanbridge/rotated", FIRST);
    let home = Home::new();
    configure(&home, &proxy.endpoint(), &format!("aws-sm:{}", secret.name), "");
    let bridge = home.start();
    assert_eq!([FIRST, SECOND].map(|secret| status(&bridge, secret)), [200, 401]);
    secret.replace(SECOND);
    await_taken(&bridge, SECOND);
    assert_eq!([FIRST, SECOND, THIRD].map(|secret| status(&bridge, secret)), [200, 200, 401]);
    let label = format!("secret=\"aws-sm:{} (previous)\"", secret.name);
    assert!(bridge.metric("fanbridge_signature_secret_used_total", &[&label]) >= 1.0);

    let failures = || bridge.metric("fanbridge_secret_reload_failures_total", &["source=\"kept\""]);
    assert_eq!(failures(), 0.0);
    proxy.always("GetSecretValue", Fault::CutBefore);
    await_until("the outage is counted", DEADLINE, || (failures() >= 1.0).then_some(()));
    secret.replace(THIRD);
    assert_eq!([FIRST, SECOND, THIRD].map(|secret| status(&bridge, secret)), [200, 200, 401]);
    bridge.assert_logs("Secrets Manager in eu-west-1 does not answer");
    proxy.heal();
    proxy.always("GetSecretValue", Fault::Refuse(Refusal::DENIED));
    bridge.assert_logs("allow the role `secretsmanager:GetSecretValue` on it");
    proxy.heal();
    await_taken(&bridge, THIRD);
    bridge.assert_logs("the AWS entry of this secret can be used again");
    secret.replace("too-short");
    bridge.assert_logs("the secret has 9 bytes");
    assert_eq!([SECOND, THIRD].map(|secret| status(&bridge, secret)), [200, 200]);
    let log = bridge.log();
    assert!(
        ![FIRST, SECOND, THIRD, "too-short"].iter().any(|secret| log.contains(secret)),
        "a secret is shown"
    );
    bridge.stop();
}

#[test]
fn a_start_without_its_secret_says_whether_to_try_again() {
    let Some(aws) = Aws::connect("secrets that AWS does not show") else { return };
    let home = Home::new();
    configure(&home, aws.endpoint(), "aws-sm:fanbridge/nobody-made-this", "");
    let run = home.try_verb(&["run"]);
    let told = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(78), "{told}");
    assert!(told.contains("has no such secret") && told.contains("fanbridge.yaml:7"), "{told}");

    let away = "http://127.0.0.1:9";
    configure(&home, away, "aws-sm:a, aws-ssm:/b", "aws-sm:token");
    let run = home.try_verb(&["run"]);
    let told = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(75), "{told}");
    assert!(told.contains("Parameter Store in eu-west-1 does not answer"), "{told}");
    let check = home.run_verb(&["check"]);
    assert!(check.contains("not read here: 3 secrets in AWS"), "a check asks nobody: {check}");
}
