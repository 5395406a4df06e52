use std::collections::BTreeSet;

use super::{api::routes, openapi::document};

#[test]
fn the_description_has_every_path_and_no_open_reference() {
    let document = document();
    for route in routes() {
        let operation = &document["paths"][route.path][route.method.as_str().to_lowercase()];
        assert!(operation["summary"].is_string(), "{} {}", route.method, route.path);
        assert_eq!(operation["requestBody"].is_object(), route.request.is_some());
    }
    let text = document.to_string();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let references: BTreeSet<&str> = text
        .split("\"#/components/schemas/")
        .skip(1)
        .filter_map(|rest| rest.split_once('"').map(|(name, _)| name))
        .collect();
    assert!(references.contains("Finding"), "{references:?}");
    for reference in references {
        assert!(schemas.contains_key(reference), "{reference}");
    }
}
