//! The OpenAPI description of the control socket, made from the table of paths and the types.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{
    api::{Route, routes},
    reports::Problem,
};

/// The document (OpenAPI 3.1, whose schemas are JSON Schema 2020-12).
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    let problem = generator.subschema_for::<Problem>();
    let mut paths: Map<String, Value> = Map::new();
    for Route { method, path, summary, request, response, has_text, .. } in routes() {
        let mut operation = json!({
            "summary": summary,
            "responses": {
                "200": { "description": "Done", "content": content(response(&mut generator).as_value()) },
                "default": { "description": "Not done", "content": content(problem.as_value()) },
            },
        });
        if has_text {
            let done = &mut operation["responses"]["200"];
            done["content"]["text/plain"] = json!({ "schema": { "type": "string" } });
            done["headers"] = json!({ "Age": {
                "description": "The age in seconds of what is shown: not 0 while the loop does not answer",
                "schema": { "type": "integer" },
            } });
        }
        let parameters: Vec<Value> = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
            .collect();
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        if let Some(request) = request {
            let schema = request(&mut generator);
            operation["requestBody"] =
                json!({ "required": true, "content": content(schema.as_value()) });
        }
        let operations = paths.entry(path).or_insert_with(|| json!({}));
        operations[method.as_str().to_lowercase()] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "netagent control socket", "version": "v1" },
        "paths": paths,
        "components": { "schemas": generator.take_definitions(true) },
    })
}

fn content(schema: &Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}
