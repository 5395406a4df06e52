//! Files that are refused, each with its one line. A case of `refused/*.txt` is the text of a file,
//! up to the `# => ` line with its error.

use std::{fmt::Write, fs, path::Path};

use super::super::{MAX_BYTES, load, parse};

fn cases(text: &str) -> Vec<(String, &str)> {
    let mut cases = Vec::new();
    let mut yaml = String::new();
    for line in text.lines() {
        match line.strip_prefix("# => ") {
            Some(error) => cases.push((std::mem::take(&mut yaml), error)),
            // The blank line between two cases is not part of the second.
            None if line.is_empty() && yaml.is_empty() => {}
            None => yaml.extend([line, "\n"]),
        }
    }
    assert_eq!(yaml, "", "the last case has no error");
    cases
}

#[test]
fn bad_files_are_refused_with_one_line_that_names_the_place() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/tests/refused");
    let (mut count, mut wrong) = (0, String::new());
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        for (yaml, expected) in cases(&fs::read_to_string(&path).unwrap()) {
            let error = parse(&yaml, "f.yaml").err().map(|error| error.to_string());
            if error.as_deref() != Some(expected) {
                let name = path.display();
                writeln!(wrong, "{name}:\n{yaml}has  {error:?}\nwant {expected:?}").unwrap();
            }
            count += 1;
        }
    }
    assert_eq!(wrong, "", "{wrong}");
    assert!(count > 130, "only {count} cases found");
}

fn without_comments(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#') && !line.is_empty());
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// A file may be cut off anywhere: the reader must neither panic nor print a second line.
#[test]
fn truncated_files_give_one_line_or_are_accepted() {
    let full = without_comments(include_str!("../../../../examples/full.yaml"));
    for (end, _) in full.char_indices() {
        if let Err(error) = parse(&full[..end], "f.yaml") {
            let line = error.to_string();
            assert!(line.starts_with("f.yaml:") && !line.contains('\n'), "{end}: {line}");
        }
    }
}

#[test]
fn no_single_damaged_byte_makes_the_reader_panic() {
    let full = without_comments(include_str!("../../../../examples/mgmt.yaml"));
    for damage in
        ["\0", "{", "]", "*", "&a ", "\n", "\t", "'", "\"", ":", "- ", "~", "\u{2028}", "!", "|"]
    {
        for (start, _) in full.char_indices().step_by(3) {
            if let Err(error) =
                parse(&format!("{}{damage}{}", &full[..start], &full[start..]), "f.yaml")
            {
                let line = error.to_string();
                assert!(
                    !line.contains(['\n', '\r', '\0', '\u{2028}']),
                    "{damage:?} at {start}: {line}"
                );
            }
        }
    }
}

#[test]
fn alias_bombs_are_refused() {
    let mut text = "clusterNetworks: &a0 [x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..16 {
        let aliases = vec![format!("*a{}", level - 1); 8].join(", ");
        writeln!(text, "a{level}: &a{level} [{aliases}]").unwrap();
    }
    let error = parse(&text, "f.yaml").unwrap_err().to_string();
    assert!(error.contains("too many aliases"), "{error}");
}

#[test]
fn files_that_need_more_room_than_the_maps_have_are_refused() {
    let file = |network: &str, ports: usize, port: &dyn Fn(usize) -> String| {
        let ports = (0..ports)
            .map(|number| format!("  - {{ device: vm{number}, network: a{} }}\n", port(number)));
        let ports = ports.collect::<Vec<_>>().concat();
        format!(
            "clusterNetworks: {{ oob: {{ uplink: {{ nics: [eth2], bond: {{ mode: none }}, native: \
             none }} }} }}\n\
             networks: {{ a: {{ clusterNetwork: oob, {network} }} }}\nports:\n{ports}"
        )
    };
    let plain = |_| String::new();
    let macs = |port| {
        let macs = (0..64).map(|number| format!("\"02:00:00:00:{port:02x}:{number:02x}\""));
        format!(", security: {{ macs: [{}] }}", macs.collect::<Vec<_>>().join(", "))
    };
    let all = "trunk: 1-4094, native: none";
    for (taken, refused, error) in [
        (
            file("vlan: 5", 1023, &plain),
            file("vlan: 5", 1024, &plain),
            "f.yaml:1027:15: ports[1023].device: with vm1023 the ports so far need 1025 ports \
             (uplinks included); a node has room for 1024: remove some",
        ),
        (
            file(all, 2, &plain),
            file(all, 3, &plain),
            "f.yaml:6:15: ports[2].device: with vm2 the ports so far need 16380 counters: one for \
             each VLAN of each port, and one for its link-local frames; a node has room for 14335: \
             allow fewer VLANs",
        ),
        (
            file("vlan: 5", 128, &macs),
            file("vlan: 5", 129, &macs),
            "f.yaml:132:15: ports[128].device: with vm128 the ports so far need 8256 addresses; a \
             node has room for 8192: list fewer",
        ),
    ] {
        parse(&taken, "f.yaml").unwrap();
        assert_eq!(parse(&refused, "f.yaml").unwrap_err().to_string(), error);
    }
}

#[test]
fn long_values_are_cut_in_the_message() {
    let text = format!("metrics: {{ listen: {} }}", "x".repeat(100_000));
    assert!(parse(&text, "f.yaml").unwrap_err().to_string().len() < 500);
}

#[test]
fn files_that_cannot_be_read_say_what_to_do() {
    let directory = std::env::temp_dir().join(format!("netagent-config-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join("f.yaml");
    let error =
        || load(&path).unwrap_err().to_string().replace(&*directory.to_string_lossy(), "DIR");
    let missing = error();
    fs::write(&path, "#".repeat(usize::try_from(MAX_BYTES).unwrap() + 1)).unwrap();
    let large = error();
    let largest = format!("ports:\n{}", "#".repeat(usize::try_from(MAX_BYTES).unwrap() - 7));
    fs::write(&path, &largest).unwrap();
    let fits = load(&path);
    fs::write(&path, b"ports: []\n\xff").unwrap();
    let binary = error();
    fs::write(&path, "ports:\n").unwrap();
    let taken = load(&path);
    fs::remove_dir_all(&directory).unwrap();
    assert_eq!(
        missing,
        "DIR/f.yaml: no such file; create it (examples/ has some) or name another with -c"
    );
    assert_eq!(large, "DIR/f.yaml: is larger than 1 MiB; this is hardly a configuration file");
    assert_eq!(binary, "DIR/f.yaml: is not UTF-8 text (byte 10); save it as UTF-8");
    assert!(taken.is_ok());
    assert_eq!(fits.unwrap().text, largest);
}
