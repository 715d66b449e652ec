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
    let label = "write a secret as `env:NAME`, `file:PATH`, `aws-sm:NAME` or `aws-ssm:NAME`, never the \
                 secret itself";
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
fn what_aws_keeps_is_named_and_not_asked_for_by_a_check() {
    let text = "admin: { listen: 0.0.0.0:9090, token: aws-sm:admin }\n\
                sources: { a: { provider: stream, secrets: [aws-sm:stream#key, { secret: aws-ssm:/old }] }, \
                f: { provider: fastpix, secrets: [aws-sm:pix] } }\n\
                spool: { duplicates: { redis: aws-sm:redis } }\n\
                sinks: { b: { kafka: { brokers: aws-ssm:/brokers, tls: {}, sasl: { username: aws-sm:user, \
                password: aws-sm:password }, properties: { ssl.key.password: aws-sm:pem } }, topic: t } }\n";
    let loaded = read(text).unwrap_or_else(|report| panic!("{report}"));
    assert!(loaded.warnings.problems().is_empty(), "{}", loaded.warnings);
    let named: Vec<String> = loaded.config.aws_secrets.iter().map(ToString::to_string).collect();
    let expected = [
        "aws-sm:admin",
        "aws-sm:password",
        "aws-sm:pem",
        "aws-sm:pix",
        "aws-sm:redis",
        "aws-sm:stream#key",
        "aws-sm:user",
        "aws-ssm:/brokers",
        "aws-ssm:/old",
    ];
    assert_eq!(named, expected);
    let secrets = |name: &str| {
        let source = loaded.config.sources.iter().find(|source| *source.name == *name).expect("configured");
        source.secrets.iter().map(|secret| secret.secret.fingerprint().to_owned()).collect::<Vec<_>>()
    };
    let [one, other] = <[String; 2]>::try_from(secrets("a")).expect("two secrets");
    assert!(one != other && secrets("f").len() == 1, "each is something that nobody can guess");
}

#[test]
fn a_name_that_aws_does_not_have_is_refused_without_a_call() {
    let label = "expected the name or the ARN of a secret after `aws-sm:`, and behind `#` the key of a JSON \
                 object if the secret is one, such as `aws-sm:fanbridge/stream#secret`";
    expect(&source("[‹\"aws-sm:a b\"›]"), "invalid value for `sources.a.secrets`", label);
    let arn = "arn:aws:ssm:eu-west-1:123456789012:secret:a";
    let label = "expected the name or the ARN of a parameter after `aws-ssm:`, such as \
                 `aws-ssm:/fanbridge/stream`";
    expect(&source(&format!("[‹\"aws-ssm:{arn}\"›]")), "invalid value for `sources.a.secrets`", label);
}

fn on_msk(sasl: &str) -> String {
    let brokers = "b-1.lake.ab12cd.c2.kafka.eu-west-1.amazonaws.com:9098";
    format!(
        "{SOURCE}sinks: {{ b: {{ kafka: {{ brokers: \"{brokers}\", tls: {{}}, sasl: {sasl} }}, topic: t }} }}\n"
    )
}

#[test]
fn msk_with_iam_needs_no_more_than_its_name() {
    let loaded = read(&on_msk("{ mechanism: AWS_MSK_IAM }")).unwrap_or_else(|report| panic!("{report}"));
    let Output::Kafka(kafka) = &loaded.config.sinks[0].output else { panic!("another sink") };
    let Some(BearerToken::MskIam(msk)) = &kafka.token else { panic!("another token") };
    assert!(format!("{msk:?}").contains("eu-west-1"), "the region is that of the brokers' names: {msk:?}");
    assert!(loaded.warnings.problems().is_empty(), "{}", loaded.warnings);

    let label = "AWS_MSK_IAM does not use this key: it uses the AWS credentials";
    let with = |key: &str| on_msk(&format!("{{ mechanism: AWS_MSK_IAM, {key} }}"));
    expect(&with("‹token›: env:TOKEN"), "unused key `token`", label);
    expect(&with("‹password›: env:SECRET"), "unused key `password`", label);
    let label = "the brokers' names have the region `eu-west-1`";
    expect(&with("region: ‹us-east-1›"), "two regions for one cluster", label);
    expect(&with("region: ‹Ireland›"), "not a region", "expected a region such as `eu-west-1`");
    let label = "whoever sees a token on its way can use it for 15 minutes; add `tls: {}`";
    let open = on_msk("{ mechanism: AWS_MSK_IAM }").replace("tls: {}, sasl", "‹sasl›");
    expect(&open, "AWS_MSK_IAM without TLS", label);
    let label = "OAUTHBEARER does not use this key: it needs `token`";
    let with_token = on_msk("{ mechanism: OAUTHBEARER, token: env:TOKEN, ‹region›: eu-west-1 }");
    expect(&with_token, "unused key `region`", label);
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
            other => panic!("another token: {other:?}"),
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
        format!("{SOURCE}admin: {{ token: env:TOKEN, metrics_token: {canary} }}\n"),
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
