//! How the commands end: exit codes, readers that go away, colours, manual pages, and who is talked to.

use std::process::Stdio;

use super::place::{Place, everywhere};
use crate::weir::{Weir, weir_in};

#[test]
fn what_cannot_be_opened_is_told_with_what_would_do() {
    let place = Place::folder();
    for (url, code, words) in [
        ("kafka://127.0.0.1", 2, "there are memory:, file:DIR, weir://HOST:PORT"),
        ("nonsense", 2, "has no scheme"),
        ("weir://127.0.0.1:1", 1, "start one with `weir serve`"),
        ("redis://127.0.0.1:1", 1, "no broker answers"),
        ("file:not-there", 3, "there is no folder not-there"),
    ] {
        place.weir(&["streams", "--url", url]).failed(code, words);
    }
    assert!(!place.folder.path().join("not-there").exists());
}

#[test]
fn a_folder_that_a_server_holds_is_reached_through_it() {
    let folder = tempfile::tempdir().unwrap();
    let weir = Weir::start(folder.path(), &["--dir", "data", "--token", "s3cret"]);
    let run = |args: &[&str], token: &str| {
        let output =
            weir_in(folder.path(), args).env("WEIR_URL", "file:data").env("WEIR_TOKEN", token).output();
        let output = output.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let (code, text) = run(&["publish", "orders", "a=b"], "s3cret");
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(run(&["publish", "orders", "a=b"], "wrong").0, Some(3));
    drop(weir);
    // Its folder has what it was given.
    let (code, text) = run(&["tail", "orders", "--json"], "");
    assert!(code == Some(0) && text.lines().count() == 1, "{text}");
}

#[test]
fn a_reader_that_goes_away_ends_a_command_quietly() {
    everywhere(|place| {
        place.weir(&["publish", "s", "n={n}", "--count", "20000"]).done();
        let mut command = place.command(&["tail", "s", "--from", "start"]);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(process.stdout.take());
        let output = process.wait_with_output().unwrap();
        assert_eq!(
            (output.status.code(), String::from_utf8(output.stderr).unwrap()),
            (Some(0), String::new())
        );
    });
}

#[test]
fn colours_are_for_terminals_and_not_where_they_are_not_wanted() {
    let place = Place::folder();
    place.weir(&["publish", "s", "n=1"]).done();
    for args in [&["tail", "s"][..], &["streams"]] {
        let coloured = |name: &str, value: &str| {
            let output = place.command(args).env(name, value).output().unwrap();
            output.stdout.contains(&0x1b)
        };
        assert!(!coloured("TERM", "xterm"), "{args:?} into a pipe");
        assert!(coloured("CLICOLOR_FORCE", "1"), "{args:?} when asked for");
        let mut command = place.command(args);
        let output = command.env("NO_COLOR", "1").output().unwrap();
        assert!(!output.stdout.contains(&0x1b));
    }
}

#[test]
fn every_command_has_a_manual_page_and_is_completed() {
    let folder = tempfile::tempdir().unwrap();
    let output = weir_in(folder.path(), &["man", "pages"]).output().unwrap();
    assert!(output.status.success());
    let page = |name: &str| std::fs::read_to_string(folder.path().join("pages").join(name)).unwrap();
    let commands = [
        "publish", "tail", "streams", "groups", "pending", "lag", "top", "seek", "dlq", "consume", "copy",
        "doctor",
    ];
    for command in commands {
        assert!(page(&format!("weir-{command}.1")).contains(".TH"), "{command}");
    }
    assert!(page("weir-dlq-redrive.1").contains("dry\\-run"));
    assert!(page("weir-consume.1").contains("snooze: not tried"));
    for shell in ["bash", "zsh", "fish"] {
        let output = weir_in(folder.path(), &["completions", shell]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(commands.iter().all(|command| text.contains(command)), "{shell}");
    }
}

#[test]
fn the_screen_of_top_is_given_back() {
    let place = Place::server();
    place.weir(&["group", "create", "orders", "billing", "--from", "start"]).done();
    // `script` gives the command a terminal.
    let mut script = std::process::Command::new("script");
    let weir = env!("CARGO_BIN_EXE_weir");
    script.args(["-qec", &format!("stty rows 24 cols 120; {weir} top --every 100ms"), "/dev/null"]);
    let mut process = script
        .env("WEIR_URL", &place.url)
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script is there");
    let mut stdout = process.stdout.take().unwrap();
    let mut shown = Vec::new();
    while !String::from_utf8_lossy(&shown).contains("billing") {
        let mut piece = [0; 4096];
        let read = std::io::Read::read(&mut stdout, &mut piece).unwrap();
        assert!(read > 0, "it ended: {}", String::from_utf8_lossy(&shown));
        shown.extend_from_slice(&piece[..read]);
    }
    std::io::Write::write_all(process.stdin.as_mut().unwrap(), b"q").unwrap();
    std::io::Read::read_to_end(&mut stdout, &mut shown).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(0));
    let shown = String::from_utf8_lossy(&shown);
    assert!(
        shown.contains("1 groups") && shown.contains("\u{1b}[?1049h") && shown.contains("\u{1b}[?1049l"),
        "{shown}"
    );
}
