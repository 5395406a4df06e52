//! The rooms of docs/architecture.md: no two modules of the agent know each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

type Imports = BTreeMap<String, BTreeSet<String>>;

/// The modules that each module imports, apart from what only tests import.
fn imports() -> Imports {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut imports = Imports::new();
    for entry in fs::read_dir(&source).unwrap().flatten() {
        let path = entry.path();
        let room = path.file_stem().unwrap().to_string_lossy().into_owned();
        collect(&path, imports.entry(room).or_default());
    }
    let rooms: BTreeSet<String> = imports.keys().cloned().collect();
    for (room, known) in &mut imports {
        known.retain(|other| other != room && rooms.contains(other));
    }
    imports
}

fn collect(path: &Path, known: &mut BTreeSet<String>) {
    let name = path.file_stem().unwrap();
    if path.is_dir() {
        if name != "tests" {
            fs::read_dir(path).unwrap().flatten().for_each(|entry| collect(&entry.path(), known));
        }
        return;
    }
    if ["tests", "sample", "rooms", "lib", "main"].iter().any(|skipped| name == *skipped) {
        return;
    }
    let text = fs::read_to_string(path).unwrap();
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let code = code.split("mod tests {").next().unwrap();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => known.extend(word(rest)),
            Some(list) => known.extend(top_level(list).filter_map(word)),
        }
    }
}

/// The items of `a::{b, c}, d}`: `a::{b, c}` and `d`.
fn top_level(list: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    let end = list
        .find(|letter| {
            depth += match letter {
                '{' => 1,
                '}' => -1,
                _ => 0,
            };
            depth < 0
        })
        .unwrap_or(list.len());
    let mut depth = 0;
    list[..end].split(move |letter| {
        depth += match letter {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        letter == ',' && depth == 0
    })
}

fn word(text: &str) -> Option<String> {
    let text = text.trim_start();
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let word = &text[..end.unwrap_or(text.len())];
    (!word.is_empty()).then(|| word.to_owned())
}

/// The rooms that a room knows, directly or by others.
fn reachable(imports: &Imports, from: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from.to_owned()];
    while let Some(room) = open.pop() {
        for known in imports.get(&room).into_iter().flatten() {
            if reached.insert(known.clone()) {
                open.push(known.clone());
            }
        }
    }
    reached
}

#[test]
fn no_room_knows_itself_by_others() {
    let imports = imports();
    assert!(imports["agent"].contains("plan"), "{imports:#?}");
    for room in imports.keys() {
        let known = reachable(&imports, room);
        assert!(!known.contains(room), "{room} is in a cycle with some of {known:?}");
    }
}

#[test]
fn judgement_knows_only_plain_data() {
    let imports = imports();
    let plain = ["bond", "change", "names", "state", "vids"];
    for room in ["plan", "health", "change", "state"] {
        for known in &imports[room] {
            assert!(plain.contains(&known.as_str()), "{room} knows {known}");
        }
    }
    for room in ["show", "metrics", "server", "snapshot", "health"] {
        let known = reachable(&imports, room);
        assert!(!known.contains("datapath") && !known.contains("netlink"), "{room}: {known:?}");
    }
}
