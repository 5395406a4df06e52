//! Why an item is rejected.

use serde::Serialize;

use super::{Item, Origin};

/// A rejected item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// The item's origin.
    pub origin: Origin,
    /// The item.
    pub item: Item,
    /// The reason and the remedy, with the key within the item in front.
    pub problem: String,
}

/// A key of an item. A source that knows the places of its keys can find the place of this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The item's origin.
    pub origin: Origin,
    /// The item.
    pub item: Item,
    /// The key within the item, such as `uplink.nics[1]`; empty for the item as a whole.
    pub key: String,
}

impl Site {
    /// The item as a whole.
    pub fn new(origin: &Origin, item: Item) -> Self {
        Self { origin: origin.clone(), item, key: String::new() }
    }

    /// A key of the same item.
    pub fn at(&self, key: impl Into<String>) -> Self {
        Self { key: key.into(), ..self.clone() }
    }
}

/// Why an item is rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key within the item; empty for the item as a whole.
    pub key: String,
    /// The reason and the remedy.
    pub text: String,
    /// The key of an accepted item that this one clashes with.
    pub earlier: Option<Box<Site>>,
}

impl Problem {
    /// A problem with the value of a key.
    pub fn new(key: impl Into<String>, text: impl Into<String>) -> Self {
        Self { key: key.into(), text: text.into(), earlier: None }
    }

    /// A clash with the value of another key.
    pub fn clash(key: impl Into<String>, text: impl Into<String>, earlier: &Site) -> Self {
        Self { earlier: Some(Box::new(earlier.clone())), ..Self::new(key, text) }
    }
}

/// A rejected item, with its problem in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The item's origin.
    pub origin: Origin,
    /// The item.
    pub item: Item,
    /// The problem.
    pub problem: Problem,
}

impl From<Rejection> for Rejected {
    fn from(Rejection { origin, item, problem }: Rejection) -> Self {
        let Problem { key, text, earlier } = problem;
        let colon = if key.is_empty() { "" } else { ": " };
        let earlier = earlier.map(|site| format!(" ({})", site.origin)).unwrap_or_default();
        Self { origin, item, problem: format!("{key}{colon}{text}{earlier}") }
    }
}
