//! The examples and exit codes of each verb. A test parses every example, and another one runs it if that
//! needs no server.

use super::VerbHelp;

const DONE: (u8, &str) = (0, "done");
const USAGE: (u8, &str) = (2, "the command line is wrong");
const CONFIG: (u8, &str) = (78, "the configuration has errors and cannot be used");
const NO_BRIDGE: (u8, &str) = (74, "no bridge answers");
const NO_ANSWER: (u8, &str) = (75, "the bridge does not answer in time, or recovers its spool");
const UNREAD: (u8, &str) = (74, "a file cannot be read or written");

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
        ],
        exits: &[
            (0, "it was stopped in order"),
            USAGE,
            (74, "disk, network or listener failed: restart"),
            (75, "another process has the spool, or a resource is short: restart"),
            (78, "the configuration or the data needs a person: do not restart"),
        ],
    },
    VerbHelp {
        verb: "demo",
        examples: &[("every known event type, signed, through a bridge of its own", "fanbridge demo")],
        exits: &[(0, "every count is as expected"), (1, "a count is not"), UNREAD],
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
        exits: &[DONE, (2, "a provider is not built in")],
    },
    VerbHelp {
        verb: "check",
        examples: &[
            ("every problem at once, with line and column", "fanbridge check fanbridge.yaml"),
            ("the problems for an editor or CI", "fanbridge check --format ndjson"),
            ("the JSON Schema, for an editor", "fanbridge check --schema > fanbridge.schema.json"),
        ],
        exits: &[(0, "the configuration can be used"), UNREAD, (78, "it has errors, or there is none")],
    },
    VerbHelp {
        verb: "test",
        examples: &[
            ("the tests beside the configuration", "fanbridge test"),
            ("for CI", "fanbridge test --format junit > junit.xml"),
        ],
        exits: &[(0, "every test passes"), (1, "a test fails"), UNREAD, CONFIG],
    },
    VerbHelp {
        verb: "config",
        examples: &[("what counts, and where it is written", "fanbridge config show --effective --origin")],
        exits: &[DONE, UNREAD, CONFIG],
    },
    VerbHelp {
        verb: "config show",
        examples: &[
            ("what is written", "fanbridge config show"),
            ("every value that counts, with its place", "fanbridge config show --effective --origin"),
            ("the same for programs", "fanbridge config show --effective --format json"),
        ],
        exits: &[DONE, UNREAD, CONFIG],
    },
    VerbHelp {
        verb: "send",
        examples: &[
            ("sign a sample and send it in by the front door", "fanbridge send stream call.created"),
            ("change its body", "fanbridge send stream call.created --set call.id=abc"),
            ("a thousand of them, fifty a second", "fanbridge send stream call.ended --count 1000 --rate 50"),
            ("a body of your own", "fanbridge send stream call.created --body body.json"),
        ],
        exits: &[
            (0, "every event was taken"),
            (1, "an event was refused"),
            (2, "the source or the type is unknown"),
            (74, "the bridge cannot be reached"),
            CONFIG,
        ],
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
        verb: "tail",
        examples: &[
            ("what comes and where it goes, until Ctrl-C", "fanbridge tail"),
            ("only what somebody has to look at, from the start on", "fanbridge tail --since-start --failed"),
            ("wait for one event", "fanbridge tail --id 9f2c81aa03be --count 1 --for 30s"),
            ("every field, for programs", "fanbridge tail --sink local --format ndjson"),
        ],
        exits: &[
            DONE,
            (1, "fewer lines than --count came within --for"),
            (2, "the configuration has no such source or sink"),
            NO_BRIDGE,
            (75, "the bridge was away for 15 s"),
        ],
    },
    VerbHelp {
        verb: "top",
        examples: &[
            ("rates, lag and dead letters, until q", "fanbridge top"),
            ("once a minute into a file", "fanbridge top --every 1m --format ndjson > top.ndjson"),
        ],
        exits: &[DONE, USAGE, NO_BRIDGE, (75, "the bridge was away for 15 s")],
    },
    VerbHelp {
        verb: "topics",
        examples: &[("which topics exist, and which are missing", "fanbridge topics plan")],
        exits: &[DONE, (1, "topics are missing, or were refused"), UNREAD, CONFIG],
    },
    VerbHelp {
        verb: "topics plan",
        examples: &[
            ("every topic, and whether it exists", "fanbridge topics plan"),
            ("of one sink, for programs", "fanbridge topics plan --sink lake --format json"),
        ],
        exits: &[(0, "every topic exists"), (1, "a topic is missing"), USAGE, (74, "no answer"), CONFIG],
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
        exits: &[(0, "every topic exists now"), (1, "one was refused"), USAGE, (74, "no answer"), CONFIG],
    },
    VerbHelp {
        verb: "types",
        examples: &[
            ("every known type of a provider", "fanbridge types --provider stream"),
            ("names to paste into `select`", "fanbridge types --family video.recording --yaml"),
            ("what came so far, new types included", "fanbridge types --seen"),
        ],
        exits: &[DONE, (2, "there is no such provider or family"), NO_BRIDGE, CONFIG],
    },
    VerbHelp {
        verb: "spool",
        examples: &[("read the log of a stopped bridge", "fanbridge spool verify")],
        exits: &[DONE, (1, "damaged, or not known to be clean"), UNREAD, (75, "a bridge uses it")],
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
            UNREAD,
            (75, "a bridge uses it"),
            CONFIG,
        ],
    },
    VerbHelp {
        verb: "dead",
        examples: &[("what could not be delivered", "fanbridge dead list")],
        exits: &[DONE, (1, "a dead letter is not there, or stays"), USAGE, NO_BRIDGE, NO_ANSWER],
    },
    VerbHelp {
        verb: "dead list",
        examples: &[
            ("the oldest hundred", "fanbridge dead list"),
            ("of one sink and one reason", "fanbridge dead list --sink lake --reason too_large"),
        ],
        exits: &[DONE, USAGE, NO_BRIDGE, NO_ANSWER],
    },
    VerbHelp {
        verb: "dead groups",
        examples: &[("their causes, the largest first", "fanbridge dead groups")],
        exits: &[DONE, USAGE, NO_BRIDGE, NO_ANSWER],
    },
    VerbHelp {
        verb: "dead show",
        examples: &[("one of them with its body", "fanbridge dead show 17")],
        exits: &[DONE, (1, "there is no such dead letter"), USAGE, NO_BRIDGE, NO_ANSWER],
    },
    VerbHelp {
        verb: "dead export",
        examples: &[("all of a sink, one a line", "fanbridge dead export --sink lake > dead.jsonl")],
        exits: &[DONE, USAGE, NO_BRIDGE, NO_ANSWER],
    },
    VerbHelp {
        verb: "dead redrive",
        examples: &[
            ("how many would go again", "fanbridge dead redrive --sink lake --dry-run"),
            ("these two, once the cause is mended", "fanbridge dead redrive 17 18 --yes"),
        ],
        exits: &[DONE, (1, "some stay, or --yes is missing"), USAGE, NO_BRIDGE, NO_ANSWER],
    },
    VerbHelp {
        verb: "dead drop",
        examples: &[("for good", "fanbridge dead drop 17 --yes")],
        exits: &[DONE, (1, "it is not there, or --yes is missing"), USAGE, NO_BRIDGE, NO_ANSWER],
    },
    VerbHelp {
        verb: "explain",
        examples: &[
            ("where an event went, and why", "fanbridge explain 9f2c81aa03be"),
            ("where a type goes; needs no bridge", "fanbridge explain --type call.created"),
            ("what became of this body", "fanbridge explain --body body.json --source stream"),
        ],
        exits: &[
            DONE,
            (1, "nothing is known of it"),
            (2, "several events are meant, or the command line is wrong"),
            NO_BRIDGE,
            NO_ANSWER,
        ],
    },
    VerbHelp {
        verb: "doctor",
        examples: &[
            ("check what the bridge needs from elsewhere", "fanbridge doctor"),
            ("for CI: warnings fail, too", "fanbridge doctor --strict --format json"),
        ],
        exits: &[(0, "no check fails"), (1, "a check fails"), USAGE, UNREAD],
    },
    VerbHelp {
        verb: "pause",
        examples: &[("let a sink rest", "fanbridge pause lake --reason maintenance")],
        exits: &[DONE, (1, "answers wait for the sink, or there is none"), USAGE, NO_BRIDGE, NO_ANSWER],
    },
    VerbHelp {
        verb: "resume",
        examples: &[("let it go on", "fanbridge resume lake")],
        exits: &[DONE, (1, "there is no such sink"), USAGE, NO_BRIDGE, NO_ANSWER],
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
];
