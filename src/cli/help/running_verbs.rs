//! The examples and exit codes of the verbs that talk to a running bridge.

use super::VerbHelp;
use super::exits::{CONFIG, DONE, NO_ANSWER, NO_BRIDGE, NOT_LEFT, NOT_RUNNING, UNCONFIRMED, UNHEARD, USAGE};

pub(super) const VERBS: &[VerbHelp] = &[
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
            (74, "the bridge cannot be reached, or a file cannot be read"),
            NO_ANSWER,
            CONFIG,
        ],
    },
    VerbHelp {
        verb: "health",
        examples: &[
            ("whether an event can be stored", "fanbridge health"),
            ("whether the process makes progress, within a second", "fanbridge health --live --within 1s"),
            ("of a bridge whose configuration is elsewhere", "fanbridge health --url http://127.0.0.1:9090"),
        ],
        exits: &[
            (0, "it is"),
            (1, "it is not, or no bridge answers where the configuration says"),
            USAGE,
            (74, "the configuration cannot be read"),
            (78, "the configuration does not say where the bridge is"),
        ],
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
            CONFIG,
        ],
    },
    VerbHelp {
        verb: "top",
        examples: &[
            ("rates, lag and dead letters, until q", "fanbridge top"),
            ("once a minute into a file", "fanbridge top --every 1m --format ndjson > top.ndjson"),
        ],
        exits: &[DONE, USAGE, NO_BRIDGE, (75, "the bridge was away for 15 s"), CONFIG],
    },
    VerbHelp {
        verb: "dead",
        examples: &[("what could not be delivered", "fanbridge dead list")],
        exits: &[
            DONE,
            (1, "a dead letter is not there, or stays"),
            UNCONFIRMED,
            NOT_LEFT,
            NOT_RUNNING,
            CONFIG,
        ],
    },
    VerbHelp {
        verb: "dead list",
        examples: &[
            ("the oldest hundred", "fanbridge dead list"),
            ("of one sink and one reason", "fanbridge dead list --sink lake --reason too_large"),
        ],
        exits: &[DONE, (1, "there is no such group"), USAGE, NOT_LEFT, NO_ANSWER, CONFIG],
    },
    VerbHelp {
        verb: "dead groups",
        examples: &[("their causes, the largest first", "fanbridge dead groups")],
        exits: &[DONE, (1, "there is no such group"), USAGE, NOT_LEFT, NO_ANSWER, CONFIG],
    },
    VerbHelp {
        verb: "dead show",
        examples: &[("one of them with its body", "fanbridge dead show 17")],
        exits: &[DONE, (1, "there is no such dead letter"), USAGE, NOT_LEFT, NO_ANSWER, CONFIG],
    },
    VerbHelp {
        verb: "dead export",
        examples: &[("all of a sink, one a line", "fanbridge dead export --sink lake > dead.jsonl")],
        exits: &[DONE, (1, "there is no such group"), USAGE, NOT_LEFT, NO_ANSWER, CONFIG],
    },
    VerbHelp {
        verb: "dead redrive",
        examples: &[
            ("how many would go again", "fanbridge dead redrive --sink lake --dry-run"),
            ("these two, once the cause is mended", "fanbridge dead redrive 17 18 --yes"),
        ],
        exits: &[DONE, (1, "some stay, or are not there"), UNCONFIRMED, UNHEARD, NOT_RUNNING, CONFIG],
    },
    VerbHelp {
        verb: "dead drop",
        examples: &[("for good", "fanbridge dead drop 17 --yes")],
        exits: &[DONE, (1, "it is not there"), UNCONFIRMED, UNHEARD, NOT_RUNNING, CONFIG],
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
            NOT_LEFT,
            NO_ANSWER,
            CONFIG,
        ],
    },
    VerbHelp {
        verb: "reload",
        examples: &[
            ("what would change, and whether that needs a restart", "fanbridge reload --dry-run"),
            ("use what the file says now", "fanbridge reload"),
        ],
        exits: &[
            DONE,
            (1, "nothing changed: it needs a restart, or cannot be prepared"),
            USAGE,
            UNHEARD,
            NOT_RUNNING,
            CONFIG,
        ],
    },
    VerbHelp {
        verb: "pause",
        examples: &[("let a sink rest", "fanbridge pause lake --reason maintenance")],
        exits: &[
            DONE,
            (1, "answers wait for the sink, or there is none"),
            USAGE,
            UNHEARD,
            NOT_RUNNING,
            CONFIG,
        ],
    },
    VerbHelp {
        verb: "resume",
        examples: &[("let it go on", "fanbridge resume lake")],
        exits: &[DONE, (1, "there is no such sink"), USAGE, UNHEARD, NOT_RUNNING, CONFIG],
    },
    VerbHelp {
        verb: "import",
        examples: &[
            (
                "what would become of them",
                "fanbridge import saved/ --source stream --reason outage --dry-run",
            ),
            ("a body on each line, in gzip", "fanbridge import a.ndjson.gz --source stream --reason a --yes"),
        ],
        exits: &[
            DONE,
            (1, "a body was refused; the others are in"),
            (2, "--yes is missing, or the source is unknown"),
            (74, "the files cannot be read, or the running bridge does not answer"),
            NOT_RUNNING,
            (78, "the bridge takes no imports, or the configuration has errors"),
        ],
    },
    VerbHelp {
        verb: "replay",
        examples: &[
            ("how many would go again", "fanbridge replay --sink lake --since 2h --dry-run"),
            ("one type of an hour", "fanbridge replay --sink lake --since 1h --type call.ended --yes"),
        ],
        exits: &[DONE, (1, "there is no such sink or event"), UNCONFIRMED, UNHEARD, NOT_RUNNING, CONFIG],
    },
    VerbHelp {
        verb: "replay list",
        examples: &[("the newest first", "fanbridge replay list")],
        exits: &[DONE, USAGE, UNHEARD, NOT_RUNNING, CONFIG],
    },
    VerbHelp {
        verb: "replay show",
        examples: &[("how far it is", "fanbridge replay show 1")],
        exits: &[DONE, (1, "there is no such replay"), USAGE, UNHEARD, NOT_RUNNING, CONFIG],
    },
    VerbHelp {
        verb: "replay cancel",
        examples: &[("send nothing more of it", "fanbridge replay cancel 1")],
        exits: &[DONE, (1, "there is no such replay"), USAGE, UNHEARD, NOT_RUNNING, CONFIG],
    },
];
