//! Topics: the verb makes them, as it is told, and nothing else does; and a key's place in one.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::support::bridge::Home;
use crate::support::load::Delivery;
use crate::support::oracle::Ledger;
use crate::support::readers::{self, KafkaRecord};
use crate::support::servers::{self, Broker};
use crate::support::{await_until, turns};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_broker_that_would_create_a_missing_topic_is_not_asked_to() {
    let _turn = turns::in_company();
    let home = Home::new();
    let properties = home.path("broker.properties");
    fs::write(&properties, "auto.create.topics.enable=true\n").unwrap();
    let settings = vec![("KAFKA_EXTRA_PROPERTIES", properties.to_str().unwrap().to_owned())];
    let Some(broker) = Broker::start_with("a broker that creates topics", settings) else { return };
    configure(&home, &broker.address, "missing");
    let bridge = home.start();
    let (ledger, mut client) = (Ledger::default(), bridge.client());
    (0..20).for_each(|number| {
        Delivery::new("call.created", "default:waits", number, 0).hand_over(&mut client, &ledger);
    });
    let trouble = await_until("the sink is degraded", PATIENCE, || bridge.degraded_because());
    assert!(trouble.starts_with("unknown_topic") && trouble.contains("missing"), "{trouble}");
    assert!(servers::topics(&broker.address).is_empty(), "{:?}", servers::topics(&broker.address));

    broker.create_topic("missing", &[]);
    let arrivals = readers::drained(&ledger, PATIENCE, || {
        let records = readers::kafka_topic(&broker.address, "missing", 5);
        records.unwrap_or_default().iter().map(KafkaRecord::arrival).collect()
    });
    bridge.stop();
    ledger.judge(&arrivals).assert_kept(0, 0);
}

#[test]
fn topics_apply_makes_what_is_missing_as_it_is_told_and_leaves_what_is_there() {
    let _turn = turns::in_company();
    let Some(brokers) = servers::kafka("the shape of new topics") else { return };
    let home = Home::new();
    let topic = servers::own_name("applied");
    configure(&home, &brokers, &topic);
    let apply = |partitions: &str, replication: &str| {
        let told = ["--partitions", partitions, "--replication", replication, "--format", "ndjson"];
        let applied = home.try_verb(&[&["topics", "apply"], &told[..]].concat());
        let line: Value = serde_json::from_slice(&applied.stdout).expect("one topic, one line");
        (applied.status.code(), line)
    };
    // One broker keeps no second replica, so it refuses what it is told, not what it would choose.
    let (code, refused) = apply("5", "2");
    assert_eq!((code, &refused["state"]), (Some(1), &"failed".into()), "{refused}");
    assert_eq!(servers::topics(&brokers).get(&topic), None);

    let (code, made) = apply("5", "1");
    assert_eq!((code, &made["state"]), (Some(0), &"created".into()), "{made}");
    // A topic that was only just made is known to the controller before all its partitions are.
    await_until("the topic has five partitions of one replica", PATIENCE, || {
        (servers::topics(&brokers).get(&topic)? == &[1; 5]).then_some(())
    });

    let (code, found) = apply("7", "2");
    assert_eq!((code, &found["state"]), (Some(0), &"exists".into()), "{found}");
    assert_eq!((&found["partitions"], &found["replication"]), (&5.into(), &1.into()), "{found}");
    assert_eq!(servers::topics(&brokers)[&topic], [1; 5]);
}

#[test]
fn topics_that_one_disk_confirms_are_warned_of_and_properties_are_set_at_creation() {
    let _turn = turns::in_company();
    let Some(brokers) = servers::kafka("the replicas of topics") else { return };
    let home = Home::new();
    let topic = servers::own_name("replicas");
    configure(&home, &brokers, &topic);
    let run = |arguments: &[&str]| {
        let output = home.try_verb(&[&["topics"], arguments, &["--format", "ndjson"]].concat());
        let row: Value = serde_json::from_slice(&output.stdout).expect("one topic, one line");
        (output.status.code(), row, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, refused, said) = run(&["apply", "--property", "min.insync.replica=2"]);
    assert_eq!((code, &refused["state"]), (Some(1), &"failed".into()), "{refused} {said}");
    assert!(said.contains("does not accept one of the `--property` values"), "{said}");
    let (code, created, said) = run(&["apply", "--replication", "1", "--property", "min.insync.replicas=3"]);
    assert_eq!((code, &created["state"]), (Some(0), &"created".into()), "{created} {said}");
    let (plan, said) = await_until("the plan knows the topic", PATIENCE, || {
        let (_, plan, said) = run(&["plan"]);
        (plan["min_insync_replicas"] == 3).then_some((plan, said))
    });
    assert!(plan["warning"].as_str().is_some_and(|warning| warning.contains("one replica")), "{plan}");
    assert!(said.contains(&format!("warning: topic `{topic}`: the topic has one replica")), "{said}");
}

#[test]
fn a_key_lands_in_the_partition_that_a_java_client_would_choose() {
    const PARTITIONS: usize = 7;
    let _turn = turns::in_company();
    let Some(brokers) = servers::kafka("the partitions of keys") else { return };
    let home = Home::new();
    let topic = servers::own_name("partitioned");
    configure(&home, &brokers, &topic);
    home.run_verb(&["topics", "apply", "--partitions", &PARTITIONS.to_string()]);
    let bridge = home.start();
    let (ledger, mut client) = (Ledger::default(), bridge.client());
    // Of every length to the fourth byte, and not of ASCII alone.
    for number in 0..40 {
        let key = format!("default:{}{}", "é".repeat(number % 3), "x".repeat(number));
        Delivery::new("call.created", &key, 1, 0).hand_over(&mut client, &ledger);
    }
    let read = || readers::kafka_topic(&brokers, &topic, 5).unwrap_or_default();
    let arrivals = readers::drained(&ledger, PATIENCE, || read().iter().map(KafkaRecord::arrival).collect());
    ledger.judge(&arrivals).assert_kept(0, 0);
    bridge.stop();
    for record in read() {
        let key = record.key.as_deref().expect("every event here has a key");
        let chosen = (murmur2(key) & 0x7fff_ffff) as usize % PARTITIONS;
        assert_eq!(record.partition, chosen.to_string(), "{:?}", String::from_utf8_lossy(key));
    }
}

/// One sink that publishes `call.created` to one topic.
fn configure(home: &Home, brokers: &str, topic: &str) {
    let lake = format!("{{ kafka: {{ brokers: \"{brokers}\" }}, topic: {topic} }}");
    home.configure("", &format!("select: [call.created]\nsinks: {{ lake: {lake} }}\n"));
}

/// The hash by which Kafka's Java client chooses a partition.
fn murmur2(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let (words, rest) = bytes.as_chunks::<4>();
    let mut hash = 0x9747_b28c ^ bytes.len() as u32;
    for word in words {
        let mixed = u32::from_le_bytes(*word).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ (mixed ^ (mixed >> 24)).wrapping_mul(M);
    }
    if !rest.is_empty() {
        let rest = rest.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
        hash = (hash ^ rest).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// What `org.apache.kafka.common.utils.Utils.murmur2` of Kafka 4 answers.
#[test]
fn the_hash_of_a_key_is_the_one_that_kafka_itself_computes() {
    for (key, hash) in [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ("abc", 479_470_107),
        ("default:one", -395_992_772),
        ("default:anruf-ü", -1_243_942_424),
    ] {
        assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
    }
}
