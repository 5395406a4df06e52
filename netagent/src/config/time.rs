//! Times: "100ms", "1s", or a number of milliseconds.

use schemars::{Schema, json_schema};

use super::value::Value;

/// A time in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Millis(pub u32);

impl Millis {
    /// One hour. A longer time is likely to have the wrong unit.
    const MAX: u32 = 3_600_000;
}

impl Value for Millis {
    fn read(text: &str) -> Result<Self, String> {
        let complaint = || {
            format!("{text:?} is not a time from 0 to 1 hour (100ms, 1s, or 100 for milliseconds)")
        };
        let (digits, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
            (Some(digits), _) => (digits, 1),
            (None, Some(digits)) => (digits, 1000),
            (None, None) => (text, 1),
        };
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(complaint());
        }
        let millis = digits.parse().ok().and_then(|number: u32| number.checked_mul(unit));
        millis.filter(|millis| *millis <= Self::MAX).map(Self).ok_or_else(complaint)
    }

    fn schema() -> Schema {
        json_schema!({ "anyOf": [
            { "type": "integer", "minimum": 0, "maximum": Self::MAX },
            { "type": "string", "pattern": "^[0-9]+(ms|s)?$" },
        ] })
    }
}
