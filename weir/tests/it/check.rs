//! `weir check` on folders that are sound, damaged, held, or none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;
use weir_core::{AppendOptions, SystemClock};
use weir_engine::{Engine, Fsync, Options};
use weir_log::{LogOptions, RealDisk};

use crate::weir::{Weir, weir_in};

/// An engine on a folder, in segments of 64 KiB.
fn engine(folder: &Path) -> Engine {
    let log = LogOptions { segment_bytes: 64 << 10, ..LogOptions::default() };
    let options = Options { log, fsync: Fsync::Always, background: false, ..Options::default() };
    Engine::open(Arc::new(RealDisk::new(folder)), Arc::new(SystemClock::new()), options).unwrap()
}

/// Entries `from` to `to` of the stream `orders`, about three and a half segments per thousand.
fn append(engine: &Engine, entries: std::ops::Range<u32>) {
    let namespace = engine.namespace("default").unwrap();
    for no in entries {
        let value = format!("{no:0200}");
        namespace.append(b"orders", &[(b"no", value.as_bytes())], &AppendOptions::default()).unwrap();
        engine.background_step().unwrap();
    }
}

/// A folder with a thousand entries, a snapshot, another thousand, and no orderly end.
fn folder_with_data() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path());
    append(&engine, 0..1_000);
    engine.snapshot().unwrap();
    append(&engine, 1_000..2_000);
    folder
}

fn check(folder: &Path, flags: &[&str]) -> Output {
    let path = folder.to_str().unwrap();
    weir_in(folder, &[&["check", path], flags].concat()).output().unwrap()
}

#[track_caller]
fn report(folder: &Path, flags: &[&str], code: i32) -> Value {
    let output = check(folder, &[flags, &["--json"]].concat());
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{text}{errors}");
    serde_json::from_str(&text).unwrap()
}

/// Breaks the entry with this number where it stands in the log, and answers in which file that is.
fn break_entry(folder: &Path, no: u32) -> PathBuf {
    let text = format!("{no:0200}");
    for entry in std::fs::read_dir(folder.join("seg")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(200).position(|window| window == text.as_bytes()) {
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            return path;
        }
    }
    panic!("entry {no} is not in the log");
}

fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(contents(&path)),
            false => drop(found.insert(path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    found
}

#[test]
fn a_sound_folder_is_said_to_be_so_and_stays_as_it_is() {
    let folder = folder_with_data();
    let before = contents(folder.path());
    let found = report(folder.path(), &[], 0);
    assert_eq!((&found["opens"], &found["entries"]), (&true.into(), &2_000.into()), "{found}");
    assert_eq!(found["snapshots"], 1);
    let output = check(folder.path(), &["--repair"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("everything is there and fits together"));
    assert!(contents(folder.path()) == before, "looking changes nothing");
}

#[test]
fn damage_that_keeps_a_folder_from_opening_is_named_and_cut_on_demand() {
    let folder = folder_with_data();
    let file = break_entry(folder.path(), 1_500);
    let before = contents(folder.path());
    let found = report(folder.path(), &[], 1);
    assert_eq!(found["opens"], false);
    let place = format!("seg/{}", file.file_name().unwrap().to_str().unwrap());
    let finding = found["findings"].as_array().unwrap().iter().find(|finding| finding["place"] == *place);
    assert!(finding.unwrap()["remedy"].as_str().unwrap().contains("--repair"), "{found}");
    assert!(contents(folder.path()) == before);

    let repaired = report(folder.path(), &["--repair"], 0);
    assert_eq!((&repaired["opens"], &repaired["entries"]), (&true.into(), &1_500.into()), "{repaired}");
    for saved in repaired["repaired"]["saved"].as_array().unwrap() {
        assert!(folder.path().join(saved.as_str().unwrap()).exists(), "{saved}");
    }
    append(&engine(folder.path()), 0..1);
}

#[test]
fn a_young_folder_without_a_snapshot_opens_after_a_cut() {
    let folder = tempfile::tempdir().unwrap();
    append(&engine(folder.path()), 0..1_000);
    for broken in [500, 200] {
        break_entry(folder.path(), broken);
        assert_eq!(report(folder.path(), &[], 1)["opens"], false);
        let repaired = report(folder.path(), &["--repair"], 0);
        let left = (&repaired["opens"], &repaired["entries"], &repaired["snapshots"]);
        assert_eq!(left, (&true.into(), &broken.into(), &0.into()), "{repaired}");
        append(&engine(folder.path()), broken..1_000);
    }
    assert_eq!(report(folder.path(), &[], 0)["entries"], 1_000);
}

#[test]
fn a_snapshot_that_has_seen_what_is_cut_goes_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path());
    append(&engine, 0..1_000);
    engine.snapshot().unwrap();
    append(&engine, 1_000..1_500);
    // The newest snapshot begins behind the damage, and is damaged itself: the older one needs more of the log.
    engine.snapshot().unwrap();
    append(&engine, 1_500..2_000);
    drop(engine);
    break_entry(folder.path(), 1_200);
    let sound = report(folder.path(), &[], 1);
    assert_eq!(sound["opens"], true, "the newest snapshot needs nothing of it: {sound}");
    let mut snapshots: Vec<_> = contents(&folder.path().join("snap")).into_iter().collect();
    let (newest, bytes) = snapshots.pop().unwrap();
    std::fs::write(&newest, &bytes[..bytes.len() - 3]).unwrap();
    assert_eq!(report(folder.path(), &[], 1)["opens"], false);
    let repaired = report(folder.path(), &["--repair"], 0);
    assert_eq!((&repaired["entries"], &repaired["snapshots"]), (&1_200.into(), &1.into()), "{repaired}");
    assert!(!newest.exists());
}

#[test]
fn an_entry_that_cannot_be_read_is_named_and_nothing_is_cut_for_it() {
    let folder = folder_with_data();
    break_entry(folder.path(), 300);
    let found = report(folder.path(), &["--repair"], 1);
    assert_eq!((&found["opens"], &found["entries"]), (&true.into(), &2_000.into()), "{found}");
    assert!(found.get("repaired").is_none());
    let index = found["findings"].as_array().unwrap().iter().find(|finding| finding["place"] == "index");
    let index = index.unwrap_or_else(|| panic!("nothing about the index in {found}"));
    assert!(index["what"].as_str().unwrap().contains("orders"), "{found}");
    assert!(index["remedy"].as_str().unwrap().contains("XDEL"), "{found}");
}

#[test]
fn without_a_snapshot_that_is_old_enough_nothing_is_cut() {
    let folder = folder_with_data();
    break_entry(folder.path(), 1_500);
    std::fs::remove_dir_all(folder.path().join("snap")).unwrap();
    std::fs::remove_file(folder.path().join("seg/0000000000000000.seg")).unwrap();
    let before = contents(folder.path());
    let output = check(folder.path(), &["--repair"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(errors.contains("restore a backup"), "{errors}");
    assert!(contents(folder.path()) == before);
}

#[test]
fn a_folder_that_is_held_and_one_that_is_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let weir = Weir::start(folder.path(), &["--dir", "."]);
    let output = check(folder.path(), &[]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(errors.contains(&format!("held by process {}", weir.pid())), "{errors}");
    let none = tempfile::tempdir().unwrap();
    assert_eq!(check(none.path(), &[]).status.code(), Some(2));
    assert_eq!(std::fs::read_dir(none.path()).unwrap().count(), 0, "and nothing is made in it");
}
