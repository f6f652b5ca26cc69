//! The committed inputs of the fuzz targets, given to them in every test run.

use crate::tree::root;

#[path = "../../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "a library of its own elsewhere")]
mod targets;

#[test]
fn every_committed_input_passes() {
    for (name, target) in targets::TARGETS {
        let folder = root().join("fuzz/corpus").join(name);
        let mut count = 0;
        for entry in
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        {
            let path = entry.unwrap().path();
            let input = std::fs::read(&path).unwrap();
            let passed = std::panic::catch_unwind(|| target(&input));
            assert!(passed.is_ok(), "the target {name} fails on {}", path.display());
            count += 1;
        }
        assert!(count > 0, "{} is empty", folder.display());
    }
}

#[test]
fn every_target_has_its_file() {
    let files = std::fs::read_dir(root().join("fuzz/fuzz_targets")).unwrap().flatten();
    let mut files: Vec<_> = files.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    files.sort();
    let mut targets: Vec<_> = targets::TARGETS.iter().map(|(name, _)| format!("{name}.rs")).collect();
    targets.sort();
    assert_eq!(files, targets);
}
