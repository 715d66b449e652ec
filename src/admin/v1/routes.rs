//! The one table of the routes of version 1: the router and the OpenAPI document are made of it.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{MethodRouter, get, post};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::{Listing, spool, status, types};
use super::{
    configuration, dead, doctor, events, explain, history, import, live, log, openapi, reload, replays,
    sinks, sinks_list, sources_list,
};
use crate::admin::dead as letters;
use crate::admin::{AdminState, DropRequest, RedriveRequest};
use crate::dead_letter::{Document, Dropped};
use crate::state::DeadLetterInfo;
use crate::timeline::StepWord;

/// A route below `/api/v1`.
pub(in crate::admin) struct ApiRoute {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    pub(super) parameters: &'static [Parameter],
    pub(super) body: Option<SchemaOf>,
    pub(super) answer: AnswerForm,
    handler: fn() -> MethodRouter<AdminState>,
}

/// Makes the schema of a type.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What a request that is granted is answered with.
#[derive(Clone, Copy)]
pub(super) enum AnswerForm {
    Json(SchemaOf),
    /// One JSON document on each line.
    Lines,
    /// Server-sent events.
    Events,
    /// Any JSON document.
    Any,
}

/// A parameter in the query, or in the path if it is named there.
#[derive(Clone, Copy)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) form: ParameterForm,
    pub(super) about: &'static str,
}

/// What a parameter looks like.
#[derive(Clone, Copy)]
pub(super) enum ParameterForm {
    Text,
    Flag,
    Moment,
    /// A number within bounds.
    Number(u64, u64),
    /// One of these words.
    Word(&'static [&'static str]),
    /// What this pattern matches.
    Pattern(&'static str),
}

use ParameterForm::{Flag, Moment, Number, Pattern, Text, Word};

const fn parameter(name: &'static str, form: ParameterForm, about: &'static str) -> Parameter {
    Parameter { name, form, about }
}

const AFTER_STEP: Parameter =
    parameter("after", Pattern("^(start|now|[0-9a-f]{8}\\.[0-9]{1,19})$"), "`start`, `now` or a `next`");
const SOURCE: Parameter = parameter("source", Text, "only of this source");
const TYPE: Parameter = parameter("type", Text, "only of this event type");
const VERDICT: Parameter = parameter("verdict", Word(&StepWord::WORDS), "only with this word");
const SINK: Parameter = parameter("sink", Text, "only of this sink");
const ID: Parameter =
    parameter("id", Pattern("^[!-~]{4,254}$"), "only of events with these ids: whole or begun");
const FAILED: Parameter =
    parameter("failed", Word(&["true", "false"]), "only what an operator has to look at");
const LETTERS: [Parameter; 7] = [
    SINK,
    parameter("quarantined", Flag, "only deliveries that never became an event"),
    parameter("reason", Text, "only with this reason"),
    TYPE,
    parameter("group", Text, "only of the group with this id"),
    parameter("after", Number(0, u64::MAX), "only with a higher number"),
    parameter("limit", Number(1, 1000), "at most this many"),
];
const REPLAY: Parameter = parameter("id", Number(0, u64::MAX), "the number of a replay");
const NAME: Parameter = parameter("name", Text, "the name of a sink");

/// The routes.
pub(in crate::admin) const ROUTES: &[ApiRoute] = &[
    reads(
        "/status",
        "How things are, in a sentence and in numbers",
        || get(status::status),
        json::<status::StatusInWords>,
    ),
    ApiRoute {
        parameters: &[
            AFTER_STEP,
            parameter("limit", Number(1, 1000), "at most this many"),
            parameter(
                "wait",
                Pattern("^([0-9]|1[0-9]|2[0-5])s$"),
                "how long to wait for a step, at most `25s`",
            ),
            SOURCE,
            TYPE,
            VERDICT,
            SINK,
            ID,
            FAILED,
        ],
        ..reads(
            "/events",
            "The last steps of deliveries and events",
            || get(events::events),
            json::<events::StepsAnswer>,
        )
    },
    ApiRoute {
        parameters: &[AFTER_STEP, SOURCE, TYPE, VERDICT, SINK, ID, FAILED],
        answer: AnswerForm::Events,
        ..reads("/events/stream", "Steps as they come", || get(live::stream), json::<()>)
    },
    ApiRoute {
        parameters: &[
            parameter("id", Text, "an id or its beginning, `position:42` or `request:5f1c…`"),
            SOURCE,
            parameter("since", Moment, "only what arrived then or later"),
            parameter("payload", Word(&["1", "0"]), "`1` for the body as well, if that is allowed"),
        ],
        ..reads(
            "/events/{id}",
            "What became of an event, and why",
            || get(explain::event),
            json::<crate::explain::Explanation>,
        )
    },
    ApiRoute {
        parameters: &[
            parameter("since", Moment, "only what arrived then or later"),
            parameter("until", Moment, "only what arrived before then"),
            TYPE,
            parameter("family", Text, "only of this family"),
            SOURCE,
            parameter("before", Number(0, u64::MAX), "only before this position: the `next` of a page"),
            parameter("limit", Number(1, 1000), "at most this many"),
        ],
        ..reads(
            "/log",
            "The entries of the log, newest first, without their bodies",
            || get(log::entries),
            json::<log::LogAnswer>,
        )
    },
    reads(
        "/sinks",
        "The sinks: state, rate, and what they hold",
        || get(sinks_list::sinks),
        json::<Listing<sinks_list::SinkItem>>,
    ),
    ApiRoute {
        parameters: &[NAME],
        ..changes(
            "/sinks/{name}/pause",
            "Let a sink rest",
            || post(sinks::pause),
            json::<sinks::PauseRequest>,
            json::<sinks::PausedAnswer>,
        )
    },
    ApiRoute {
        parameters: &[NAME],
        ..changes(
            "/sinks/{name}/resume",
            "Let a paused sink go on",
            || post(sinks::resume),
            json::<sinks::ResumeRequest>,
            json::<Option<sinks::PausedAnswer>>,
        )
    },
    reads(
        "/sources",
        "The sources: verdicts, refusals, secrets in use",
        || get(sources_list::sources),
        json::<Listing<sources_list::SourceItem>>,
    ),
    ApiRoute {
        parameters: &[parameter("name", Text, "the name of a source")],
        ..changes(
            "/sources/{name}/import",
            "Take saved bodies in by a source, without their signatures",
            || post(import::import).layer(DefaultBodyLimit::max(import::IMPORT_BYTES_MAX)),
            json::<import::ImportRequest>,
            json::<import::ImportAnswer>,
        )
    },
    reads(
        "/spool",
        "The space of the log, and how fast its disk answers",
        || get(spool::spool),
        json::<spool::SpoolDetail>,
    ),
    reads(
        "/types",
        "The event types that have arrived",
        || get(types::types),
        json::<Listing<types::TypeItem>>,
    ),
    ApiRoute {
        parameters: &[
            parameter("provider", Text, "the name of a provider"),
            parameter("type", Text, "the type as the provider names it"),
        ],
        ..reads(
            "/types/{provider}/{type}",
            "One event type: who sends it, and where it goes",
            || get(types::event_type),
            json::<types::TypeDetail>,
        )
    },
    ApiRoute {
        parameters: &LETTERS,
        ..reads("/dead", "The dead letters, in pages", || get(dead::list), json::<Listing<DeadLetterInfo>>)
    },
    ApiRoute {
        parameters: &LETTERS,
        ..reads(
            "/dead/groups",
            "The dead letters by their cause",
            || get(dead::groups),
            json::<dead::GroupsAnswer>,
        )
    },
    ApiRoute {
        parameters: &[parameter("id", Number(0, u64::MAX), "the number of a dead letter")],
        ..reads("/dead/{id}", "A dead letter with its body", || get(letters::show), json::<Document>)
    },
    ApiRoute {
        parameters: &LETTERS,
        answer: AnswerForm::Lines,
        ..reads(
            "/dead/export",
            "Dead letters with their bodies, in pages",
            || get(letters::export),
            json::<()>,
        )
    },
    changes(
        "/dead/redrive",
        "Deliver dead letters again",
        || post(letters::redrive),
        json::<RedriveRequest>,
        json::<letters::RedriveAnswer>,
    ),
    changes(
        "/dead/drop",
        "Remove dead letters for good",
        || post(letters::drop),
        json::<DropRequest>,
        json::<Dropped>,
    ),
    reads("/replays", "The replays, newest first", || get(replays::list), json::<replays::ReplayList>),
    changes(
        "/replays",
        "Send delivered events to a sink again",
        || post(replays::begin),
        json::<replays::ReplayRequest>,
        json::<replays::BeginAnswer>,
    ),
    ApiRoute {
        parameters: &[REPLAY],
        ..reads("/replays/{id}", "A replay", || get(replays::show), json::<replays::ReplayAnswer>)
    },
    ApiRoute {
        parameters: &[REPLAY],
        ..changes(
            "/replays/{id}/cancel",
            "End a replay",
            || post(replays::cancel),
            json::<replays::CancelRequest>,
            json::<replays::ReplayAnswer>,
        )
    },
    ApiRoute {
        parameters: &[parameter("minutes", Number(1, 60), "how far back")],
        ..reads(
            "/history",
            "The numbers of the last minutes in columns, for plots",
            || get(history::history),
            json::<crate::admin::history::HistoryAnswer>,
        )
    },
    reads(
        "/doctor/facts",
        "What only the running process can tell `fanbridge doctor`",
        || get(doctor::facts),
        json::<doctor::DoctorFacts>,
    ),
    reads(
        "/configuration",
        "The values that count, and where each is written",
        || get(configuration::configuration),
        json::<configuration::ConfigurationAnswer>,
    ),
    changes(
        "/reload",
        "Read the configuration again, and use it if that needs no restart",
        || post(reload::reload),
        json::<reload::ReloadRequest>,
        json::<crate::admin::ReloadAnswer>,
    ),
    ApiRoute {
        answer: AnswerForm::Any,
        ..reads("/openapi.json", "This document", || get(openapi::openapi), json::<()>)
    },
];

const fn reads(
    path: &'static str,
    summary: &'static str,
    handler: fn() -> MethodRouter<AdminState>,
    answer: SchemaOf,
) -> ApiRoute {
    let answer = AnswerForm::Json(answer);
    ApiRoute { method: "get", path, summary, parameters: &[], body: None, answer, handler }
}

const fn changes(
    path: &'static str,
    summary: &'static str,
    handler: fn() -> MethodRouter<AdminState>,
    body: SchemaOf,
    answer: SchemaOf,
) -> ApiRoute {
    ApiRoute { method: "post", body: Some(body), ..reads(path, summary, handler, answer) }
}

fn json<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The router of these routes.
pub(in crate::admin) fn router() -> Router<AdminState> {
    ROUTES.iter().fold(Router::new(), |router, route| router.route(route.path, (route.handler)()))
}
