//! One run shows everything.

use super::{problems, read};

const WRONG: &str = "\
http: { listen: localhost:80, tls: { certificate: /nope } }
admin: { listen: 0.0.0.0:9090 }
spol: {}
spool: { bytes_max: 20 gigs, segment_bytes: 1 MiB }
providers:
  own: { signature: { scheme: hmac-sha255 } }
sources:
  A: { provider: streem, secrets: [env:UNSET] }
  b: { provider: stream, secret: x, secrets: [hunter2, env:TOO_SHORT] }
  b: { provider: fastpix }
select: [call.sesion_ended, connection.ok]
sinks:
  lake: { kafka: { brokers: nobody, properties: { acks: 0 } }, topic: a/b }
  none: {}
";

#[test]
fn every_problem_of_every_step_is_in_one_report() {
    let report = read(WRONG).expect_err("wrong in many ways");
    let places: Vec<String> = report
        .problems()
        .iter()
        .map(|problem| {
            let (line, column) = report.position(problem);
            format!("{line}:{column} {}", problem.title)
        })
        .collect();
    let expected = [
        "1:17 invalid value for `http.listen`",
        "1:31 missing key `key`",
        "1:51 unreadable file",
        "2:18 admin listener without a token",
        "3:1 unknown key `spol`",
        "4:21 invalid value for `spool.bytes_max`",
        "4:45 size too small",
        "6:3 missing key `event`",
        "6:31 unknown value",
        "8:3 unusable name `A`",
        "8:18 unknown provider `streem`",
        "8:36 unreadable reference",
        "9:26 unknown key `secret`",
        "9:47 invalid value for `sources.b.secrets`",
        "9:56 unusable secret",
        "10:3 duplicate key",
        "11:10 unknown event type in an explicit selection",
        "11:29 event type that is not sent to webhooks",
        "13:29 not a list of brokers",
        "13:51 `acks` cannot be set",
        "13:71 impossible topic",
        "14:3 sink without a kind",
    ];
    assert_eq!(places, expected, "{report}");
}

#[test]
fn a_problem_is_shown_as_compilers_show_theirs() {
    let text = "sources:\n  a: { provider: stream, secrets: [env:SECRET] }\nselect:\n  - \
                call.sesion_ended\nsinks: { b: { file: {} } }\n";
    let expected = "error: unknown event type in an explicit selection
 --> fanbridge.yaml:4:5
  |
4 |   - call.sesion_ended
  |     ^^^^^^^^^^^^^^^^^ no configured provider sends this event type; did you mean \"call.session_ended\"?";
    assert_eq!(problems(text).render(false), expected);
    assert!(problems(text).render(true).contains('\u{1b}'));
}

#[test]
fn programs_get_the_same_as_json() {
    let json = problems("spol: {}\n").to_json();
    let problems = json.as_array().expect("a list");
    let unknown = problems.iter().find(|problem| problem["path"] == "spol").expect("the unknown key");
    assert_eq!((&unknown["line"], &unknown["column"]), (&1.into(), &1.into()));
    assert_eq!(unknown["severity"], "error");
    assert_eq!(unknown["file"], "fanbridge.yaml");
}
