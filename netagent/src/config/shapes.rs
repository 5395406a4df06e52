//! The shapes of values in the file: a scalar, "one or a list", and a mapping by name.

use std::{borrow::Cow, fmt, marker::PhantomData};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, value::MapAccessDeserializer},
};
use serde_saphyr::Spanned;

use super::{error::Place, value::Value};

/// A scalar.
#[derive(Clone, Debug)]
pub struct Scalar<T>(pub T);

impl<'de, T: Value> Deserialize<'de> for Scalar<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // As text, whatever type YAML gives it: "10", 10 and on mean the text to a person.
        let text = String::deserialize(deserializer)?;
        T::read(&text).map(Self).map_err(de::Error::custom)
    }
}

impl<T: Value> JsonSchema for Scalar<T> {
    fn schema_name() -> Cow<'static, str> {
        std::any::type_name::<T>().into()
    }

    // Inline, so that the description of the key and the shape of its value stand together.
    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        T::schema()
    }
}

/// One value, or a list of them.
#[derive(Clone, Debug)]
pub struct List<T>(pub Vec<T>);

impl<'de, T: Value> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match OneOrMany::deserialize(deserializer)? {
            OneOrMany::One(value) => vec![value],
            OneOrMany::Many(items) => items.into_iter().map(|Scalar(value)| value).collect(),
        }))
    }
}

impl<T: Value> JsonSchema for List<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("list of {}", std::any::type_name::<T>()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let list = json_schema!({ "type": "array", "items": T::schema(), "minItems": 1 });
        json_schema!({ "anyOf": [T::schema(), list] })
    }
}

enum OneOrMany<T> {
    One(T),
    Many(Vec<Scalar<T>>),
}

impl<'de, T: Value> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrManyVisitor(PhantomData))
    }
}

struct OneOrManyVisitor<T>(PhantomData<T>);

impl<'de, T: Value> de::Visitor<'de> for OneOrManyVisitor<T> {
    type Value = OneOrMany<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or a list")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        T::read(text).map(OneOrMany::One).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_bool<E: de::Error>(self, truth: bool) -> Result<Self::Value, E> {
        self.visit_str(&truth.to_string())
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(de::Error::custom("must be a value or a list of values, not a mapping"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(OneOrMany::Many(items))
    }
}

/// One mapping, or a list of mappings.
#[derive(Clone, Debug)]
pub enum Mappings<T> {
    One(Box<T>),
    Many(Vec<T>),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Mappings<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MappingsVisitor(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Mappings<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{} or a list", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mapping = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [mapping, { "type": "array", "items": mapping, "minItems": 1 }] })
    }
}

struct MappingsVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> de::Visitor<'de> for MappingsVisitor<T> {
    type Value = Mappings<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping of keys to values, or a list of mappings")
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(E::custom("must be a mapping of keys to values ({ key: value }), or a list of them"))
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self::Value, E> {
        self.visit_str("")
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self::Value, E> {
        self.visit_str("")
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<Self::Value, A::Error> {
        let mapping = T::deserialize(MapAccessDeserializer::new(access))?;
        Ok(Mappings::One(Box::new(mapping)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        if items.is_empty() {
            return Err(de::Error::custom(
                "is an empty list; name at least one, or remove the key",
            ));
        }
        Ok(Mappings::Many(items))
    }
}

/// A value and its place in the file.
#[derive(Clone, Debug)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// The place of the value, or of its name.
    pub place: Place,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Placed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::deserialize(deserializer)?;
        Ok(Self { value, place: referenced.into() })
    }
}

impl<T: JsonSchema> JsonSchema for Placed<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// Values by name, in the order of the file: in a clash the second is wrong.
#[derive(Clone, Debug)]
pub struct Section<K, T>(pub Vec<(Placed<Scalar<K>>, T)>);

impl<K, T> Default for Section<K, T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, K: Value, T: Deserialize<'de>> Deserialize<'de> for Section<K, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(SectionVisitor(PhantomData))
    }
}

struct SectionVisitor<K, T>(PhantomData<(K, T)>);

impl<'de, K: Value, T: Deserialize<'de>> de::Visitor<'de> for SectionVisitor<K, T> {
    type Value = Section<K, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping of names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Section(entries))
    }
}

impl<K: Value, T: JsonSchema> JsonSchema for Section<K, T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{} by name", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let values = generator.subschema_for::<T>();
        json_schema!({
            "type": "object",
            "propertyNames": K::schema(),
            "additionalProperties": values,
        })
    }
}
