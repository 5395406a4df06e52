use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::*;
use crate::{
    change::{Change, LinkChange},
    state::{Part, UnitId},
};

/// A state directory, removed when the test ends.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let name = format!("netagent-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _old = fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

fn header() -> Header {
    Header {
        boot: "one".to_owned(),
        time: Duration::from_secs(120),
        links: [].into(),
        answered: [Target::Gateway4, Target::Address("10.0.0.9".parse().unwrap())].into(),
        text: "new".to_owned(),
    }
}

fn done(device: &str) -> Done {
    let device = device.parse().unwrap();
    let undo = vec![Change::Link(LinkChange::SetMtu(device, 1500))];
    Done { unit: UnitId::new(Part::Port, &"tap1".parse().unwrap()), undo }
}

fn open(directory: &Path) -> UndoLog {
    UndoLog::open(directory, "one").unwrap().unwrap()
}

#[test]
fn steps_are_undone_from_the_last_one_by_whichever_process() {
    let directory = Directory::new("undo-log");
    let mut log = UndoLog::begin(&directory.0, header()).unwrap();
    assert!(UndoLog::begin(&directory.0, header()).is_err(), "one at a time");
    for device in ["one", "two", "three"] {
        log.push(done(device)).unwrap();
    }
    // A unit was rolled back by itself.
    log.truncate(2).unwrap();
    log.push(done("four")).unwrap();
    log.complete(Duration::from_secs(7)).unwrap();
    let mut log = open(&directory.0);
    assert_eq!((log.deadline(), log.header()), (Some(Duration::from_secs(7)), &header()));
    assert_eq!(log.decide().unwrap(), Decided::Undo);
    assert!(confirm(&directory.0, "one").unwrap_err().to_string().contains("too late"));
    assert_eq!(log.last().unwrap(), Some(done("four")));
    log.truncate(log.steps() - 1).unwrap();
    // Another process continues.
    let mut log = open(&directory.0);
    assert!(log.is_undone());
    for device in ["two", "one"] {
        assert_eq!(log.last().unwrap(), Some(done(device)));
        log.truncate(log.steps() - 1).unwrap();
    }
    assert_eq!(log.last().unwrap(), None);
    log.remove().unwrap();
    assert!(UndoLog::open(&directory.0, "one").unwrap().is_none());
}

/// The process ends while it writes.
#[test]
fn log_that_is_cut_short_has_the_steps_before() {
    let directory = Directory::new("cut-short");
    let mut log = UndoLog::begin(&directory.0, header()).unwrap();
    let path = directory.0.join("trial.jsonl");
    let first = fs::metadata(&path).unwrap().len();
    log.push(done("one")).unwrap();
    let second = fs::metadata(&path).unwrap().len();
    log.push(done("two")).unwrap();
    let text = fs::read(&path).unwrap();
    for length in 0..=text.len() {
        fs::write(&path, &text[..length]).unwrap();
        let found = UndoLog::open(&directory.0, "one").unwrap();
        let length = length as u64;
        let last = found.map(|mut log| log.last().unwrap());
        let expected = match length {
            _ if length < first => None,
            _ if length < second => Some(None),
            _ if length < text.len() as u64 => Some(Some(done("one"))),
            _ => Some(Some(done("two"))),
        };
        assert_eq!(last, expected, "{length} bytes");
    }
}

/// What damages the file at a path.
type Damage = fn(&Path);

#[test]
fn log_that_cannot_be_read_is_set_aside_and_shows() {
    let directory = Directory::new("damaged-log");
    fs::create_dir(&directory.0).unwrap();
    let unconfirmed = Unconfirmed { text: "new".to_owned(), links: [].into(), reason: None };
    Records::read(&directory.0).set_unconfirmed(unconfirmed).unwrap();
    let path = |name: &str| directory.0.join(name);
    let ways: [(&str, Damage); 4] = [
        ("trial.jsonl", |path| fs::write(path, "xx").unwrap()),
        ("trial.undo", |path| fs::write(path, "{\"Header\": 1}\n").unwrap()),
        ("trial.undo", |path| fs::create_dir(path).unwrap()),
        ("trial.jsonl", |path| std::os::unix::fs::symlink("/dev/zero", path).unwrap()),
    ];
    for (number, (name, damage)) in ways.into_iter().enumerate() {
        damage(&path(name));
        // Whoever only looks changes nothing: the daemon may be about to note the reason.
        assert_eq!(pending(&directory.0).unwrap(), None, "{name}");
        assert_eq!(findings(&directory.0).len(), number + 1, "{name}");
        assert!(fs::symlink_metadata(path(name)).is_ok(), "{name}");
        assert!(UndoLog::open(&directory.0, "one").unwrap().is_none(), "{name}");
        assert!(fs::symlink_metadata(path(name)).is_err(), "{name}");
        assert_eq!(findings(&directory.0).len(), number + 1, "{name}");
    }
    assert!(path("trial.jsonl.damaged-2").is_symlink() && path("trial.undo.damaged-2").is_dir());
    let reason = Records::read(&directory.0).unconfirmed.unwrap().reason;
    assert_eq!(reason.as_deref(), Some("its undo log is damaged"));
    // A step in the middle.
    let mut log = UndoLog::begin(&directory.0, header()).unwrap();
    log.push(done("one")).unwrap();
    let text = fs::read_to_string(path("trial.jsonl")).unwrap();
    let wrong = text.replace("\"Done\"", "\"Dine\"");
    fs::write(path("trial.jsonl"), wrong).unwrap();
    log = open(&directory.0);
    assert_eq!((log.damaged(), log.last().unwrap()), (1, None));
}

#[test]
fn confirmation_and_undo_exclude_each_other() {
    let directory = Directory::new("confirmation");
    assert!(!confirm(&directory.0, "one").unwrap(), "nothing is on trial");
    let mut records = Records::read(&directory.0);
    let unconfirmed = Unconfirmed { text: "new".to_owned(), links: [].into(), reason: None };
    records.set_unconfirmed(unconfirmed.clone()).unwrap();
    let log = UndoLog::begin(&directory.0, header()).unwrap();
    assert_eq!(log.decided(), None);
    assert!(confirm(&directory.0, "one").unwrap());
    assert_eq!(log.decided(), Some(Decided::Confirmed));
    assert_eq!(log.decide().unwrap(), Decided::Confirmed);
    let mut records = Records::read(&directory.0);
    assert!(records.is_confirmed("new") && records.unconfirmed.is_none());
    // Another file that needs no trial does not confirm the one that was rolled back.
    records.set_unconfirmed(Unconfirmed { text: "bad".to_owned(), ..unconfirmed }).unwrap();
    records.confirm("one", "new").unwrap();
    assert!(Records::read(&directory.0).is_unconfirmed("bad"));
}

/// A process that is killed alters a link, another one completes the change.
#[test]
fn links_that_were_altered_in_this_boot_are_of_the_file_that_is_confirmed() {
    let directory = Directory::new("touched");
    let links = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
    Records::touch(&directory.0, "one", &links(&["eth0"])).unwrap();
    Records::touch(&directory.0, "one", &links(&["eth1"])).unwrap();
    Records::read(&directory.0).confirm("one", "new").unwrap();
    let confirmed = || Records::read(&directory.0).confirmed.unwrap().links;
    assert_eq!(confirmed(), links(&["eth0", "eth1"]));
    // In another boot it was for another file.
    Records::touch(&directory.0, "one", &links(&["eth2"])).unwrap();
    Records::read(&directory.0).confirm("two", "new").unwrap();
    assert_eq!(confirmed(), links(&["eth0", "eth1"]));
    assert!(!directory.0.join("touched.json").exists());
}

#[test]
fn trial_of_another_boot_has_nothing_to_undo() {
    let directory = Directory::new("other-boot");
    let mut log = UndoLog::begin(&directory.0, header()).unwrap();
    log.push(done("one")).unwrap();
    assert!(UndoLog::open(&directory.0, "two").unwrap().is_none());
    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 0);
}
