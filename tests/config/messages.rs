//! Each kind of mistake, where it is marked and what is said about it.

use fanbridge::config::Severity;
use fanbridge::sink::Output;

use super::{SOURCE, VALID, expect, problems, read};

#[test]
fn a_valid_text_has_no_problems() {
    let loaded = read(VALID).expect("valid");
    assert!(loaded.warnings.problems().is_empty(), "{}", loaded.warnings);
}

#[test]
fn text_that_is_no_yaml_is_marked_where_it_ends_to_be() {
    let report = problems("sources:\n  a: [\n");
    assert_eq!(report.problems().len(), 1);
    assert_eq!(report.problems()[0].title, "unreadable YAML");
}

#[test]
fn unknown_keys_are_marked_with_the_nearest_name() {
    expect("‹spol›: {}\n", "unknown key `spol`", "did you mean `spool`?");
    expect("http: { ‹listn›: x }\n", "unknown key `listn`", "did you mean `listen`?");
    expect("sources:\n  a:\n    ‹provder›: stream\n", "unknown key `provder`", "did you mean `provider`?");
    expect(
        "sinks: { a: { kafka: { tls: { ‹cert›: x } } } }\n",
        "unknown key `cert`",
        "known keys: ca, certificate, key, key_password",
    );
    expect(
        "sources: { a: { ‹kinesis›: { stream: x } } }\n",
        "unknown key `kinesis`",
        "known keys: ack, app, body_bytes_max, custom_types, provider, secrets, sns, sqs",
    );
}

#[test]
fn a_nested_unknown_key_of_a_providers_definition_is_found_as_well() {
    expect(
        "providers: { p: { signature: { scheme: hmac-sha256, ‹heder›: X } } }\n",
        "unknown key `heder`",
        "did you mean `header`?",
    );
}

#[test]
fn duplicate_names_are_marked_at_the_second() {
    let text = "sources:\n  a: { provider: stream, secrets: [env:SECRET] }\n  ‹a›: { provider: fastpix }\n";
    expect(text, "duplicate key", "`a` was given before");
    expect("sinks:\n  b: { file: {} }\n  ‹b›: { file: {} }\n", "duplicate key", "`b` was given before");
}

#[test]
fn wrong_forms_say_what_was_expected() {
    expect(
        "http: { listen: ‹localhost:80› }\n",
        "invalid value for `http.listen`",
        "expected an IP address and port such as `127.0.0.1:8080`, found `localhost:80`",
    );
    expect(
        "spool: { bytes_max: ‹20 gigs› }\n",
        "invalid value for `spool.bytes_max`",
        "expected a size such as `20 GiB`, found `20 gigs`",
    );
    expect(
        "spool: { retain: ‹24› }\n",
        "invalid value for `spool.retain`",
        "expected a time such as `24h` or `500ms`, found `24`",
    );
    expect("‹http›: [1]\n", "invalid value for `http`", "expected a mapping, found a list");
    expect(
        "sinks: { a: { kafka: { structured: ‹yes› } } }\n",
        "invalid value for `sinks.a.kafka.structured`",
        "expected `true` or `false`, found `yes`",
    );
    expect(
        "shutdown_grace_seconds: ‹0›\n",
        "invalid value for `shutdown_grace_seconds`",
        "expected 1 to 3600, found 0",
    );
    expect(
        "limits: { connections_max: ‹many› }\n",
        "invalid value for `limits.connections_max`",
        "expected a whole number, found `many`",
    );
    expect("select: ‹alll›\n", "unknown value", "did you mean `all`?");
    expect("select: ‹call.created›\n", "unknown value", "expected `all` or a list");
}

#[test]
fn nothing_comes_in_without_a_source() {
    expect("‹sources›: {}\n", "no source is configured", "expected at least one source under `sources`");
    assert_eq!(problems("").problems()[0].title, "no source is configured");
}

#[test]
fn names_are_checked_because_they_become_paths_and_labels() {
    let label = "expected 1 to 63 characters of a-z, 0-9 and `-`";
    expect("sources: { ‹Stream_1›: { provider: stream } }\n", "unusable name `Stream_1`", label);
    expect("sinks: { ‹a/b›: { file: {} } }\n", "unusable name `a/b`", label);
    let long = "a".repeat(64);
    expect(&format!("sinks: {{ ‹{long}›: {{ file: {{}} }} }}\n"), &format!("unusable name `{long}`"), label);
}

#[test]
fn two_sources_that_are_hardly_one_account_are_warned_of_before_they_share_an_app() {
    let two = |one: &str, other: &str| format!("sources:\n  z: {{ {one} }}\n  a: {{ {other} }}\n");
    let stream = "provider: stream, secrets: [env:SECRET]";
    let title = "one app with unrelated secrets";
    expect(
        &two(stream, "provider: stream, ‹secrets›: [env:OTHER_SECRET]"),
        title,
        "source `z` has this provider and app, but none of these secrets",
    );
    let report = problems(&two(stream, "provider: stream, secrets: [env:OTHER_SECRET]"));
    assert!(!report.has_errors() && report.to_string().contains("such as `app: a`"), "{report}");
    for fine in [
        "provider: stream, app: another, secrets: [env:OTHER_SECRET]",
        "provider: github, secrets: [env:OTHER_SECRET]",
        "provider: stream, secrets: [env:OTHER_SECRET, env:SECRET]",
        "provider: stream, sns: { topics: [\"arn:aws:sns:eu-west-1:111111111111:t\"] }",
    ] {
        let report = problems(&two(stream, fine));
        assert!(report.problems().iter().all(|problem| problem.title != title), "{report}");
    }
}

#[test]
fn a_queue_is_read_by_one_source() {
    let queue =
        |name: &str, url: &str| format!("  {name}: {{ provider: stream, sqs: {{ queue_url: {url} }} }}\n");
    let first = queue("z", "https://sqs.eu-west-1.amazonaws.com/111111111111/q");
    for again in [
        "https://sqs.eu-west-1.amazonaws.com/111111111111/q",
        "https://sqs.eu-west-1.amazonaws.com/111111111111/q/",
        "https://eu-west-1.queue.amazonaws.com/111111111111/q",
    ] {
        expect(
            &format!("sources:\n{first}{}", queue("a", &format!("‹{again}›"))),
            "queue with two sources",
            "source `z` already reads this queue",
        );
    }
    for other in [
        "https://sqs.eu-west-1.amazonaws.com/111111111111/p",
        "https://sqs.us-east-1.amazonaws.com/111111111111/q",
    ] {
        let report = problems(&format!("sources:\n{first}{}", queue("a", other)));
        assert!(!report.has_errors(), "{report}");
    }
}

#[test]
fn unknown_providers_are_marked_with_the_nearest_name() {
    expect(
        "sources: { a: { provider: ‹streem› } }\n",
        "unknown provider `streem`",
        "this provider is neither built in nor under `providers`; did you mean `stream`?",
    );
}

#[test]
fn a_provider_of_ones_own_cannot_replace_a_built_in_one() {
    expect(
        "providers: { ‹stream›: {} }\n",
        "provider `stream` exists already",
        "this would replace a built-in provider; choose another name",
    );
}

#[test]
fn an_event_type_that_nobody_sends_is_an_error_with_the_nearest_name() {
    expect(
        &format!("{SOURCE}select:\n  - \"call.created\"\n  - ‹\"call.sesion_ended\"›\n"),
        "unknown event type in an explicit selection",
        "no configured provider sends this event type; did you mean \"call.session_ended\"?",
    );
    // Another provider's type does not come from this one.
    expect(
        &format!("{SOURCE}select: [‹video.media.ready›]\n"),
        "unknown event type in an explicit selection",
        "no configured provider sends this event type",
    );
    expect(
        &format!("{SOURCE}select: [‹call.*›]\n"),
        "unknown event type in an explicit selection",
        "no configured provider sends this event type",
    );
}

#[test]
fn a_websocket_only_type_would_never_arrive() {
    expect(
        &format!("{SOURCE}select: [‹connection.ok›]\n"),
        "event type that is not sent to webhooks",
        "`connection.ok` is sent to WebSocket clients only, so it would never arrive",
    );
}

#[test]
fn an_empty_selection_is_not_everything_and_not_nothing() {
    expect(
        &format!("{SOURCE}‹select›: []\n"),
        "empty selection",
        "an empty list selects no event; expected event types, or `select: all`",
    );
}

#[test]
fn a_sink_cannot_widen_what_the_bridge_takes() {
    expect(
        &format!(
            "{SOURCE}select: [call.created]\nsinks: {{ b: {{ file: {{}}, select: [call.created, \
             ‹call.ended›] }} }}\n"
        ),
        "event type that the bridge filters",
        "`call.ended` never reaches this sink, because the bridge's own `select` filters it",
    );
}

#[test]
fn topics_that_cannot_exist_are_found_before_the_first_event() {
    expect(
        &format!("{SOURCE}sinks: {{ b: {{ file: {{}}, topic: ‹\"{{type}}\"› }} }}\n"),
        "unusable topic template",
        "unknown placeholder `{type}` in a topic: use {provider}, {family} or {source}",
    );
    expect(
        &format!(
            "{SOURCE}select: [call.created]\nsinks: {{ b: {{ file: {{}}, topic: ‹\"a/{{family}}\"› }} }}\n"
        ),
        "impossible topic",
        "`a/video.call-lifecycle`: '/' is not allowed in a Kafka topic: use a-z, A-Z, 0-9, `.`, `_` and `-`",
    );
    expect(
        &format!("{SOURCE}sinks: {{ b: {{ file: {{}}, topic: ‹..› }} }}\n"),
        "impossible topic",
        "`..`: a Kafka topic cannot be named `.` or `..`",
    );
}

#[test]
fn a_sink_is_of_one_kind() {
    expect(
        &format!("{SOURCE}sinks: {{ ‹b›: {{}} }}\n"),
        "sink without a kind",
        "expected `kafka`, `sns` or `file` under this name",
    );
    expect(
        &format!("{SOURCE}sinks: {{ ‹b›: {{ file: {{}}, kafka: {{ brokers: \"a:1\" }} }} }}\n"),
        "sink of several kinds",
        "a sink has one of `kafka`, `sns` and `file`; give each a sink of its own",
    );
    expect(
        &format!("{SOURCE}sinks: {{ b: {{ ‹kafka›: {{}} }} }}\n"),
        "missing key `brokers`",
        "`sinks.b.kafka` needs `brokers`",
    );
}

#[test]
fn an_sns_sinks_region_is_the_one_that_all_its_topics_name() {
    let source = |name: &str| format!("{name}: {{ provider: stream, secrets: [env:SECRET] }}");
    let with = |sources: &[String], topic: &str| {
        format!("sources: {{ {} }}\nsinks: {{ b: {{ sns: {{}}, topic: {topic} }} }}\n", sources.join(", "))
    };
    let region = |text: &str| match &read(text).expect("valid").config.sinks[0].output {
        Output::Sns(sns) => sns.region.clone().expect("of its topics"),
        other => panic!("not an SNS sink: {other:?}"),
    };
    let by_source = "\"arn:aws:sns:{source}:111111111111:events\"";
    assert_eq!(region(&with(&[source("eu-west-1")], by_source)), "eu-west-1", "a place is filled in");
    let plain = "\"arn:aws-cn:sns:cn-north-1:111111111111:{provider}-{family}\"";
    assert_eq!(region(&with(&[source("a"), source("b")], plain)), "cn-north-1");
    expect(
        &with(&[source("eu-west-1"), source("eu-west-2")], &format!("‹{by_source}›")),
        "topics in several regions",
        "a sink publishes to one region; give each region a sink of its own",
    );
    let stated = |region: &str| {
        format!(
            "sources: {{ {} }}\nsinks: {{ b: {{ sns: {{ region: {region} }}, topic: {plain} }} }}\n",
            source("a")
        )
    };
    assert_eq!(region(&stated("cn-north-1")), "cn-north-1", "it may be stated, too");
    expect(
        &stated("‹eu-west-1›"),
        "two regions for one sink",
        "the topic's ARN names the region `cn-north-1`, not `eu-west-1`",
    );
}

#[test]
fn properties_that_would_break_a_guarantee_cannot_be_set() {
    let kafka = |property: &str| {
        format!(
            "{SOURCE}sinks: {{ b: {{ kafka: {{ brokers: env:BROKERS, properties: {{ {property} }} }} }} }}\n"
        )
    };
    expect(
        &kafka("‹acks›: 0"),
        "`acks` cannot be set",
        "it is always `all`: a record is only settled when every in-sync replica has it",
    );
    expect(
        &kafka("‹message.timeout.ms›: 5000"),
        "`message.timeout.ms` cannot be set",
        "it is always 0: the spool keeps the records that a broker does not accept yet",
    );
    expect(
        &kafka("‹allow.auto.create.topics›: true"),
        "`allow.auto.create.topics` cannot be set",
        "topics are created by `fanbridge topics apply`, never by publishing to them",
    );
    expect(
        &kafka("‹partitioner›: consistent_random"),
        "`partitioner` cannot be set",
        "it is always `murmur2_random`: a key stays in one partition, the one that Java clients choose",
    );
    expect(
        &kafka("enable.ssl.certificate.verification: ‹false›"),
        "brokers are not verified",
        "anybody on the network can then pose as the broker",
    );
}

#[test]
fn properties_that_librdkafka_would_refuse_are_found_without_a_start_and_without_their_value() {
    let kafka = |property: &str| {
        format!(
            "{SOURCE}sinks: {{ b: {{ kafka: {{ brokers: env:BROKERS, properties: {{ {property} }} }} }} }}\n"
        )
    };
    expect(
        &kafka("‹linger.msec›: 5"),
        "`linger.msec` cannot be used",
        "No such configuration property: \"linger.msec\"",
    );
    expect(
        &kafka("‹security.protocol›: hunter2"),
        "`security.protocol` cannot be used",
        "Invalid value \"***\" for configuration property \"security.protocol\"",
    );
    let token = "write it as `sasl: { mechanism: OAUTHBEARER, token: file:PATH }`; another program has to \
                 keep the file fresh";
    expect(&kafka("‹sasl.mechanisms›: OAUTHBEARER"), "`sasl.mechanisms` cannot be used", token);
    expect(&kafka("‹sasl.oauthbearer.method›: oidc"), "`sasl.oauthbearer.method` cannot be set", token);
}

#[test]
fn a_mechanism_gets_what_it_proves_and_nothing_else() {
    let sasl = |sasl: &str| {
        format!("{SOURCE}sinks: {{ b: {{ kafka: {{ brokers: env:BROKERS, tls: {{}}, {sasl} }} }} }}\n")
    };
    for (what, title, label) in [
        ("‹sasl›: { username: u }", "missing key `password`", "SCRAM-SHA-512 needs `password`"),
        (
            "‹sasl›: { password: env:TOKEN, username: }",
            "missing key `username`",
            "SCRAM-SHA-512 needs `username`",
        ),
        (
            "sasl: { username: u, password: env:TOKEN, ‹token›: env:TOKEN }",
            "unused key `token`",
            "SCRAM-SHA-512 does not use this key: it needs `username` and `password`",
        ),
        ("‹sasl›: { mechanism: OAUTHBEARER }", "missing key `token`", "OAUTHBEARER needs `token`"),
        (
            "sasl: { mechanism: OAUTHBEARER, token: env:TOKEN, ‹username›: u }",
            "unused key `username`",
            "OAUTHBEARER does not use this key: it needs `token`",
        ),
        (
            "sasl: { mechanism: OAUTHBEARER, token: ‹file:/missing› }",
            "unreadable reference",
            "cannot read /missing: entity not found",
        ),
    ] {
        expect(&sasl(what), title, label);
        assert_eq!(problems(&sasl(what).replace(['‹', '›'], "")).problems().len(), 1, "{what}");
    }
}

#[test]
fn brokers_are_hosts_with_ports() {
    let with = |brokers: &str| format!("{SOURCE}sinks: {{ b: {{ kafka: {{ brokers: {brokers} }} }} }}\n");
    for wrong in [
        "kafka.example",
        "kafka://h:9092",
        "h:9092,SASL_SSL://h:9092",
        ":9092",
        "PLAINTEXT://:9092",
        "h:9092,,i:9092",
        "h:9092, :9092",
        "h:0",
        "h:99999",
        "h/x:9092",
        "me@h:9092",
        "[]:9092",
        "::1:9092",
        "2001:db8::1:9092",
        "[h]:9092",
        "[::1]",
        "[::1%]:9092",
        "h:+9092",
        "h:9092 i:9092",
        "h :9092",
        "h..example:9092",
        "bücher.example:9092",
        "10.0.0.256:9092",
        "10.0.1:9092",
    ] {
        let text = with(&format!("‹\"{wrong}\"›"));
        expect(&text, "not a list of brokers", "expected `host:port,host:port,…`");
        let advised = problems(&text.replace(['‹', '›'], "")).to_string().contains("without a scheme");
        assert_eq!(advised, wrong.contains("://"), "{wrong}");
    }
    let fine = ["h:1", "h:9092, i:9092", "10.0.0.1:9092", "[::1]:9092", "broker_1.kafka-x.svc:9092"];
    for fine in fine.into_iter().chain(["[fe80::1%eth0]:9092", "h.example.:9092", "xn--bcher-kva.example:1"])
    {
        let report = problems(&with(&format!("\"{fine}\"")));
        assert!(report.problems().is_empty(), "{fine}: {report}");
    }
    for (wrong, instead) in [
        ("::1:9092", "in brackets, such as `[::1]:9092`"),
        ("h:9092,", "a comma too many"),
        ("h", "each broker with its port"),
        ("h:9092 i:9092", "a comma between two brokers"),
        ("10.0.0.256:9092", "four numbers up to 255"),
        ("h:0", "a port from 1 to 65535"),
    ] {
        let report = problems(&with(&format!("\"{wrong}\""))).to_string();
        assert!(report.contains(instead), "{wrong}: {report}");
    }
}

#[test]
fn a_broker_that_is_there_twice_is_warned_of_and_asked_once() {
    let text = format!("{SOURCE}sinks: {{ b: {{ kafka: {{ brokers: ‹\"h:1, H:1,i:1\"› }} }} }}\n");
    expect(&text, "duplicate broker", "one broker is listed twice; is another one missing?");
    let loaded = read(&text.replace(['‹', '›'], "")).expect("it can work");
    let Output::Kafka(kafka) = &loaded.config.sinks[0].output else { panic!("no Kafka sink") };
    assert_eq!(kafka.brokers, "h:1,i:1");
}

#[test]
fn an_address_that_would_mean_another_one_is_refused_wherever_a_port_follows() {
    let http = |listen: &str| format!("{SOURCE}http: {{ listen: \"{listen}\" }}\n");
    let admin = |listen: &str| format!("{SOURCE}admin: {{ listen: \"{listen}\" }}\n");
    let endpoint = |url: &str| format!("{SOURCE}aws: {{ endpoint: \"{url}\" }}\n");
    let redis = |name: &str| format!("{SOURCE}spool: {{ duplicates: {{ redis: env:{name} }} }}\n");
    let queue = |url: &str| {
        format!(
            "aws: {{ endpoint: \"http://localhost:4566\", region: eu-west-1 }}\n\
                 sources: {{ a: {{ provider: stream, sqs: {{ queue_url: \"{url}\" }} }} }}\n"
        )
    };
    for (wrong, right) in [
        (http("::1:8080"), http("[::1]:8080")),
        (http("localhost:8080"), http("127.0.0.1:8080")),
        (admin("::1:9091"), admin("[::1]:9091")),
        (endpoint("http://::1:4566"), endpoint("http://[::1]:4566")),
        (endpoint("http://localhost:99999"), endpoint("http://localhost:4566")),
        (endpoint("http://localhost:"), endpoint("http://localhost")),
        (queue("http://::1:4566/1/q"), queue("http://[::1]:4566/1/q")),
        (queue("http://localhost:99999/1/q"), queue("http://localhost:4566/1/q")),
        (redis("REDIS_IPV6"), redis("REDIS")),
    ] {
        assert!(problems(&wrong).has_errors(), "{wrong}{}", problems(&wrong));
        assert!(!problems(&right).has_errors(), "{right}{}", problems(&right));
    }
}

#[test]
fn an_admin_listener_that_others_reach_needs_a_token() {
    expect(
        &format!("{SOURCE}admin: {{ listen: ‹0.0.0.0:9090› }}\n"),
        "admin listener without a token",
        "whoever reaches this port from another machine could read and redrive events",
    );
    expect(
        &format!("{SOURCE}admin: {{ token: ‹env:TOO_SHORT› }}\n"),
        "token that can be guessed",
        "the token has 10 bytes, expected at least 16",
    );
    assert!(read(&format!("{VALID}admin: {{ listen: \"0.0.0.0:9090\", token: env:TOKEN }}\n")).is_ok());
}

#[test]
fn the_token_for_the_metrics_is_another_one_and_as_long() {
    let admin = |keys: &str| format!("{SOURCE}admin: {{ {keys} }}\n");
    expect(
        &admin("metrics_token: ‹env:TOKEN›"),
        "token for the metrics alone",
        "without `admin.token` everybody who reaches the listener reads the metrics, and more",
    );
    expect(
        &admin("token: env:TOKEN, metrics_token: ‹env:TOKEN›"),
        "one token for two purposes",
        "it is the same as `admin.token`, so whoever reads the metrics could also change the bridge",
    );
    expect(
        &admin("token: \"aws-sm:one#token\", metrics_token: ‹\"aws-sm:one#token\"›"),
        "one token for two purposes",
        "it is the same as `admin.token`, so whoever reads the metrics could also change the bridge",
    );
    expect(
        &admin("token: env:TOKEN, metrics_token: ‹env:TOO_SHORT›"),
        "token that can be guessed",
        "the token has 10 bytes, expected at least 16",
    );
}

#[test]
fn listeners_do_not_share_an_address() {
    expect(
        &format!("{SOURCE}admin: {{ listen: ‹127.0.0.1:8080› }}\n"),
        "one address for two listeners",
        "`http` listens on 127.0.0.1:8080; the admin listener needs another port",
    );
    expect(
        &format!("{SOURCE}http: {{ listen: \"0.0.0.0:9000\" }}\nadmin: {{ listen: ‹127.0.0.1:9000› }}\n"),
        "one address for two listeners",
        "`http` listens on 0.0.0.0:9000; the admin listener needs another port",
    );
    for (http, admin) in [
        ("127.0.0.1:9000", "[::ffff:127.0.0.1]:9000"),
        ("[::ffff:127.0.0.1]:9000", "127.0.0.1:9000"),
        ("[::ffff:0.0.0.0]:9000", "127.0.0.1:9000"),
    ] {
        expect(
            &format!("{SOURCE}http: {{ listen: \"{http}\" }}\nadmin: {{ listen: ‹\"{admin}\"› }}\n"),
            "one address for two listeners",
            &format!("`http` listens on {http}; the admin listener needs another port"),
        );
    }
}

#[test]
fn files_for_tls_must_be_there() {
    expect(
        &format!("{SOURCE}http: {{ tls: {{ certificate: /pem, key: ‹/missing› }} }}\n"),
        "unreadable file",
        "cannot read /missing: entity not found",
    );
    expect(
        &format!("{SOURCE}http: {{ tls: {{ certificate: ‹/empty›, key: file:/pem }} }}\n"),
        "empty file",
        "/empty is empty",
    );
    assert!(read(&format!("{VALID}http: {{ tls: {{ certificate: file:/pem, key: /pem }} }}\n")).is_ok());
}

#[test]
fn sizes_that_contradict_each_other_are_found() {
    expect(
        &format!("{SOURCE}spool: {{ bytes_max: ‹1 MiB› }}\n"),
        "size too small",
        "expected at least 136 MiB for `spool.bytes_max`, found 1 MiB",
    );
    expect(
        &format!("{SOURCE}limits: {{ body_bytes_max: ‹10› }}\n"),
        "size too small",
        "expected at least 1 KiB for `limits.body_bytes_max`, found 10",
    );
    expect(
        &format!("{SOURCE}limits: {{ inflated_bytes_max: 63 MiB }}\nspool: {{ segment_bytes: ‹32 MiB› }}\n"),
        "size too small",
        "expected at least 64 MiB for `spool.segment_bytes`, found 32 MiB",
    );
    expect(
        &format!("{SOURCE}limits: {{ inflated_bytes_max: ‹64 MiB› }}\n"),
        "size too large",
        "expected at most 63 MiB for `limits.inflated_bytes_max`, found 64 MiB",
    );
    expect(
        &format!("{SOURCE}timeline: {{ bytes_max: ‹4 KiB› }}\n"),
        "size too small",
        "expected at least 1 MiB for `timeline.bytes_max`, or 0 to keep no steps, found 4 KiB",
    );
    let off = read(&format!("{SOURCE}timeline: {{ bytes_max: 0 }}\n")).expect("valid");
    assert_eq!(off.config.timeline.bytes_max, 0);
    expect(
        &format!("{SOURCE}limits: {{ ack_timeout: ‹0s› }}\n"),
        "time too short",
        "expected at least 1ms for `limits.ack_timeout`, found 0s",
    );
}

#[test]
fn a_spool_has_room_for_eight_segments_of_which_each_holds_the_largest_event() {
    // The spool's own rule, by the function that it uses.
    let used = |text: &str| read(text).expect("valid").config.spool.segment_bytes;
    for least in ["136 MiB", "135 MiB"] {
        let text = format!("{VALID}spool: {{ bytes_max: {least} }}\n");
        assert_eq!(read(&text).is_ok(), least == "136 MiB", "of 16 MiB and attributes each");
    }
    // Nobody asked for the 64 MiB that are the default.
    let default = format!("{VALID}spool: {{ bytes_max: 136 MiB }}\n");
    assert!(problems(&default).problems().is_empty(), "{}", problems(&default));
    assert_eq!(used(&default), 17 << 20);
    expect(
        &format!("{VALID}spool: {{ bytes_max: 256 MiB, segment_bytes: ‹64 MiB› }}\n"),
        "segments too long for the spool",
        "segments are closed at 32 MiB instead, an eighth of `spool.bytes_max`, so that a full spool can \
         remove some",
    );
    assert_eq!(used(&format!("{VALID}spool: {{ bytes_max: 256 MiB, segment_bytes: 64 MiB }}\n")), 32 << 20);
    let kept = format!("{VALID}spool: {{ bytes_max: 512 MiB, segment_bytes: 64 MiB }}\n");
    assert!(problems(&kept).problems().is_empty(), "{}", problems(&kept));
    assert_eq!(used(&kept), 64 << 20);
}

#[test]
fn a_number_that_nothing_has_room_for_is_an_error_and_no_panic_at_the_start() {
    for (key, value, expected) in [
        ("connections_max", "2305843009213693952", "expected 1 to 1000000, found 2305843009213693952"),
        ("connections_max", "0", "expected 1 to 1000000, found 0"),
        ("connections_per_address_max", "1000001", "expected 1 to 1000000, found 1000001"),
    ] {
        expect(
            &format!("{SOURCE}limits: {{ {key}: ‹{value}› }}\n"),
            &format!("invalid value for `limits.{key}`"),
            expected,
        );
    }
    for (key, value, most) in
        [("in_flight_bytes_max", "16777215 TiB", "1 TiB"), ("body_bytes_per_second_min", "2 GiB", "1 GiB")]
    {
        expect(
            &format!("{SOURCE}limits: {{ {key}: ‹{value}› }}\n"),
            "size too large",
            &format!("expected at most {most} for `limits.{key}`, found {value}"),
        );
    }
    for (block, key, longest) in [
        ("limits: {", "header_timeout", "24h"),
        ("limits: {", "body_timeout", "24h"),
        ("limits: {", "idle_timeout", "24h"),
        ("limits: {", "ack_timeout", "24h"),
        ("spool: {", "retain", "87600h"),
        ("spool: { duplicates: {", "window", "87600h"),
    ] {
        let close = if block.ends_with("s: {") && block.starts_with("spool") { "} }" } else { "}" };
        let path = block.replace([':', '{'], "").split_whitespace().collect::<Vec<_>>().join(".");
        expect(
            &format!("{SOURCE}{block} {key}: ‹5000000000000h› {close}\n"),
            "time too long",
            &format!("expected at most {longest} for `{path}.{key}`, found 5000000000000h"),
        );
    }
    expect(
        &format!("{SOURCE}spool: {{ bytes_max: ‹16777215 TiB› }}\n"),
        "size too large",
        "expected at most 1048576 TiB for `spool.bytes_max`, found 16777215 TiB",
    );
}

#[test]
fn a_value_that_was_refused_is_not_refused_once_more_for_its_default() {
    for text in [
        "limits: { body_bytes_max: 32 MiB, inflated_bytes_max: 1 GiB }",
        "http: { tls: { certificate: , key: /pem } }",
    ] {
        let problems = problems(&format!("{SOURCE}{text}\n"));
        let errors = problems.problems().iter().filter(|problem| problem.severity == Severity::Error);
        assert!(errors.count() <= 1, "{problems}");
    }
    let queue = problems("sources: { a: { provider: stream, sqs: { queue_url: } } }\n");
    assert_eq!(
        queue.problems().iter().filter(|problem| problem.severity == Severity::Error).count(),
        1,
        "{queue}"
    );
}

#[test]
fn each_bound_of_a_sink_and_of_a_queue_is_told() {
    let sns = |bytes: &str| {
        format!(
            "s: {{ sns: {{ message_bytes_max: ‹{bytes}› }}, topic: 'arn:aws:sns:eu-west-1:123456789012:x' }}"
        )
    };
    for (sink, title, label) in [
        (
            "f: { file: {}, linger: ‹2s› }".to_owned(),
            "time too long",
            "at most 200ms for `sinks.f.linger`, found 2s",
        ),
        (
            "f: { file: { rotate_bytes: ‹65535› } }".to_owned(),
            "size too small",
            "at least 64 KiB for `sinks.f.file.rotate_bytes`, found 65535",
        ),
        (sns("1 MB"), "", ""),
        (
            sns("1048577"),
            "size too large",
            "at most 1 MiB for `sinks.s.sns.message_bytes_max`, found 1048577",
        ),
        (sns("1023"), "size too small", "at least 1 KiB for `sinks.s.sns.message_bytes_max`, found 1023"),
    ] {
        let text = format!("{SOURCE}sinks: {{ {sink} }}\n");
        match title {
            "" => assert!(read(&text.replace(['‹', '›'], "")).is_ok(), "{text}"),
            title => expect(&text, title, &format!("expected {label}")),
        }
    }
    for (timeout, title, label) in [
        ("1s", "time too short", "expected at least 2s for `sources.a.sqs.visibility_timeout`, found 1s"),
        ("13h", "time too long", "expected at most 12h for `sources.a.sqs.visibility_timeout`, found 13h"),
        ("2500ms", "not a visibility time-out", "SQS counts whole seconds"),
    ] {
        let url = "https://sqs.eu-west-1.amazonaws.com/222222222222/q";
        let queue = format!("sqs: {{ queue_url: \"{url}\", visibility_timeout: ‹{timeout}› }}");
        expect(&format!("sources: {{ a: {{ provider: stream, {queue} }} }}\n"), title, label);
    }
}

#[test]
fn a_source_may_bound_its_bodies_by_itself_within_what_memory_and_the_spool_take() {
    let source = |more: &str| {
        format!("sources: {{ a: {{ provider: github, secrets: [env:SECRET], body_bytes_max: {more}\n")
    };
    let loaded = read(&source("25 MiB } }\nsinks: { b: { file: {} } }")).expect("valid");
    assert_eq!(loaded.config.sources[0].body_bytes_max, Some(25 << 20));
    assert!(loaded.warnings.problems().is_empty(), "{}", loaded.warnings);
    assert_eq!(read(VALID).expect("valid").config.sources[0].body_bytes_max, None);
    expect(
        &source("‹64 MiB› } }"),
        "size too large",
        "expected at most 63 MiB for `sources.a.body_bytes_max`, found 64 MiB",
    );
    expect(
        &source("‹10› } }"),
        "size too small",
        "expected at least 1 KiB for `sources.a.body_bytes_max`, found 10",
    );
    expect(
        &source("25 MiB } }\nlimits: { in_flight_bytes_max: ‹20 MiB› }"),
        "size too small",
        "expected at least 25 MiB for `limits.in_flight_bytes_max`, found 20 MiB",
    );
    expect(
        &source("25 MiB } }\nspool: { segment_bytes: ‹20 MiB› }"),
        "size too small",
        "expected at least 26 MiB for `spool.segment_bytes`, found 20 MiB",
    );
    for (sink, most) in [
        ("kafka: { brokers: env:BROKERS }", "16 MiB"),
        ("kafka: { brokers: env:BROKERS, properties: { message.max.bytes: 20971520 } }", "20 MiB"),
        ("sns: {}, topic: 'arn:aws:sns:eu-west-1:123456789012:x'", "256 KiB"),
    ] {
        expect(
            &format!("{}sinks: {{ k: {{ {sink} }} }}\n", source("‹25 MiB› } }")),
            "sink with a smaller limit",
            &format!(
                "sink `k` takes messages of at most {most}; larger ones become dead letters `too_large`"
            ),
        );
    }
    let takes_all =
        "sinks: { k: { kafka: { brokers: env:BROKERS, properties: { message.max.bytes: 33554432 } } } }\n";
    let loaded = read(&format!("{}{takes_all}", source("25 MiB } }"))).expect("valid");
    assert!(loaded.warnings.problems().is_empty(), "{}", loaded.warnings);
    let queue = "sqs: { queue_url: 'https://sqs.eu-west-1.amazonaws.com/123456789012/q' }";
    expect(
        &format!("sources: {{ a: {{ provider: github, body_bytes_max: ‹25 MiB›, {queue} }} }}\n"),
        "`body_bytes_max` without effect",
        "SQS limits the messages of a queue, so this value is never used",
    );
}

#[test]
fn a_definition_that_cannot_work_is_marked_in_its_place() {
    let report = problems(
        "providers: { p: { signature: { scheme: none }, event: { type: { pointers: [kind] } } } }\n",
    );
    let title = "unusable provider definition";
    assert!(
        report.problems().iter().any(|problem| problem.title == title && problem.span.len() < 30),
        "{report}"
    );
}

#[test]
fn a_header_that_belongs_to_http_itself_carries_no_signature_and_no_delivery_id() {
    let title = "unusable provider definition";
    for name in ["Host", "content-length", "Transfer-Encoding", "Via"] {
        let label = format!(
            "`{name}` belongs to HTTP itself and states nothing about the event, expected a header of the \
             provider's"
        );
        let event = "event: { type: { pointers: [/kind] }";
        expect(
            &format!(
                "providers: {{ p: {{ signature: {{ scheme: hmac-sha256, header: ‹{name}› }}, {event} }} }} \
                 }}\n"
            ),
            title,
            &label,
        );
        expect(
            &format!("providers: {{ p: {{ {event}, delivery_id: {{ header: ‹{name}› }} }} }} }}\n"),
            title,
            &label,
        );
    }
}

#[test]
fn a_definition_without_a_signature_is_for_queues_and_topics_only() {
    let own = "providers: { own: { event: { type: { pointers: [/type] } } } }\n";
    expect(
        &format!("{own}sources: {{ a: {{ provider: ‹own› }} }}\n"),
        "webhook source without a signature",
        "`own` has no `signature`, so anybody could send its events; add one to the definition, or give this \
         source `sqs` or `sns`",
    );
    for channel in [
        "sqs: { queue_url: \"https://sqs.eu-west-1.amazonaws.com/222222222222/q\" }",
        "sns: { topics: [\"arn:aws:sns:eu-west-1:222222222222:t\"] }",
    ] {
        let text = format!("{own}sources: {{ a: {{ provider: own, {channel} }} }}\n");
        assert!(read(&text).is_ok(), "{text}");
    }
}

#[test]
fn topics_that_may_subscribe_a_queue_are_told_by_their_arns() {
    let url = "https://sqs.eu-west-1.amazonaws.com/222222222222/q";
    expect(
        &format!(
            "sources: {{ a: {{ provider: stream, sqs: {{ queue_url: \"{url}\", confirm_topics: [‹events›] \
             }} }} }}\n"
        ),
        "invalid value for `sources.a.sqs.confirm_topics`",
        "expected `arn:aws:sns:{region}:{account}:{name}`",
    );
}

#[test]
fn without_a_sink_events_go_to_files_and_a_warning_says_so() {
    let loaded = read(SOURCE).expect("valid");
    assert_eq!(loaded.config.sinks[0].name, "local");
    assert_eq!(loaded.warnings.problems()[0].title, "no sink is configured");
}

#[test]
fn two_that_write_never_share_a_directory() {
    let title = "directory used twice";
    expect(
        &format!("{SOURCE}sinks: {{ a: {{ file: {{ dir: x }} }}, b: {{ file: {{ dir: ‹x› }} }} }}\n"),
        title,
        "sink `a` already writes to x: choose another directory",
    );
    expect(
        &format!("{SOURCE}sinks: {{ a: {{ file: {{ dir: ‹fanbridge-data› }} }} }}\n"),
        title,
        "the spool already writes to fanbridge-data: choose another directory",
    );
}

#[test]
fn a_key_with_nothing_behind_it_is_a_default_or_an_error_but_never_silence() {
    assert!(read(&format!("{VALID}http:\nspool: {{ retain: }}\n")).is_ok());
    let kafka = "kafka: { brokers: env:BROKERS, properties: { ‹linger.ms›: } }";
    expect(
        &format!("{SOURCE}sinks: {{ b: {{ {kafka} }} }}\n"),
        "invalid value for `sinks.b.kafka.properties.linger.ms`",
        "expected text, `env:NAME`, `file:PATH`, `aws-sm:NAME` or `aws-ssm:NAME`, found nothing",
    );
    expect(
        "sources: { a: { ‹provider›: } }\n",
        "invalid value for `sources.a.provider`",
        "expected text, found nothing",
    );
}
