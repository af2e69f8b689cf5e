//! Description of the routes of dead letters.

use serde_json::{Value, json};

use super::unauthorized;

const LIST: &str = "/api/v1/dead_letters";

/// Returns the paths with their operations.
pub(super) fn paths() -> [(String, Value); 4] {
    [
        (LIST.to_owned(), json!({ "get": list() })),
        (format!("{LIST}/{{sequence}}"), json!({ "get": show() })),
        (
            format!("{LIST}/replay"),
            json!({ "post": act("replay_dead_letters", "Publishes dead letters to their subjects again", &["sequences"]) }),
        ),
        (
            format!("{LIST}/drop"),
            json!({ "post": act("drop_dead_letters", "Removes dead letters permanently", &["sequences", "confirm"]) }),
        ),
    ]
}

fn list() -> Value {
    json!({
        "operationId": "dead_letters",
        "summary": "Lists dead letters, newest first; `next` has the parameters of the next page",
        "parameters": [
            { "name": "limit", "in": "query", "schema": { "type": "integer", "minimum": 1, "maximum": 200, "default": 50 } },
            { "name": "before", "in": "query", "description": "only those with a lower sequence", "schema": sequence() },
        ],
        "responses": responses(json!({ "type": "array", "items": letter() })),
    })
}

fn show() -> Value {
    let mut shown = letter();
    shown["properties"]["encoding"] = json!({ "enum": ["text", "base64"] });
    shown["properties"]["payload"] = json!({ "type": "string" });
    shown["properties"]["is_cut"] = json!({ "type": "boolean", "description": "only the first MiB is returned" });
    shown["properties"]["headers"] = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    let mut responses = responses(shown);
    responses["404"] = json!({ "description": "no such dead letter, or a part of it is missing" });
    json!({
        "operationId": "dead_letter",
        "summary": "Returns a dead letter with its bytes and headers",
        "parameters": [{ "name": "sequence", "in": "path", "required": true, "schema": sequence() }],
        "responses": responses,
    })
}

fn act(operation: &str, summary: &str, required: &[&str]) -> Value {
    let mut properties = json!({
        "sequences": { "type": "array", "items": sequence(), "minItems": 1, "maxItems": 1000, "uniqueItems": true },
        "by": { "type": ["string", "null"], "minLength": 1, "maxLength": 256, "description": "name of the operator, for the log" },
    });
    let is_confirmed = required.contains(&"confirm");
    if is_confirmed {
        properties["confirm"] = json!({ "type": "integer", "description": "the number of sequences" });
    }
    let body =
        json!({ "type": "object", "required": required, "properties": properties, "additionalProperties": false });
    let outcome = json!({
        "type": "object",
        "required": ["sequence", "outcome"],
        "properties": {
            "sequence": sequence(),
            "outcome": { "enum": ["replayed", "dropped", "gone", "refused"] },
            "reason": { "type": "string", "description": "the reason of a refusal" },
        },
    });
    let mut responses = responses(json!({ "type": "array", "items": outcome }));
    for (status, description) in [
        ("403", "a request of another site"),
        ("408", "the body did not arrive in time"),
        ("413", "a body above 64 KiB"),
        ("415", "a content type other than application/json"),
        ("429", "more than 60 requests in a minute"),
    ] {
        responses[status] = json!({ "description": description });
    }
    if is_confirmed {
        responses["409"] = json!({ "description": "`confirm` is not the number of sequences" });
    }
    json!({
        "operationId": operation,
        "summary": summary,
        "requestBody": { "required": true, "content": { "application/json": { "schema": body } } },
        "responses": responses,
    })
}

fn letter() -> Value {
    json!({
        "type": "object",
        "required": ["sequence", "time", "reason", "detail", "size_bytes"],
        "properties": {
            "sequence": sequence(),
            "time": { "type": "string", "format": "date-time" },
            "reason": { "type": "string" },
            "detail": { "type": "string" },
            "subject": { "type": ["string", "null"], "description": "subject of the original" },
            "device": { "type": ["string", "null"], "description": "device that the bytes name, if they can be read" },
            "part": { "type": ["string", "null"], "description": "`1/2`: several messages hold the dead letter" },
            "replays": { "type": "integer" },
            "size_bytes": { "type": "integer" },
        },
    })
}

fn sequence() -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": u64::MAX })
}

fn responses(data: Value) -> Value {
    let schema = json!({ "type": "object", "required": ["status", "data"], "properties": { "status": { "const": "success" }, "data": data } });
    json!({
        "200": { "description": "the answer", "content": { "application/json": { "schema": schema } } },
        "400": { "description": "a request to correct" },
        "401": unauthorized(),
        "500": { "description": "the NATS user lacks a permission, which the message names" },
        "503": { "description": "NATS does not answer, the stream is full, or too many requests run" },
    })
}
