//! `GET /api/v1/openapi.json`: the description of the API as an OpenAPI 3.1 document, made of the table of
//! routes and of the types of bodies and answers.
//!
//! It has no data of the bridge, so it is answered without a token. `deploy/openapi.json` is the same.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value as Json, json};

use super::routes::{AnswerForm, ApiRoute, Parameter, ParameterForm, ROUTES};
use crate::problem::ProblemCode;

/// Statuses with which any request can be refused: by the listener, by the rules of access, or for a fault.
const REFUSALS: [u16; 12] = [400, 401, 403, 404, 405, 408, 413, 415, 421, 431, 500, 503];
/// What a change can be refused with besides.
const CONFLICT: u16 = 409;

static DOCUMENT: LazyLock<String> = LazyLock::new(|| format!("{:#}\n", document()));

pub(super) async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], openapi_document()).into_response()
}

/// The description of the admin API as an OpenAPI 3.1 document.
pub fn openapi_document() -> &'static str {
    &DOCUMENT
}

fn document() -> Json {
    let mut settings = SchemaSettings::draft2020_12().for_serialize();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut answers = settings.into_generator();
    let mut paths = Map::new();
    for route in ROUTES {
        let path = paths.entry(format!("/api/v1{}", route.path)).or_insert_with(|| json!({}));
        path[route.method] = operation(route, &mut answers);
    }
    let mut schemas = answers.take_definitions(true);
    schemas.insert("Problem".into(), problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "fanbridge",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The admin API of a fanbridge. Moments are RFC 3339, positions are numbers, lists \
                            are `{\"items\", \"next\"}`. A change needs the header `X-Fanbridge-Request: 1` \
                            and a body of JSON.",
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }, {}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "responses": {
                "Problem": {
                    "description": "The request is not granted",
                    "content": { "application/problem+json": {
                        "schema": { "$ref": "#/components/schemas/Problem" }
                    } },
                },
            },
        },
    })
}

fn operation(route: &ApiRoute, answers: &mut SchemaGenerator) -> Json {
    let content = match route.answer {
        AnswerForm::Json(schema) => json!({ "application/json": { "schema": schema(answers) } }),
        AnswerForm::Lines => json!({ "application/x-ndjson": { "schema": { "type": "string" } } }),
        AnswerForm::Events => json!({ "text/event-stream": { "schema": { "type": "string" } } }),
        AnswerForm::Any => json!({ "application/json": { "schema": {} } }),
    };
    let mut responses = Map::new();
    responses.insert("200".into(), json!({ "description": "Granted", "content": content }));
    let conflict = [CONFLICT].into_iter();
    for status in REFUSALS.into_iter().chain(conflict) {
        responses.insert(status.to_string(), json!({ "$ref": "#/components/responses/Problem" }));
    }
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.summary,
        "responses": responses,
    });
    let mut parameters: Vec<Json> =
        route.parameters.iter().map(|parameter| described(parameter, route.path)).collect();
    if let Some(body) = route.body {
        parameters.push(json!({
            "name": "X-Fanbridge-Request", "in": "header", "required": true,
            "schema": { "type": "string", "const": "1" },
        }));
        let mut settings = SchemaSettings::draft2020_12();
        (settings.inline_subschemas, settings.meta_schema) = (true, None);
        let schema = body(&mut settings.into_generator());
        operation["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    operation
}

/// `getEventsId` for `GET /events/{id}`.
fn operation_id(route: &ApiRoute) -> String {
    let words = route.path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let capital = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
    route.method.to_owned() + &words.map(capital).collect::<String>()
}

fn described(parameter: &Parameter, path: &str) -> Json {
    let is_in_path = path.contains(&format!("{{{}}}", parameter.name));
    let schema = match parameter.form {
        ParameterForm::Text if is_in_path => json!({ "type": "string", "minLength": 1 }),
        ParameterForm::Text => json!({ "type": "string" }),
        ParameterForm::Flag => json!({ "type": "boolean" }),
        ParameterForm::Moment => json!({ "type": "string", "format": "date-time" }),
        ParameterForm::Number(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        ParameterForm::Word(words) => json!({ "type": "string", "enum": words }),
        ParameterForm::Pattern(pattern) => json!({ "type": "string", "pattern": pattern }),
    };
    json!({
        "name": parameter.name,
        "in": if is_in_path { "path" } else { "query" },
        "required": is_in_path,
        "description": parameter.about,
        "schema": schema,
    })
}

/// The schema of a problem document.
fn problem() -> Json {
    let codes: Vec<&str> = ProblemCode::ALL.iter().map(|code| code.as_str()).collect();
    json!({
        "type": "object",
        "required": ["type", "title", "status", "detail", "code", "instance"],
        "properties": {
            "type": { "type": "string", "pattern": "^urn:fanbridge:problem:[a-z_]+$" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
            "code": { "type": "string", "enum": codes },
            "instance": { "type": "string", "pattern": "^urn:fanbridge:request:[0-9a-f]{16}$" },
        },
    })
}
