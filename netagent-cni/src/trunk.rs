//! `vlanTrunk`: the VIDs that a VM tags itself.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::Error;

/// An item of the list: a VID, a range, or both.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Item {
    #[serde(rename = "minID")]
    min: Option<i64>,
    #[serde(rename = "maxID")]
    max: Option<i64>,
    id: Option<i64>,
}

/// The VIDs of a list. The messages are those of the bridge plugin, which callers know.
pub fn vids(items: &[Item]) -> Result<BTreeSet<u16>, Error> {
    let vid = |name: &str, number: i64| {
        let vid = u16::try_from(number).ok().filter(|vid| (1..=4094).contains(vid));
        vid.ok_or_else(|| Error::invalid(format!("incorrect trunk {name} parameter")))
    };
    let mut vids = BTreeSet::new();
    for item in items {
        match (item.min, item.max) {
            (Some(min), Some(max)) => {
                let (min, max) = (vid("minID", min)?, vid("maxID", max)?);
                if max < min {
                    return Err(Error::invalid("minID is greater than maxID in trunk parameter"));
                }
                vids.extend(min..=max);
            }
            (None, None) => {}
            (min, _) => {
                let missing = if min.is_none() { "minID" } else { "maxID" };
                return Err(Error::invalid(format!(
                    "minID and maxID should be configured simultaneously, {missing} is missing"
                )));
            }
        }
        if let Some(id) = item.id {
            vids.insert(vid("id", id)?);
        }
    }
    Ok(vids)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<u16>, String> {
        let items: Vec<Item> = serde_json::from_str(text).unwrap();
        vids(&items).map(|vids| vids.into_iter().collect()).map_err(|error| error.msg)
    }

    #[test]
    fn ranges_and_single_vids_are_one_set() {
        let text = r#"[{"minID": 10, "maxID": 12}, {"id": 4094}, {"id": 11}, {"id": 5, "minID": 1, "maxID": 1}]"#;
        assert_eq!(parse(text), Ok(vec![1, 5, 10, 11, 12, 4094]));
        assert_eq!(parse("[]"), Ok(vec![]));
        assert_eq!(parse("[{}]"), Ok(vec![]));
    }

    #[test]
    fn wrong_items_are_named() {
        for (text, message) in [
            (
                r#"[{"minID": 10}]"#,
                "minID and maxID should be configured simultaneously, maxID is missing",
            ),
            (
                r#"[{"maxID": 10}]"#,
                "minID and maxID should be configured simultaneously, minID is missing",
            ),
            (r#"[{"minID": 0, "maxID": 4}]"#, "incorrect trunk minID parameter"),
            (r#"[{"minID": 4, "maxID": 4095}]"#, "incorrect trunk maxID parameter"),
            (r#"[{"minID": 4, "maxID": 3}]"#, "minID is greater than maxID in trunk parameter"),
            (r#"[{"id": -1}]"#, "incorrect trunk id parameter"),
            (r#"[{"id": 70000}]"#, "incorrect trunk id parameter"),
        ] {
            assert_eq!(parse(text), Err(message.to_owned()), "{text}");
        }
    }
}
