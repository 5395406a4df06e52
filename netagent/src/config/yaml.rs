//! The YAML parser with limits, and its errors in plain words.

use serde::de::DeserializeOwned;
use serde_saphyr::{
    DuplicateKeyPolicy, Error, MergeKeyPolicy, NonFiniteFloatPolicy, Options, Spanned,
    alias_limits, budget, options,
};

use super::{
    error::{Blame, Fault, Place},
    keys::FileKeys,
    tree::{Tree, Yaml},
};

/// The places of all keys. Duplicate keys are accepted, so that the error of [`file()`] about them
/// has a path.
pub fn tree(text: &str) -> Result<Tree, Fault> {
    let root: Spanned<Yaml> =
        serde_saphyr::from_str_with_options(text, limits(DuplicateKeyPolicy::PassThrough))
            .map_err(|error| fault(&error))?;
    let tree = Tree::new(&root);
    if tree.is_empty() {
        return Err(Fault::new(
            Place::START,
            "the file is empty; it needs at least clusterNetworks (see examples/)",
        ));
    }
    Ok(tree)
}

/// The keys of the file.
pub fn file(text: &str) -> Result<FileKeys, Fault> {
    serde_saphyr::from_str_with_options(text, limits(DuplicateKeyPolicy::Error))
        .map_err(|error| fault(&error))
}

/// A value of another file, whose scalars have the texts of this one's. JSON is YAML.
pub fn value<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_saphyr::from_str_with_options(text, limits(DuplicateKeyPolicy::Error))
        .map_err(|error| fault(&error).message)
}

/// Limits above any sensible use of anchors in a file of 1 MiB, and below that of a bomb.
fn limits(duplicate_keys: DuplicateKeyPolicy) -> Options {
    options! {
        budget: budget! { max_depth: 16, max_aliases: 256, max_anchors: 256, max_documents: 2 },
        alias_limits: alias_limits! { max_total_replayed_events: 20_000, max_replay_stack_depth: 4 },
        duplicate_keys: duplicate_keys,
        // Merged keys have no places of their own, and YAML 1.2 has none.
        merge_keys: MergeKeyPolicy::Error,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        strict_booleans: true,
        reject_unsupported_tags: true,
        reject_tagged_field_names: true,
        with_snippet: false,
    }
}

fn fault(error: &Error) -> Fault {
    let error = error.without_snippet();
    let place = error.location().filter(|location| location.line() > 0);
    let mut fault = Fault::new(place.map_or(Place::START, Place::from), message(error));
    if let Error::SerdeMissingField { .. } = error {
        fault.blame = Blame::Mapping;
    }
    fault
}

fn message(error: &Error) -> String {
    match error {
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            "nested too deep, too large, or with too many aliases for a configuration; write it \
             plainly"
                .to_owned()
        }
        Error::Message { msg, .. } => msg.clone(),
        Error::AliasError { error, .. } => message(error.without_snippet()),
        Error::SerdeUnknownField { expected, .. } => {
            format!("unknown key; the keys here are {}", expected.join(", "))
        }
        Error::SerdeMissingField { field, .. } => format!("the key {field:?} is missing; add it"),
        Error::DuplicateMappingKey { .. } => "the key appears twice; remove one".to_owned(),
        Error::MergeKeyNotAllowed { .. } => {
            "merge keys (<<) are not supported; write the keys out".to_owned()
        }
        Error::MultipleDocuments { .. } => {
            "a second document starts here; a file holds one: remove the \"---\"".to_owned()
        }
        Error::Unexpected { expected: "mapping start", .. } => {
            "must be a mapping of keys to values ({ key: value })".to_owned()
        }
        Error::Unexpected { expected: "sequence start", .. } => {
            "must be a list ([a, b])".to_owned()
        }
        Error::Unexpected { expected: "string scalar", .. } => {
            "must be a single value, neither a list nor a mapping".to_owned()
        }
        Error::InvalidScalar { ty, .. } if ty.contains("bool") => {
            "must be true or false".to_owned()
        }
        Error::InvalidBooleanStrict { .. } => "must be true or false".to_owned(),
        other => {
            let text = other.render();
            // The place is in front of the message.
            let end = text.find(" at line ").unwrap_or(text.len());
            format!("not valid YAML: {}", &text[..end])
        }
    }
}
