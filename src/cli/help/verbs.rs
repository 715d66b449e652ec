//! The examples and exit codes of the verbs that need no running bridge. A test parses every example, and
//! another one runs it if that needs no server.

use super::VerbHelp;
use super::exits::{CONFIG, DONE, NO_ANSWER, NO_BRIDGE, NO_CLUSTER, UNREAD, USAGE};

pub(super) const VERBS: &[VerbHelp] = &[
    VerbHelp {
        verb: "",
        examples: &[
            ("run a bridge without a configuration, and send it an event", "fanbridge run"),
            ("in another shell: what a provider would send", "fanbridge send stream call.created"),
            ("begin a configuration of your own", "fanbridge init --sink kafka > fanbridge.yaml"),
        ],
        exits: &[
            DONE,
            (1, "a check failed"),
            USAGE,
            (74, "disk, network or listener failed"),
            (75, "another process has the lock, or a resource is short: try again later"),
            CONFIG,
        ],
    },
    VerbHelp {
        verb: "run",
        examples: &[
            ("run with ./fanbridge.yaml, or without a configuration on loopback", "fanbridge run"),
            ("take free ports, if others have 8080 and 9090", "fanbridge run --listen 127.0.0.1:0"),
            ("show each event as it comes", "fanbridge run --config fanbridge.yaml --tail"),
            ("in the place of the running bridge, and refuse nobody", "fanbridge run --take-over"),
        ],
        exits: &[
            (0, "it was stopped in order"),
            USAGE,
            (74, "disk, network or listener failed: restart"),
            (75, "another process has spool or sockets; a resource or AWS is away: restart"),
            (78, "the configuration or the data needs a person: do not restart"),
        ],
    },
    VerbHelp {
        verb: "demo",
        examples: &[("every known event type, signed, through a bridge of its own", "fanbridge demo")],
        exits: &[(0, "every count is as expected"), (1, "a count is not"), USAGE, UNREAD],
    },
    VerbHelp {
        verb: "init",
        examples: &[
            ("webhooks of Stream and FastPix, into files", "fanbridge init > fanbridge.yaml"),
            (
                "Stream by webhook and queue, into Kafka",
                "fanbridge init --provider stream --from webhook,sqs --sink kafka",
            ),
        ],
        exits: &[DONE, (2, "a provider is not built in, or the command line is wrong")],
    },
    VerbHelp {
        verb: "check",
        examples: &[
            ("every problem at once, with line and column", "fanbridge check fanbridge.yaml"),
            ("the problems for an editor or CI", "fanbridge check --format ndjson"),
            ("the JSON Schema, for an editor", "fanbridge check --schema > fanbridge.schema.json"),
        ],
        exits: &[
            (0, "the configuration can be used"),
            USAGE,
            UNREAD,
            (78, "it has errors, or there is none"),
        ],
    },
    VerbHelp {
        verb: "test",
        examples: &[
            ("the tests in the configuration and beside it", "fanbridge test"),
            ("for CI", "fanbridge test --format junit > junit.xml"),
        ],
        exits: &[
            (0, "every test passes"),
            (1, "a test fails"),
            USAGE,
            UNREAD,
            (78, "the tests or the configuration have errors"),
        ],
    },
    VerbHelp {
        verb: "config",
        examples: &[("what counts, and where it is written", "fanbridge config show --effective --origin")],
        exits: &[DONE, USAGE, UNREAD, CONFIG],
    },
    VerbHelp {
        verb: "config show",
        examples: &[
            ("what is written", "fanbridge config show"),
            ("every value that counts, with its place", "fanbridge config show --effective --origin"),
            ("the same for programs", "fanbridge config show --effective --format json"),
        ],
        exits: &[DONE, USAGE, UNREAD, CONFIG],
    },
    VerbHelp {
        verb: "verify",
        examples: &[
            (
                "why a recorded delivery is refused",
                "fanbridge verify stream --body body.json --headers headers.txt",
            ),
            (
                "as of the moment at which it came",
                "fanbridge verify stream --body body.json --headers headers.txt --at 1764571200",
            ),
        ],
        exits: &[(0, "the signature is valid"), (1, "it is not"), USAGE, UNREAD, CONFIG],
    },
    VerbHelp {
        verb: "topics",
        examples: &[("which topics exist, and which are missing", "fanbridge topics plan")],
        exits: &[DONE, (1, "topics are missing, or were refused"), USAGE, UNREAD, NO_CLUSTER, CONFIG],
    },
    VerbHelp {
        verb: "topics plan",
        examples: &[
            ("every topic, and whether it exists", "fanbridge topics plan"),
            ("of one sink, for programs", "fanbridge topics plan --sink lake --format json"),
        ],
        exits: &[(0, "every topic exists"), (1, "a topic is missing"), USAGE, UNREAD, NO_CLUSTER, CONFIG],
    },
    VerbHelp {
        verb: "topics apply",
        examples: &[
            ("create what is missing", "fanbridge topics apply --partitions 12"),
            (
                "so that a record outlives a broker",
                "fanbridge topics apply --replication 3 --property min.insync.replicas=2",
            ),
        ],
        exits: &[(0, "every topic exists now"), (1, "one was refused"), USAGE, UNREAD, NO_CLUSTER, CONFIG],
    },
    VerbHelp {
        verb: "types",
        examples: &[
            ("every known type of a provider", "fanbridge types --provider stream"),
            ("names to paste into `select`", "fanbridge types --family video.recording --yaml"),
            ("what came so far, new types included", "fanbridge types --seen"),
            ("new types that no sink gets, to paste", "fanbridge types --new --unselected --yaml"),
            ("families and their topics, for Terraform", "fanbridge types --families --format json"),
        ],
        exits: &[
            DONE,
            (1, "no such type was seen"),
            (2, "there is no such provider or family, or the command line is wrong"),
            NO_BRIDGE,
            NO_ANSWER,
            CONFIG,
        ],
    },
    VerbHelp {
        verb: "types export",
        examples: &[
            ("every topic, for AsyncAPI's tools", "fanbridge types export --format asyncapi > asyncapi.json"),
            ("a JSON Schema of each type", "fanbridge types export --format json-schema > types.json"),
            ("for EventCatalog", "fanbridge types export --format eventcatalog --output catalogue"),
        ],
        exits: &[
            DONE,
            (2, "the directory is somebody else's, or the command line is wrong"),
            (74, "the bridge breaks off, or a file cannot be read or written"),
            NO_ANSWER,
            CONFIG,
        ],
    },
    VerbHelp {
        verb: "types diff",
        examples: &[
            ("what Mux has published since", "fanbridge types diff webhook-spec.json --provider mux"),
            ("for programs", "fanbridge types diff webhook-spec.json --format json"),
        ],
        exits: &[
            (0, "nothing is different"),
            (1, "something is"),
            (2, "there is no such provider, or the command line is wrong"),
            (74, "the specification cannot be read, or has no event types"),
            CONFIG,
        ],
    },
    VerbHelp {
        verb: "spool",
        examples: &[("read the log of a stopped bridge", "fanbridge spool verify")],
        exits: &[
            DONE,
            (1, "damaged, or not known to be clean"),
            USAGE,
            UNREAD,
            (75, "a bridge uses it"),
            CONFIG,
        ],
    },
    VerbHelp {
        verb: "spool verify",
        examples: &[
            ("the spool of the configuration", "fanbridge spool verify"),
            ("another one, once its bridge has stopped", "fanbridge spool verify spool --wait-seconds 30"),
        ],
        exits: &[
            (0, "clean"),
            (1, "damaged, or not known to be clean"),
            USAGE,
            UNREAD,
            (75, "a bridge uses it"),
            CONFIG,
        ],
    },
    VerbHelp {
        verb: "doctor",
        examples: &[
            ("check what the bridge needs from elsewhere", "fanbridge doctor"),
            ("for CI: warnings fail, too", "fanbridge doctor --strict --format json"),
        ],
        exits: &[(0, "no check fails"), (1, "a check fails, or the configuration has errors"), USAGE, UNREAD],
    },
    VerbHelp {
        verb: "iam-policy",
        examples: &[
            ("what the bridge calls, and nothing else", "fanbridge iam-policy > policy.json"),
            ("the same for who also looks and creates", "fanbridge iam-policy --with doctor,topics-apply"),
        ],
        exits: &[
            DONE,
            (2, "the configuration does not say all, or the command line is wrong"),
            UNREAD,
            (78, "the configuration has errors, or there is none"),
        ],
    },
    VerbHelp {
        verb: "completions",
        examples: &[
            ("for bash, in this shell: `. ./fanbridge.bash`", "fanbridge completions bash > fanbridge.bash"),
            ("for zsh, in a directory of $fpath", "fanbridge completions zsh > _fanbridge"),
        ],
        exits: &[DONE, USAGE],
    },
    VerbHelp {
        verb: "man",
        examples: &[("a page for each verb; `man ./man1/fanbridge.1` shows one", "fanbridge man man1")],
        exits: &[DONE, USAGE, UNREAD],
    },
    VerbHelp {
        verb: "metrics",
        examples: &[("alert rules for Prometheus", "fanbridge metrics rules > fanbridge.rules.yaml")],
        exits: &[DONE, USAGE],
    },
    VerbHelp {
        verb: "metrics list",
        examples: &[("every metric, for programs", "fanbridge metrics list --format ndjson")],
        exits: &[DONE, USAGE],
    },
    VerbHelp {
        verb: "metrics rules",
        examples: &[("for `rule_files` of Prometheus", "fanbridge metrics rules > fanbridge.rules.yaml")],
        exits: &[DONE, USAGE],
    },
    VerbHelp {
        verb: "metrics rule-tests",
        examples: &[("for `promtool test rules`", "fanbridge metrics rule-tests > rule-tests.yaml")],
        exits: &[DONE, USAGE],
    },
    VerbHelp {
        verb: "metrics dashboard",
        examples: &[("to import into Grafana", "fanbridge metrics dashboard > fanbridge.json")],
        exits: &[DONE, USAGE],
    },
    VerbHelp {
        verb: "metrics document",
        examples: &[("as Markdown", "fanbridge metrics document > metrics.md")],
        exits: &[DONE, USAGE],
    },
];
