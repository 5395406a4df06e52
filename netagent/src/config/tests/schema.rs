//! The JSON schema as a whole. A change of what it tells editors is seen in schema.json.

use std::{env, fs};

use serde_json::Value;

use super::super::schema;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/tests/schema.json");

/// `UPDATE_DOCS=1 cargo test -p netagent schema` updates schema.json.
#[test]
fn the_schema_is_that_of_the_repository() {
    let schema = schema();
    let text = format!("{:#}\n", schema.as_value());
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(FILE, &text).unwrap();
    }
    let kept = fs::read_to_string(FILE).unwrap();
    let differs = text.lines().zip(kept.lines()).enumerate().find(|(_, (new, old))| new != old);
    assert_eq!(differs, None, "UPDATE_DOCS=1 cargo test -p netagent schema");
    assert_eq!(text.len(), kept.len(), "UPDATE_DOCS=1 cargo test -p netagent schema");
}

#[test]
fn the_schema_describes_every_key_and_refuses_unknown_ones() {
    fn walk(value: &Value, objects: &mut usize) {
        if let Some(Value::Object(properties)) = value.get("properties") {
            *objects += 1;
            assert_eq!(value.get("additionalProperties"), Some(&Value::Bool(false)), "{value}");
            for (key, property) in properties {
                let description = property.get("description").and_then(Value::as_str);
                assert!(description.is_some_and(|text| !text.contains('\n')), "{key}: {property}");
            }
        }
        match value {
            Value::Object(map) => map.values().for_each(|value| walk(value, objects)),
            Value::Array(values) => values.iter().for_each(|value| walk(value, objects)),
            Value::Null => panic!("null in the schema, which the reader refuses"),
            Value::String(text) => assert_ne!(text, "null"),
            Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut objects = 0;
    walk(schema().as_value(), &mut objects);
    assert_eq!(objects, 11);
}
