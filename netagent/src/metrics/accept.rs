//! Selects the text format for a scraper (RFC 9110 §12.5.1, reduced to two formats).

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Classic,
    /// `OpenMetrics` 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The `Content-Type` of a response.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The format of the media range with the highest weight, the first of equal ones. The default
    /// is `Classic`: a client that cannot parse it still shows readable text.
    pub fn negotiate(accept: &str) -> Self {
        let mut best = (Self::Classic, 0);
        for (format, weight) in accept.split(',').filter_map(candidate) {
            if weight > best.1 {
                best = (format, weight);
            }
        }
        best.0
    }
}

/// The format of one media range, and its weight in thousandths.
fn candidate(range: &str) -> Option<(Format, u16)> {
    let mut parts = range.split(';').map(str::trim);
    let (format, version) = match parts.next()?.to_ascii_lowercase().as_str() {
        "application/openmetrics-text" => (Format::OpenMetrics, "1.0.0"),
        "text/plain" | "text/*" | "*/*" => (Format::Classic, "0.0.4"),
        _ => return None,
    };
    let mut weight = 1000;
    for (key, value) in parts.filter_map(|part| part.split_once('=')) {
        let value = value.trim().trim_matches('"');
        match key.trim().to_ascii_lowercase().as_str() {
            "version" if value != version => return None,
            "q" => weight = thousandths(value)?,
            _ => {}
        }
    }
    Some((format, weight))
}

/// Parses a weight: 0 to 1 with at most three decimals.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = decimals.bytes().all(|byte| byte.is_ascii_digit());
    if !matches!(whole, "0" | "1") || decimals.len() > 3 || !digits {
        return None;
    }
    let weight: u16 = format!("{whole}{decimals:0<3}").parse().ok()?;
    (weight <= 1000).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::Format::{Classic, OpenMetrics};
    use super::*;

    #[test]
    fn openmetrics_needs_an_accept_header_that_prefers_it() {
        for (accept, format) in [
            ("", Classic),
            ("*/*", Classic),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Classic),
            ("text/plain", Classic),
            ("application/json", Classic),
            ("application/openmetrics-text", OpenMetrics),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\"", OpenMetrics),
            ("application/openmetrics-text; version=0.0.1", Classic),
            ("application/openmetrics-text;q=0", Classic),
            ("application/openmetrics-text;q=0.4, text/plain;q=0.5", Classic),
            ("text/plain;q=0.5, application/openmetrics-text;q=0.501", OpenMetrics),
            ("application/openmetrics-text, text/plain", OpenMetrics),
            ("text/plain, application/openmetrics-text", Classic),
            // Prometheus 2.42, then Prometheus 3.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;\
                 version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 text/plain;version=1.0.0;escaping=allow-utf-8;q=0.8,\
                 text/plain;version=0.0.4;q=0.4,*/*;q=0.2",
                OpenMetrics,
            ),
            // An invalid weight disqualifies its range.
            ("application/openmetrics-text;q=1.5", Classic),
            ("application/openmetrics-text;q=x", Classic),
        ] {
            assert_eq!(Format::negotiate(accept), format, "{accept}");
        }
    }

    #[test]
    fn weights_have_at_most_three_decimals_and_are_at_most_one() {
        for (text, weight) in [
            ("0", Some(0)),
            ("1", Some(1000)),
            ("0.25", Some(250)),
            ("0.001", Some(1)),
            ("1.000", Some(1000)),
            ("1.001", None),
            ("2", None),
            ("0.5001", None),
            ("0.x", None),
            ("", None),
        ] {
            assert_eq!(thousandths(text), weight, "{text}");
        }
    }

    #[test]
    fn a_response_names_the_version_of_its_format() {
        assert_eq!(Classic.content_type(), "text/plain; version=0.0.4; charset=utf-8");
        let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert_eq!(OpenMetrics.content_type(), openmetrics);
    }
}
