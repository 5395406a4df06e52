//! The JSON schema of the file, for editors.

use schemars::{
    Schema,
    generate::SchemaSettings,
    transform::{RecursiveTransform, Transform},
};
use serde_json::{Value, json};

use super::keys::FileKeys;

/// The JSON schema of the file.
pub fn schema() -> Schema {
    let mut schema =
        SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<FileKeys>();
    RecursiveTransform(without_null).transform(&mut schema);
    RecursiveTransform(one_paragraph).transform(&mut schema);
    schema
}

/// An optional key is an `Option` in Rust, and "or null" in schemars. A file with null is refused.
fn without_null(schema: &mut Schema) {
    let is_null = |value: &Value| {
        value.is_null() || *value == json!("null") || *value == json!({ "type": "null" })
    };
    for keyword in ["type", "enum", "anyOf"] {
        let Some(Value::Array(choices)) = schema.get_mut(keyword) else { continue };
        choices.retain(|choice| !is_null(choice));
        if keyword == "enum" || choices.len() > 1 {
            continue;
        }
        match (keyword, choices.pop()) {
            ("type", Some(only)) => {
                schema.insert(keyword.to_owned(), only);
            }
            (_, Some(Value::Object(only))) => {
                schema.remove(keyword);
                schema.ensure_object().extend(only);
            }
            (_, _) => {}
        }
    }
}

/// The lines of a doc comment are one paragraph.
fn one_paragraph(schema: &mut Schema) {
    if let Some(Value::String(description)) = schema.get_mut("description") {
        *description = description.replace('\n', " ");
    }
}
