//! Texts as YAML scalars.

use std::fmt::Display;

/// Words that YAML does not read as text, or that have a meaning in the file.
const WORDS: [&str; 9] = ["null", "true", "false", "yes", "no", "on", "off", "none", "y"];

/// A scalar, in quotes where YAML needs them.
pub fn scalar(value: impl Display) -> String {
    let text = value.to_string();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+/".contains(&byte);
    let starts_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let is_word = WORDS.contains(&text.to_ascii_lowercase().as_str());
    if starts_well && !is_word && text.bytes().all(plain) {
        return text;
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A list of scalars, on one line.
pub fn list<T: Display>(values: impl IntoIterator<Item = T>) -> String {
    let values: Vec<String> = values.into_iter().map(scalar).collect();
    format!("[{}]", values.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_yaml_would_misread_is_quoted() {
        for (text, expected) in [
            ("eth0", "eth0"),
            ("br0.100", "br0.100"),
            ("10.0.0.1/24", "10.0.0.1/24"),
            ("fd00::1/64", "\"fd00::1/64\""),
            ("no", "\"no\""),
            ("*tap", "\"*tap\""),
            ("a\"b\\c", "\"a\\\"b\\\\c\""),
        ] {
            assert_eq!(scalar(text), expected);
        }
        assert_eq!(list(["eth0", "e#1"]), "[eth0, \"e#1\"]");
    }
}
