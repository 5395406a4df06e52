use super::{render::markdown, *};

/// `UPDATE_DOCS=1 cargo test -p netagent reason` updates docs/drops.md.
#[test]
fn document_matches_explanations() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/drops.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, markdown()).unwrap();
    }
    let document = std::fs::read_to_string(path).unwrap();
    assert_eq!(document, markdown(), "UPDATE_DOCS=1 cargo test -p netagent reason");
}

#[test]
fn every_reason_has_an_explanation_that_fits() {
    for reason in Reason::ALL {
        let Explanation { reason: name, meaning, cause, remedy, .. } = explain(reason);
        assert_eq!(named(name).unwrap(), reason);
        assert!(name.len() + 2 + meaning.len() <= 110, "{name}: {}", meaning.len());
        assert!(!meaning.ends_with('.') && !meaning.contains('|'), "{name}");
        for text in [cause, remedy] {
            assert!(text.ends_with('.') && !text.contains('|') && text.len() < 300, "{name}");
        }
    }
    assert_eq!(list(false).unwrap().lines().count(), Reason::ALL.len() + 2);
}

#[test]
fn unknown_reason_is_answered_with_the_known_ones() {
    let complaint = named("vlan").unwrap_err().to_string();
    assert!(complaint.starts_with("unknown drop reason \"vlan\": use one of "), "{complaint}");
    assert!(complaint.contains("untagged, vlan-not-allowed") && !complaint.contains('\n'));
}

#[test]
fn json_has_one_field_per_part_of_an_explanation() {
    let one: serde_json::Value =
        serde_json::from_str(&one(Reason::Isolated, true).unwrap()).unwrap();
    assert_eq!(one["reason"], "isolated");
    assert_eq!(one["directions"], serde_json::json!(["transmit"]));
    let all: serde_json::Value = serde_json::from_str(&list(true).unwrap()).unwrap();
    assert_eq!(all.as_array().unwrap().len(), Reason::ALL.len());
}
