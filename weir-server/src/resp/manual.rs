//! `docs/commands.md`, made from the command table.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::command::Command;
use super::commands;

const HEAD: &str = "\
# Commands

Everything that weir answers to Redis clients. This page is made from the command table; after a change of the table
write it anew with `WEIR_BLESS=1 cargo test -p weir-server`.

Streams are complete; around them stand the commands that clients and operators need, and small strings. Everything
else is answered with the usual `ERR unknown command`. `WEIR.*` is weir's own: groups with policies, delayed retries, dead
letters, retention; [semantics.md](semantics.md) says what they promise.
";

/// The text of the page.
fn text() -> String {
    let mut groups: BTreeMap<&str, Vec<&Command>> = BTreeMap::new();
    for row in commands::all() {
        groups.entry(row.group).or_default().push(row);
    }
    let mut page = HEAD.to_owned();
    for (group, mut rows) in groups {
        rows.sort_unstable_by_key(|row| row.name);
        writeln!(page, "\n## {group}\n\n| command | what it does | since Redis |\n|---|---|---|").unwrap();
        for row in rows {
            line(&mut page, row);
            row.subcommands().iter().for_each(|row| line(&mut page, row));
        }
    }
    page
}

fn line(page: &mut String, row: &Command) {
    let words = row.name.replace('|', " ").to_ascii_uppercase();
    // A bar would end the cell.
    let syntax = format!("{words} {}", row.syntax).trim_end().replace('|', "\\|");
    // What is weir's own came with no Redis.
    let since = if row.group == "weir" { "–" } else { row.since };
    writeln!(page, "| `{syntax}` | {} | {since} |", row.summary).unwrap();
}

#[test]
fn the_page_is_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/commands.md");
    let wanted = text();
    if std::env::var_os("WEIR_BLESS").is_some() {
        std::fs::write(path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    let remedy =
        "docs/commands.md is not what the table says; write it with WEIR_BLESS=1 cargo test -p weir-server";
    assert!(found == wanted, "{remedy}");
}
