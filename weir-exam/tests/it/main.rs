//! The program from outside: what it prints, and how it ends.

use std::process::{Command, Output};

fn exam(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir-exam")).args(args).output().expect("the program starts")
}

fn lines(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn the_model_passes_and_the_last_line_says_so() {
    let output = exam(&["--engine", "model"]);
    let said = lines(&output);
    assert_eq!(output.status.code(), Some(0), "{said:?}");
    let passed: usize =
        said[0].strip_suffix(" passed, 0 failed").expect("the last line").parse().expect("a number");
    assert!(passed >= 300, "{passed}");
}

#[test]
fn a_filter_chooses_cases_by_subject_and_name() {
    let listed = lines(&exam(&["--list", "--filter", "the five stories"]));
    assert_eq!(listed.len(), 5, "{listed:?}");
    let run = exam(&["--engine", "embedded", "--filter", "the five stories"]);
    assert_eq!(lines(&run), ["5 passed, 0 failed"]);
}

#[test]
fn json_is_one_object_for_each_case_and_one_for_the_whole() {
    let said = lines(&exam(&["--engine", "model", "--json", "--filter", "alert"]));
    let (whole, cases) = said.split_last().expect("some lines");
    assert!(cases.len() >= 5 && cases.iter().all(|case| case.contains(r#""passed":true"#)), "{cases:?}");
    assert_eq!(whole, &format!(r#"{{"target":"model","passed":{},"failed":0}}"#, cases.len()));
}

#[test]
fn who_asks_wrongly_is_told_so_with_2() {
    for wrong in [&["--engine", "oracle"][..], &["--engine", "nosuch://x"], &[], &["--engin", "model"]] {
        let output = exam(wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(!output.stderr.is_empty(), "{wrong:?}");
    }
}
