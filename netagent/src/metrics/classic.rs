//! Converts `OpenMetrics` to the classic text format 0.0.4. In the classic format a family has the
//! name of its samples, suffix included, and there are no info types, units and end marker.

/// Converts the output of prometheus-client: counters, gauges and infos, HELP before TYPE.
pub fn from_openmetrics(text: &str) -> String {
    let mut classic = String::with_capacity(text.len());
    let mut push = |parts: &[&str]| {
        classic.extend(parts.iter().copied().chain(["\n"]));
    };
    let mut help = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            if let Some((name, help)) = help.take() {
                push(&["# HELP ", name, suffix, " ", help]);
            }
            push(&["# TYPE ", name, suffix, " ", kind]);
        } else if !line.starts_with('#') {
            push(&[line]);
        }
    }
    classic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_get_their_suffix_and_openmetrics_lines_are_removed() {
        let openmetrics = "\
# HELP a_bytes All \"bytes\".
# TYPE a_bytes counter
# UNIT a_bytes bytes
a_bytes_total{device=\"x # y\"} 1
# HELP b What b is.
# TYPE b info
b_info{version=\"1\"} 1
# HELP c A gauge.
# TYPE c gauge
c 0.5
# TYPE d unknown
d 1
# EOF
";
        insta::assert_snapshot!(from_openmetrics(openmetrics), @r#"
        # HELP a_bytes_total All "bytes".
        # TYPE a_bytes_total counter
        a_bytes_total{device="x # y"} 1
        # HELP b_info What b is.
        # TYPE b_info gauge
        b_info{version="1"} 1
        # HELP c A gauge.
        # TYPE c gauge
        c 0.5
        # TYPE d untyped
        d 1
        "#);
    }
}
