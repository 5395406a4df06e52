//! The file as a tree of places: it finds the key at a place, and the place of a key.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess},
};
use serde_saphyr::Spanned;

use super::error::{Blame, Fault, Place};

/// All keys and values of a file, parents before children.
pub struct Tree(Vec<TreeEntry>);

struct TreeEntry {
    place: Place,
    /// Index of the parent.
    parent: usize,
    step: Step,
    is_null: bool,
}

/// The step from the parent to an entry.
enum Step {
    Root,
    /// A key of a mapping.
    Key(String),
    /// The value of a key.
    Value,
    /// An item of a sequence.
    Item(usize),
}

impl Tree {
    /// Walks a parsed document.
    pub fn new(root: &Spanned<Yaml>) -> Self {
        let mut tree = Self(Vec::new());
        tree.walk(root, 0, Step::Root);
        tree
    }

    fn push(&mut self, place: Place, parent: usize, step: Step, is_null: bool) -> usize {
        self.0.push(TreeEntry { place, parent, step, is_null });
        self.0.len() - 1
    }

    fn walk(&mut self, node: &Spanned<Yaml>, parent: usize, step: Step) {
        let is_null = matches!(node.value, Yaml::Null);
        let this = self.push(node.referenced.into(), parent, step, is_null);
        if node.referenced != node.defined {
            // All values behind an alias have the alias's place: the alias is to blame.
            return;
        }
        match &node.value {
            Yaml::Null | Yaml::Scalar => {}
            Yaml::Sequence(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.walk(item, this, Step::Item(index));
                }
            }
            Yaml::Mapping(entries) => {
                for (name, value) in entries {
                    let key = self.push(
                        name.referenced.into(),
                        this,
                        Step::Key(name.value.clone()),
                        false,
                    );
                    self.walk(value, key, Step::Value);
                }
            }
        }
    }

    /// Whether the file has no key at all.
    pub fn is_empty(&self) -> bool {
        self.0.first().is_none_or(|root| root.is_null)
    }

    /// Refuses keys without a value: `uplink:` with its lines commented out would otherwise mean
    /// "no uplink". A section of the file may be empty.
    pub fn refuse_nulls(&self) -> Result<(), Fault> {
        let is_section = |entry: &TreeEntry| {
            matches!(entry.step, Step::Value) && self.0[entry.parent].parent == 0
        };
        match self.0.iter().find(|entry| entry.is_null && !is_section(entry)) {
            None => Ok(()),
            Some(entry) => Err(Fault::new(
                entry.place,
                "has no value; give it one (\"{}\" for a mapping without keys), or remove it",
            )),
        }
    }

    /// The path of the node to blame; empty for the whole file.
    pub fn path(&self, fault: &Fault) -> String {
        let mut here = self.0.iter().filter(|entry| entry.place == fault.place);
        let entry = match fault.blame {
            // serde-saphyr gives a mapping the place of its first key, even after a brace.
            Blame::Mapping => here.next().map(|entry| match entry.step {
                Step::Key(_) => &self.0[entry.parent],
                Step::Root | Step::Value | Step::Item(_) => entry,
            }),
            Blame::Key => here.next_back(),
        };
        entry.map_or_else(String::new, |entry| self.path_of(entry))
    }

    /// The place of an item's key, and its path. The place of an item as a whole is that of its
    /// name. For a key that is absent or behind an alias, the place is that of its parent.
    pub fn locate(&self, item: &str, key: &str) -> (Place, String) {
        let mut path = match key {
            "" => item.to_owned(),
            key => format!("{item}.{key}"),
        };
        loop {
            let mut entries = self.0.iter().filter(|entry| self.path_of(entry) == path);
            let entry = if key.is_empty() { entries.next() } else { entries.next_back() };
            match (entry, path.rfind(['.', '['])) {
                (Some(entry), _) => return (entry.place, path),
                (None, Some(end)) => path.truncate(end),
                (None, None) => return (Place::START, String::new()),
            }
        }
    }

    fn path_of(&self, entry: &TreeEntry) -> String {
        let mut steps = Vec::new();
        let mut entry = Some(entry);
        while let Some(TreeEntry { parent, step, .. }) = entry {
            match step {
                Step::Root => break,
                Step::Key(name) => steps.push(format!(".{name}")),
                Step::Value => {}
                Step::Item(index) => steps.push(format!("[{index}]")),
            }
            entry = self.0.get(*parent);
        }
        let path: String = steps.into_iter().rev().collect();
        path.strip_prefix('.').map_or(path.clone(), str::to_owned)
    }
}

/// Any YAML. The tree does not need the values of scalars.
pub enum Yaml {
    Null,
    Scalar,
    Sequence(Vec<Spanned<Yaml>>),
    Mapping(Vec<(Spanned<String>, Spanned<Yaml>)>),
}

impl<'de> Deserialize<'de> for Yaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl<'de> de::Visitor<'de> for Visitor {
    type Value = Yaml;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_none<E>(self) -> Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Yaml, E> {
        Ok(Yaml::Scalar)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Yaml, E> {
        Ok(Yaml::Scalar)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Yaml, E> {
        Ok(Yaml::Scalar)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Yaml, E> {
        Ok(Yaml::Scalar)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Yaml, E> {
        Ok(Yaml::Scalar)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Yaml, E> {
        Ok(Yaml::Scalar)
    }

    fn visit_str<E>(self, _: &str) -> Result<Yaml, E> {
        Ok(Yaml::Scalar)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Yaml, E> {
        Ok(Yaml::Scalar)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Yaml, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Yaml::Sequence(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Yaml, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Yaml::Mapping(entries))
    }
}
