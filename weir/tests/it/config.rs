//! `weir config show` and `weir completions`.

use serde_json::Value;

use crate::weir::weir_in;

#[test]
fn every_setting_is_shown_with_its_source_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("weir.toml"), "memory = '1GiB'\n").unwrap();
    let args = ["config", "show", "--token", "s3cret", "--json"];
    let output = weir_in(folder.path(), &args).env("WEIR_FSYNC", "always").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("s3cret"), "{text}");
    let shown: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(shown["config_file"], "weir.toml");
    let from = |name: &str| {
        let rows = shown["settings"].as_array().unwrap();
        let row = rows.iter().find(|row| row["name"] == name).unwrap();
        (row["value"].as_str().unwrap(), row["source"].as_str().unwrap())
    };
    assert_eq!(from("memory"), ("1GiB", "file"));
    assert_eq!(from("fsync"), ("always", "WEIR_FSYNC"));
    assert_eq!(from("token").1, "--token");
    assert_eq!(from("resp"), ("127.0.0.1:6379", "default"));
}

#[test]
fn people_get_a_table_and_are_told_what_would_not_be_taken() {
    let folder = tempfile::tempdir().unwrap();
    let output = weir_in(folder.path(), &["config", "show", "--memory", "much"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let (table, errors) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(table.contains("127.0.0.1:6379") && table.contains("--memory"), "{table}");
    assert!(errors.contains("write a size such as 512MiB"), "{errors}");
}

#[test]
fn shells_get_their_completions() {
    let folder = tempfile::tempdir().unwrap();
    for (shell, word) in [("bash", "_weir"), ("zsh", "#compdef weir"), ("fish", "complete -c weir")] {
        let output = weir_in(folder.path(), &["completions", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && script.contains(word) && script.contains("serve"), "{shell}");
    }
}
