//! OpenAPI description of the HTTP interface, built from the table of query types.

use serde_json::{Map, Value, json};

use super::table::{Param, ParamKind, QUERY_TYPES, QueryType};
use crate::name::MAX_NAME_BYTES;

/// Names have no control characters.
const NAME_PATTERN: &str = r"^[^\u0000-\u001f\u007f-\u009f]+$";

/// Returns the OpenAPI 3.1 document of the HTTP interface.
pub fn openapi(version: &str) -> Value {
    let schemas: Map<String, Value> =
        QUERY_TYPES.iter().map(|query_type| (schema_name(query_type), query_schema(query_type))).collect();
    let requests: Vec<Value> =
        schemas.keys().map(|name| json!({ "$ref": format!("#/components/schemas/{name}") })).collect();
    let names: Vec<&str> = QUERY_TYPES.iter().map(|query_type| query_type.name).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Spindle",
            "version": version,
            "description": "Answers about a storage fleet. The same queries work over NATS (reader.query) and on the command line (spindle query).",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": {
            "/api/v1/query": {
                "post": {
                    "operationId": "query",
                    "summary": "Answers a query",
                    "requestBody": { "required": true, "content": { "application/json": { "schema": { "oneOf": requests } } } },
                    "responses": responses(),
                },
                "get": {
                    "operationId": "query_by_address",
                    "summary": "Answers a query in the address: query_type and its parameters",
                    "parameters": [{ "name": "query_type", "in": "query", "required": true, "schema": { "enum": names } }],
                    "responses": responses(),
                },
            },
            "/api/v1/live": {
                "get": {
                    "operationId": "live",
                    "summary": "Streams changes as server-sent events: `fleet` (verdicts changed), `events` (new events), `beat` every second",
                    "responses": { "200": { "description": "the stream", "content": { "text/event-stream": { "schema": { "type": "string" } } } }, "401": unauthorized() },
                },
            },
            "/api/v1/openapi.json": {
                "get": {
                    "operationId": "openapi",
                    "summary": "Returns this document",
                    "responses": { "200": { "description": "the document", "content": { "application/json": { "schema": { "type": "object" } } } }, "401": unauthorized() },
                },
            },
            "/api/v1/accept": { "post": decision("accept", "Takes a known finding out of a verdict", &["source_device", "metric", "reason"]) },
            "/api/v1/acknowledge": { "post": decision("acknowledge", "States that somebody works on a device", &["source_device", "reason"]) },
        },
        "components": { "schemas": schemas, "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } } },
    })
}

fn schema_name(query_type: &QueryType) -> String {
    format!("query_{}", query_type.name)
}

fn query_schema(query_type: &QueryType) -> Value {
    let properties: Map<String, Value> =
        query_type.params.iter().map(|param| (param.name.to_owned(), param_schema(param))).collect();
    let required: Vec<&str> =
        query_type.params.iter().filter(|param| param.default.is_none()).map(|param| param.name).collect();
    let mut fields = vec!["query_type"];
    if !required.is_empty() {
        fields.push("params");
    }
    json!({
        "type": "object",
        "description": format!("Returns {}.", query_type.help),
        "required": fields,
        "additionalProperties": false,
        // Objects have no order, and a form should.
        "x-order": query_type.params.iter().map(|param| param.name).collect::<Vec<_>>(),
        "properties": {
            "query_type": { "const": query_type.name },
            "params": { "type": if required.is_empty() { json!(["object", "null"]) } else { json!("object") }, "additionalProperties": false, "required": required, "properties": properties },
        },
    })
}

fn param_schema(param: &Param) -> Value {
    // What may be left out may be null.
    let is_optional = param.default.is_some();
    let of_type = |name: &str| if is_optional { json!([name, "null"]) } else { json!(name) };
    let mut schema = match param.kind {
        ParamKind::Integer(min, max) => json!({ "type": of_type("integer"), "minimum": min, "maximum": max }),
        ParamKind::Number(min, max) => json!({ "type": of_type("number"), "minimum": min, "maximum": max }),
        ParamKind::Name => {
            json!({ "type": of_type("string"), "minLength": 1, "maxLength": MAX_NAME_BYTES, "pattern": NAME_PATTERN })
        }
        ParamKind::Place | ParamKind::Names(_) => json!({ "type": of_type("string") }),
        ParamKind::Time => json!({ "type": of_type("string"), "format": "date-time" }),
        ParamKind::Choice(words) => {
            let words = words.iter().map(|word| Value::from(*word));
            json!({ "enum": words.chain(is_optional.then_some(Value::Null)).collect::<Vec<_>>() })
        }
    };
    schema["description"] = param.help.into();
    if let Some(default) = param.default {
        // In words, since some defaults depend on other parameters.
        schema["x-default"] = default.into();
    }
    schema
}

fn responses() -> Value {
    let answer = |description: &str| {
        let schema = json!({ "type": "object", "required": ["status"], "properties": { "status": { "enum": ["success", "error"] } } });
        json!({ "description": description, "content": { "application/json": { "schema": schema } } })
    };
    json!({
        "200": answer("the answer"),
        "400": answer("a query to correct"),
        "401": unauthorized(),
        "413": { "description": "a body above 64 KiB" },
        "503": answer("the store cannot answer, or too many queries run"),
    })
}

fn decision(operation: &str, summary: &str, required: &[&str]) -> Value {
    let mut properties: Map<String, Value> =
        required.iter().map(|name| ((*name).to_owned(), json!({ "type": "string", "minLength": 1 }))).collect();
    properties.insert("until".to_owned(), json!({ "type": "string" }));
    properties.insert("by".to_owned(), json!({ "type": "string" }));
    let schema =
        json!({ "type": "object", "required": required, "properties": properties, "additionalProperties": false });
    let mut responses = responses();
    responses["403"] = json!({ "description": "a request of another site" });
    responses["404"] = json!({ "description": "no such device or finding" });
    responses["415"] = json!({ "description": "a body that is not declared as application/json" });
    responses["429"] = json!({ "description": "too many decisions within a minute" });
    json!({
        "operationId": operation,
        "summary": summary,
        "requestBody": { "required": true, "content": { "application/json": { "schema": schema } } },
        "responses": responses,
    })
}

fn unauthorized() -> Value {
    json!({ "description": "a token is required" })
}
