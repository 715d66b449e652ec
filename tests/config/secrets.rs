//! Secrets: read from where they are kept, checked, and never shown.

use fanbridge::sink::Output;
use fanbridge::sink::kafka::BearerToken;
use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::{SOURCE, expect, problems, read};

fn source(secrets: &str) -> String {
    format!(
        "sources: {{ a: {{ provider: stream, secrets: {secrets} }} }}\nsinks: {{ b: {{ file: {{}} }} }}\n"
    )
}

#[test]
fn a_secret_is_a_reference_and_never_itself() {
    let label = "write a secret as `env:NAME` or `file:PATH`, never the secret itself";
    expect(&source("[‹hunter2-canary›]"), "invalid value for `sources.a.secrets`", label);
    expect(
        &format!(
            "{SOURCE}sinks: {{ b: {{ kafka: {{ brokers: env:BROKERS, properties: {{ sasl.password: \
             ‹hunter2-canary› }} }} }} }}\n"
        ),
        "`sasl.password` in plain text",
        label,
    );
    expect(&source("[‹\"${STREAM}\"›]"), "text is not substituted", "`${…}` would be taken literally");
}

#[test]
fn a_reference_must_lead_to_a_value() {
    let title = "unreadable reference";
    expect(&source("[‹env:UNSET›]"), title, "the environment variable `UNSET` is not set");
    expect(&source("[‹env:EMPTY›]"), title, "env:EMPTY is empty");
    expect(&source("[‹file:/missing›]"), title, "cannot read /missing: entity not found");
    expect(&source("[‹file:/empty›]"), title, "file:/empty is empty");
    expect(&source("[{ secret: ‹env:UNSET› }]"), title, "the environment variable `UNSET` is not set");
    let marked = "/marked begins with a byte order mark, which would count as part of the secret: save the \
                  file without it";
    expect(&source("[‹file:/marked›]"), title, marked);
}

#[test]
fn a_secret_that_only_looks_like_one_is_refused() {
    let title = "unusable secret";
    expect(
        &source("[env:SECRET, ‹env:TOO_SHORT›]"),
        title,
        "environment variable `TOO_SHORT`: the secret has 10 bytes, expected at least 16",
    );
    expect(
        &source("[‹env:PLACEHOLDER›]"),
        title,
        "environment variable `PLACEHOLDER`: the secret is a placeholder, expected the provider's signing \
         secret",
    );
    expect(
        &source("[‹env:SHORT›]"),
        "short secret",
        "the secret in environment variable `SHORT` has fewer than 24 bytes",
    );
    expect(&source("[env:SECRET, ‹env:SECRET›]"), "duplicate secret", "this secret is the same as one above");
    expect(
        &source("[{ secret: env:SECRET, not_after: ‹tomorrow› }]"),
        "not a date and time",
        "expected a date and time such as `2026-11-21T06:40:00Z`",
    );
}

#[test]
fn an_api_key_of_stripes_is_refused_as_a_signing_secret() {
    let source = |provider: &str, secret: &str| {
        format!(
            "sources: {{ a: {{ provider: {provider}, secrets: [{secret}] }} }}\nsinks: {{ b: {{ file: {{}} \
             }} }}\n"
        )
    };
    for name in ["STRIPE_API_KEY", "STRIPE_RESTRICTED_KEY"] {
        expect(
            &source("stripe", &format!("‹env:{name}›")),
            "not a signing secret",
            &format!(
                "environment variable `{name}` contains an API key; an endpoint's signing secret begins \
                 with `whsec_`"
            ),
        );
        let refused = problems(&source("stripe", &format!("env:{name}")));
        assert!(refused.has_errors() && !refused.to_string().contains("canary"), "{refused}");
        assert!(!problems(&source("github", &format!("env:{name}"))).has_errors(), "GitHub's is any text");
    }
    let report = problems(&source("stripe", "env:STRIPE"));
    assert!(report.problems().is_empty(), "{report}");
}

#[test]
fn what_is_wrong_early_in_a_list_does_not_shift_what_is_said_about_the_rest() {
    expect(
        &source("[hunter2, ~, env:SECRET, ‹env:TOO_SHORT›]"),
        "unusable secret",
        "environment variable `TOO_SHORT`: the secret has 10 bytes, expected at least 16",
    );
}

#[test]
fn only_a_provider_that_probes_may_begin_without_a_secret() {
    expect(
        "sources: { ‹a›: { provider: stream } }\n",
        "source without secrets",
        "`stream` signs its deliveries; expected `secrets: [env:NAME]`",
    );
    expect(
        "sources: { ‹a›: { provider: fastpix } }\n",
        "source without secrets",
        "until a secret is added, only the provider's probe gets a 2xx",
    );
    assert!(read("sources: { a: { provider: fastpix } }\n").is_ok());
}

#[test]
fn dated_secrets_and_secrets_in_files_are_read() {
    let text = source(
        "[{ secret: env:SECRET, not_before: \"2026-01-01T00:00:00Z\", not_after: \"2027-01-01T00:00:00Z\" \
         }, file:/secret]",
    );
    let loaded = read(&text).expect("valid");
    assert_eq!(loaded.config.sources[0].secrets.len(), 2);
}

#[test]
fn shorthands_for_brokers_become_properties() {
    let text = format!(
        "{SOURCE}sinks: {{ b: {{ kafka: {{ brokers: env:BROKERS, tls: {{ ca: /pem }}, sasl: {{ username: u, \
         password: env:TOKEN }} }} }} }}\n"
    );
    let loaded = read(&text).expect("valid");
    let Output::Kafka(kafka) = &loaded.config.sinks[0].output else { panic!("a Kafka sink") };
    assert_eq!(kafka.brokers, "a:9092,b:9092");
    let properties: Vec<(&str, &str)> =
        kafka.properties.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect();
    let expected = [
        ("sasl.mechanisms", "SCRAM-SHA-512"),
        ("sasl.password", "token-canary-token-canary"),
        ("sasl.username", "u"),
        ("security.protocol", "sasl_ssl"),
        ("ssl.ca.location", "/pem"),
    ];
    assert_eq!(properties, expected);
    assert!(!format!("{:?}", loaded.config).contains("token-canary"));
}

#[test]
fn a_token_in_a_file_stays_there_and_one_in_a_variable_is_read_once() {
    for (kept, is_file) in [("file:/secret", true), ("env:TOKEN", false)] {
        let text = format!(
            "{SOURCE}sinks: {{ b: {{ kafka: {{ brokers: env:BROKERS, tls: {{}}, sasl: {{ mechanism: \
             OAUTHBEARER, token: {kept} }} }} }} }}\n"
        );
        let loaded = read(&text).expect("valid");
        let Output::Kafka(kafka) = &loaded.config.sinks[0].output else { panic!("a Kafka sink") };
        match &kafka.token {
            Some(BearerToken::File(path)) => assert!(is_file && path.to_str() == Some("/secret")),
            Some(BearerToken::Fixed(token)) => {
                assert!(!is_file && token.expose_secret() == "token-canary-token-canary");
            }
            None => panic!("no token"),
        }
        let names: Vec<&str> = kafka.properties.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["sasl.mechanisms", "security.protocol"]);
        assert!(!format!("{:?}", loaded.config).contains("token-canary"));
    }
}

#[test]
fn no_secret_is_ever_shown() {
    let canary = "hunter2-canary-hunter2";
    let misplaced = [
        source(&format!("[{canary}]")),
        source(canary),
        source(&format!("[{{ {canary}: x, {canary}: y }}]")),
        source(&format!("[\"{canary}\", {{ secret: {canary} }}]")),
        format!("sources:\n  a:\n    provider: stream\n    secret: {canary}\n"),
        format!("sources:\n  a:\n    provider: stream\n    secrets:\n    - {canary}\n    - {canary}: x: y\n"),
        format!("sources:\n  a:\n    secrets: [\n      {canary},\n      env:UNSET\n"),
        format!("{SOURCE}admin: {{ token: {canary} }}\n"),
        format!("{SOURCE}sinks: {{ b: {{ kafka: {{ sasl: {{ username: u, password: {canary} }} }} }} }}\n"),
        format!("{SOURCE}sinks: {{ b: {{ kafka: {{ tls: {{ key_password: {canary} }} }} }} }}\n"),
        format!(
            "{SOURCE}sinks: {{ b: {{ kafka: {{ sasl: {{ mechanism: OAUTHBEARER, token: {canary} }} }} }} }}\n"
        ),
        format!(
            "{SOURCE}sinks: {{ b: {{ kafka: {{ properties: {{ ssl.key.password: {canary}, acks: 1 }} }} }} \
             }}\n"
        ),
    ];
    for text in misplaced {
        let report = problems(&text);
        assert!(report.has_errors(), "{text}");
        for shown in
            [report.render(true), report.to_string(), format!("{report:?}"), report.to_json().to_string()]
        {
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
    let loaded = read(&source("[env:SECRET, env:OTHER_SECRET]")).expect("valid");
    let shown = format!("{loaded:?}{:#?}", loaded.config);
    assert!(!shown.contains("0123456789abcdef") && !shown.contains("fedcba98"), "{shown}");
}

#[test]
fn a_mistake_beside_a_secret_on_the_same_line_is_shown_and_the_secret_is_not() {
    for text in [
        "sources: { a: { secrets: [whsec_canary], provider: strem } }\n",
        "sources: { a: { provider: strem, secrets: [whsec_canary] } }\n",
        "sources: { a: { secrets: [{ secret: whsec_canary }], provider: strem, app: x } }\n",
    ] {
        let shown = problems(text).to_string();
        assert!(shown.contains("provider: strem"), "{shown}");
        assert!(!shown.contains("canary"), "{shown}");
    }
}

proptest! {
    /// Whatever follows it, readable or not, a secret that was pasted into the list is not shown.
    #[test]
    fn a_pasted_secret_is_not_shown_whatever_follows(after in "[-a-z \n:{}\\[\\],&*!|>'\"#$]{0,60}") {
        let report = problems(&format!("sources:\n  a:\n    provider: stream\n    secrets:\n    - \
                                        hunter2\n{after}"));
        let shown = format!("{}{}", report.render(true), report.to_json());
        prop_assert!(!shown.contains("hunter2"), "{}", shown);
    }
}
