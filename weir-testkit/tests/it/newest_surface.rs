//! What the model says where Redis 7.0 is silent: the documented examples of the newer commands, and the counters.

use weir_testkit::Protocol;
use weir_testkit::model::{Flavour, Session};

/// Runs commands, separated by ` | `, one millisecond apart, and compares the last answer, or several after `..`.
fn check(script: &str, want: &str) {
    let mut session = Session::new(Flavour::Latest);
    let mut shown = Vec::new();
    for (at, command) in script.split('|').enumerate() {
        let words: Vec<Vec<u8>> = command.split_whitespace().map(|word| word.as_bytes().to_vec()).collect();
        let show = words[0] == b"?";
        let words = &words[usize::from(show)..];
        let reply = session.execute(1_700_000_000_000 + at as u64, words).over(Protocol::Resp2).to_string();
        if show {
            shown.push(reply);
        }
    }
    assert_eq!(shown.join(" | "), want, "{script}");
}

fn adds(range: std::ops::RangeInclusive<u32>) -> String {
    range.map(|n| format!("XADD s {n}-0 f v | ")).collect()
}

#[test]
fn approximate_trimming_drops_whole_nodes_unless_a_policy_looks_at_entries() {
    for (trim, left) in [
        ("MAXLEN ~ 120", 150),
        ("MAXLEN ~ 120 ACKED", 120),
        ("MAXLEN ~ 120 DELREF", 120),
        ("MAXLEN ~ 0 LIMIT 150", 250),
        ("MINID ~ 250", 150),
        ("MAXLEN = 120", 120),
    ] {
        check(&format!("{}XTRIM s {trim} | ? XLEN s", adds(1..=350)), &left.to_string());
    }
}

#[test]
fn large_entries_fill_nodes_by_size() {
    for (bytes, entries, nodes) in [(1_000, 8, 2), (5_000, 3, 3), (10, 100, 1), (10, 101, 2)] {
        let value = "x".repeat(bytes);
        let adds: String = (1..=entries).map(|n| format!("XADD s {n}-0 f {value} | ")).collect();
        let mut session = Session::new(Flavour::Latest);
        for command in adds.split('|').map(str::trim).filter(|command| !command.is_empty()) {
            let words: Vec<Vec<u8>> = command.split(' ').map(|word| word.as_bytes().to_vec()).collect();
            session.execute(1, &words);
        }
        let info = session.execute(1, &["XINFO", "STREAM", "s"].map(|word| word.as_bytes().to_vec()));
        assert!(info.to_string().contains(&format!("\"radix-tree-keys\": {nodes}")), "{bytes}: {info}");
    }
}

#[test]
fn lag_is_null_where_it_cannot_be_told() {
    let group = |script: &str, want: &str| {
        let full = format!("{}XGROUP CREATE s g {script} | ? XINFO GROUPS s", adds(1..=5));
        let mut session = Session::new(Flavour::Latest);
        let mut last = String::new();
        for (at, command) in full.replace('?', "").split('|').enumerate() {
            let words: Vec<Vec<u8>> =
                command.split_whitespace().map(|word| word.as_bytes().to_vec()).collect();
            last = session.execute(at as u64, &words).to_string();
        }
        let shown = last.split("\"entries-read\": ").nth(1).unwrap().trim_end_matches("}]");
        assert_eq!(shown, want, "{script}");
    };
    group("0", "null, \"lag\": 5");
    group("2", "null, \"lag\": null");
    group("$", "null, \"lag\": 0");
    group("99", "null, \"lag\": null");
    let read = |count: u32| format!("XREADGROUP GROUP g c COUNT {count} STREAMS s >");
    group(&format!("0 | {}", read(1)), "1, \"lag\": 4");
    group(&format!("0 | {} | XDEL s 4-0", read(1)), "1, \"lag\": null");
    group(&format!("0 | {} | XDEL s 4-0 | {}", read(1), read(1)), "null, \"lag\": null");
    group(&format!("0 | {} | XDEL s 4-0 | {} | {}", read(1), read(1), read(9)), "5, \"lag\": 0");
}

#[test]
fn deleting_with_a_policy() {
    let read = "XADD s 1-0 f v | XADD s 2-0 f v | XADD s 3-0 f v | XGROUP CREATE s g 0 | \
                XREADGROUP GROUP g c COUNT 2 STREAMS s >";
    check(
        &format!("{read} | ? XDELEX s IDS 2 1-0 9-0 | ? XPENDING s g"),
        r#"[1 -1] | [2 "1-0" "2-0" [["c" "2"]]]"#,
    );
    check(
        &format!("{read} | ? XDELEX s DELREF IDS 2 1-0 1-0 | ? XPENDING s g"),
        r#"[1 -1] | [1 "2-0" "2-0" [["c" "1"]]]"#,
    );
    check(&format!("{read} | XACK s g 1-0 | ? XDELEX s ACKED IDS 4 1-0 2-0 3-0 9-0"), "[1 2 2 2]");
    check(&format!("{read} | ? XACKDEL s g ACKED IDS 3 1-0 1-0 3-0 | ? XLEN s"), "[1 -1 -1] | 2");
    check(&format!("{read} | XGROUP CREATE s h 0 | ? XACKDEL s g ACKED IDS 1 1-0 | ? XLEN s"), "[2] | 3");
    check("? XDELEX nokey IDS 2 x y | ? XACKDEL nokey g IDS 1 x", "[-1 -1] | [-1]");
    check(
        "? XDELEX s IDS 0 1-0 | ? XDELEX s IDS 2 1-0 | ? XDELEX s IDS 1 1-0 2-0 | ? XDELEX s KEEPREF ACKED x",
        "-ERR Number of IDs must be a positive integer | \
         -ERR The `numids` parameter must match the number of arguments | -ERR syntax error | -ERR syntax error",
    );
}

#[test]
fn released_rows_are_claimable_at_once_and_come_first() {
    let read = "XADD s 1-0 f v | XADD s 2-0 f v | XADD s 3-0 f v | XGROUP CREATE s g 0 | \
                XREADGROUP GROUP g c COUNT 2 STREAMS s >";
    check(
        &format!("{read} | ? XNACK s g FAIL IDS 2 2-0 3-0 | ? XPENDING s g - + 9"),
        r#"1 | [["1-0" "c" 2 1] ["2-0" "" -1 1]]"#,
    );
    check(
        &format!("{read} | XNACK s g SILENT IDS 1 1-0 | ? XCLAIM s g d 999999 1-0 2-0 JUSTID"),
        r#"["1-0"]"#,
    );
    check(
        &format!("{read} | XNACK s g FATAL IDS 1 2-0 | XCLAIM s g d 0 2-0 | ? XPENDING s g - + 9 d"),
        r#"[["2-0" "d" 1 9223372036854775807]]"#,
    );
    check(
        &format!(
            "{read} | ? XNACK s g FAIL IDS 1 3-0 FORCE | ? XREADGROUP GROUP g d COUNT 2 CLAIM 60000 STREAMS s > | ? XPENDING s g"
        ),
        r#"1 | [["s" [["3-0" ["f" "v"] 1700000000006 0] ["3-0" ["f" "v"] 0 0]]]] | [3 "1-0" "3-0" [["c" "2"] ["d" "1"]]]"#,
    );
    check("? XNACK s g FAIL IDS 1 1-0", "-NOGROUP No such key 's' or consumer group 'g'");
}

#[test]
fn claim_takes_idle_rows_longest_idle_first_then_new_entries() {
    check(
        "XADD s 1-0 f v | XADD s 2-0 f v | XADD s 3-0 f v | XGROUP CREATE s g 0 | \
         XREADGROUP GROUP g c COUNT 2 STREAMS s > | XCLAIM s g c 0 1-0 TIME 2000 | XCLAIM s g c 0 2-0 TIME 1000 | \
         ? XREADGROUP GROUP g d CLAIM 60000 STREAMS s > | ? XPENDING s g",
        r#"[["s" [["2-0" ["f" "v"] 1699999999007 2] ["1-0" ["f" "v"] 1699999998007 2] ["3-0" ["f" "v"] 0 0]]]] | [3 "1-0" "3-0" [["d" "3"]]]"#,
    );
    check(
        "XADD s 1-0 f v | XGROUP CREATE s g 0 | XREADGROUP GROUP g c STREAMS s > | XDEL s 1-0 | \
         ? XREADGROUP GROUP g d CLAIM 0 STREAMS s > | ? XPENDING s g",
        r#"null-array | [1 "1-0" "1-0" [["c" "1"]]]"#,
    );
}

#[test]
fn limits_over_all_streams() {
    let three = "XADD a 1-0 f v | XADD a 2-0 f v | XADD b 1-0 f v | XADD b 2-0 f v";
    check(
        &format!("{three} | ? XREAD COUNT 2 MAXCOUNT 3 STREAMS a b 0 0"),
        r#"[["a" [["1-0" ["f" "v"]] ["2-0" ["f" "v"]]]] ["b" [["1-0" ["f" "v"]]]]]"#,
    );
    check(&format!("{three} | ? XREAD MAXSIZE 1 STREAMS a b 0 0"), r#"[["a" [["1-0" ["f" "v"]]]]]"#);
    check(
        "? XREAD COUNT 2 MAXCOUNT 1 STREAMS a 0 | ? XREAD MAXCOUNT 0 STREAMS a 0 | ? XREAD MAXSIZE 0 STREAMS a 0",
        "-ERR MAXCOUNT must be greater than or equal to COUNT | -ERR MAXCOUNT must be a positive integer | \
         -ERR MAXSIZE must be a positive integer",
    );
}

#[test]
fn idempotent_producers() {
    let first = "\"1700000000000-0\"";
    check("? XADD s IDMP p 1 * f v | ? XADD s IDMP p 1 * f w | ? XLEN s", &format!("{first} | {first} | 1"));
    check("? XADD s IDMPAUTO p * a 1 b 2 | ? XADD s IDMPAUTO p * b 2 a 1", &format!("{first} | {first}"));
    check("XADD s IDMP p 1 * f v | XCFGSET s IDMP-MAXSIZE 100 | ? XADD s IDMP p 1 * f v", first);
    check(
        "XADD s IDMP p 1 * f v | XCFGSET s IDMP-MAXSIZE 5 | ? XADD s IDMP p 1 * f v | ? XLEN s",
        "\"1700000000002-0\" | 2",
    );
    check(
        "XADD s 1-0 f v | XCFGSET s IDMP-MAXSIZE 1 | XADD s IDMP p 1 * f v | XADD s IDMP p 2 * f v | \
         ? XADD s IDMP p 1 * f v",
        "\"1700000000004-0\"",
    );
    check(
        "? XADD s IDMP p 1 5-* f v | ? XADD s IDMP p 1 IDMP p 2 * f v | ? XADD s NOMKSTREAM IDMP p 1 * f v",
        "-ERR syntax error, IDMP/IDMPAUTO can be used only with auto-generated IDs | \
         -ERR syntax error, IDMP/IDMPAUTO specified multiple times | null",
    );
}

#[test]
fn reading_the_top_entry() {
    check(
        "XADD s 1-0 f v | XADD s 2-0 f v | XDEL s 2-0 | ? XREAD STREAMS s + | ? XREAD STREAMS nokey +",
        r#"[["s" [["1-0" ["f" "v"]]]]] | null-array"#,
    );
}
