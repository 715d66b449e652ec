//! A cluster with IAM access control, as Amazon MSK has it: a real broker, behind a gate that lets in who
//! shows a token that was signed with credentials that still count.

mod gate;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value as Json;

use self::gate::Gate;
use crate::support::bridge::{Home, free_port};
use crate::support::load::Delivery;
use crate::support::oracle::Ledger;
use crate::support::servers::Broker;
use crate::support::{await_until, readers, turns};

const REGION: &str = "eu-west-1";
const TOPIC: &str = "of-iam";
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the credentials count that the profile's program hands out.
const CREDENTIALS_LAST: u64 = 12;

/// Hands out another access key each time, with its own secret and end, until it is told that there is none.
fn credentials_program(home: &Home) -> String {
    let (program, dir) = (home.path("credentials"), home.path("keys"));
    fs::create_dir(&dir).unwrap();
    let text = format!(
        "#!/bin/sh\nset -e\ncd {}\n[ ! -e none ] || exit 1\n\
         until number=$((${{number:-0}} + 1)) && mkdir AKIA$number 2>/dev/null; do :; done\n\
         ends=$(($(date +%s) + {CREDENTIALS_LAST}))\necho $ends > AKIA$number/ends\n\
         echo '{{\"Version\": 1, \"AccessKeyId\": \"AKIA'$number'\", \"SecretAccessKey\": \
         \"canary-secret-of-AKIA'$number'\", \"SessionToken\": \"a+session/token=\", \"Expiration\": \"'\
         $(date -u -d @$ends +%Y-%m-%dT%H:%M:%SZ)'\"}}'\n",
        dir.display()
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let profile = format!("[profile msk]\ncredential_process = {}\n", program.display());
    fs::write(home.path("profiles"), profile).unwrap();
    format!("AWS_CONFIG_FILE={}", home.path("profiles").display())
}

#[test]
fn a_sink_on_msk_signs_its_tokens_and_renews_them_and_so_do_the_verbs() {
    let _turn = turns::in_company();
    let [shown, hidden] = [free_port(), free_port()];
    let listeners = format!("IAM:PLAINTEXT:{hidden}:{shown}");
    let settings = vec![("KAFKA_EXTRA_LISTENERS", listeners)];
    let Some(broker) = Broker::start_with("a cluster with IAM access control", settings) else { return };
    let home = Home::new();
    let profile = credentials_program(&home);
    let under = ["env", "-u", "AWS_ACCESS_KEY_ID", "-u", "AWS_SECRET_ACCESS_KEY", &profile];
    let keys = home.path("keys");
    let gate = Gate::open(
        shown,
        hidden,
        REGION,
        Arc::new(move |key| {
            let ends = fs::read_to_string(keys.join(key).join("ends")).ok()?.trim().parse().ok()?;
            Some((format!("canary-secret-of-{key}"), UNIX_EPOCH + Duration::from_secs(ends)))
        }),
    );
    home.configure(
        "",
        &format!(
            "select: [call.created]\naws: {{ profile: msk }}\nsinks:\n  lake: {{ topic: {TOPIC}, kafka: {{ \
             brokers: \"localhost:{}\", sasl: {{ mechanism: AWS_MSK_IAM, region: {REGION} }} }} }}\n",
            gate.port
        ),
    );
    let verb = |arguments: &[&str]| {
        let output = home.try_verb_under(&under, arguments);
        let [out, err] =
            [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
        (output.status.code(), out, err)
    };

    let (code, _, said) = verb(&["topics", "plan"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("missing topics: 1"), "{said}");
    let apply = ["topics", "apply", "--partitions", "3", "--property"];
    let (code, _, said) = verb(&[&apply[..], &["min.insync.replicas=many"]].concat());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("does not accept one of the `--property` values"), "{said}");
    let (code, _, said) = verb(&[&apply[..], &["min.insync.replicas=2"]].concat());
    assert_eq!(code, Some(0), "{said}");
    let (code, plan, said) = verb(&["topics", "plan", "--format", "json"]);
    assert_eq!(code, Some(0), "{said}");
    let plan: Json = serde_json::from_str(&plan).unwrap();
    assert_eq!((plan[0]["partitions"].as_u64(), plan[0]["min_insync_replicas"].as_u64()), (Some(3), Some(2)));
    broker.delete_topic(TOPIC);
    assert_eq!(verb(&["topics", "apply", "--partitions", "3"]).0, Some(0));
    let (_, findings, said) = verb(&["doctor", "--only", "kafka.reach", "--format", "json"]);
    assert!(findings.contains("\"ok\"") && !findings.contains("\"failure\""), "{findings} {said}");

    let bridge = home.start_under(&under);
    let (ledger, mut client) = (Ledger::default(), bridge.client());
    let keys_seen = || {
        let mut keys = gate.let_in.lock().unwrap().clone();
        keys.sort();
        keys.dedup();
        keys.len()
    };
    let before = keys_seen();
    let mut number = 0;
    await_until("the token was renewed three times", PATIENCE, || {
        Delivery::new("call.created", "default:iam", number, 0).hand_over(&mut client, &ledger);
        number += 1;
        std::thread::sleep(Duration::from_millis(50));
        (keys_seen() >= before + 3).then_some(())
    });
    assert_eq!(*gate.refused.lock().unwrap(), Vec::<String>::new(), "a token that is over was shown");
    assert_eq!(bridge.degraded_because(), None);

    // The program has no credentials for a while: the sink says so, and goes on once there are some.
    fs::write(home.path("keys/none"), "").unwrap();
    let silent = SystemTime::now();
    await_until("the sink is degraded", PATIENCE, || {
        Delivery::new("call.created", "default:iam", number, 0).hand_over(&mut client, &ledger);
        number += 1;
        std::thread::sleep(Duration::from_millis(200));
        bridge.degraded_because().filter(|because| because.contains("no AWS credentials"))
    });
    let bridged = silent.elapsed().unwrap();
    assert!(bridged > Duration::from_secs(2), "the last token serves until it ends: {bridged:?}");
    fs::remove_file(home.path("keys/none")).unwrap();
    let read =
        || readers::kafka(&broker.address, &[TOPIC]).iter().map(readers::KafkaRecord::arrival).collect();
    ledger.judge(&readers::drained(&ledger, PATIENCE, read)).assert_kept(0, 64);
    assert!(!bridge.log().contains("canary-secret"), "a secret is in the log");
    bridge.stop();
}
