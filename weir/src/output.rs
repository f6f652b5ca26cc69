//! What commands print on standard output, plainly for programs and in colours for people.
//!
//! A reader that went away (`weir … | head`) ends the command quietly. Colours are for terminals only, and never where
//! `NO_COLOR` is set.

use std::io::{ErrorKind, IsTerminal as _, Write as _};

use anstream::ColorChoice;
use anstyle::{AnsiColor, Style};
use anyhow::{Context, Error, Result};
use comfy_table::{Attribute, Cell, CellAlignment, Color, presets};
use serde::Serialize;

use crate::exit::reader_gone;

/// What a text means, and so how it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Like all others.
    Plain,
    /// Less important.
    Faint,
    /// A name that the user gave.
    Name,
    /// As it should be.
    Good,
    /// Worth a look.
    Warn,
    /// Wrong.
    Bad,
}

impl Tone {
    fn style(self) -> Style {
        let color = |color: AnsiColor| Style::new().fg_color(Some(color.into()));
        match self {
            Self::Plain => Style::new(),
            Self::Faint => Style::new().dimmed(),
            Self::Name => color(AnsiColor::Cyan),
            Self::Good => color(AnsiColor::Green),
            Self::Warn => color(AnsiColor::Yellow),
            Self::Bad => color(AnsiColor::Red).bold(),
        }
    }

    fn cell(self, text: &str) -> Cell {
        let cell = Cell::new(text);
        match self {
            Self::Plain => cell,
            Self::Faint => cell.add_attribute(Attribute::Dim),
            Self::Name => cell.fg(Color::Cyan),
            Self::Good => cell.fg(Color::Green),
            Self::Warn => cell.fg(Color::Yellow),
            Self::Bad => cell.fg(Color::Red).add_attribute(Attribute::Bold),
        }
    }
}

/// A text in its tone. Printing takes the colours off again where they are not wanted.
pub(crate) fn toned(tone: Tone, text: &str) -> String {
    let style = tone.style();
    format!("{style}{text}{style:#}")
}

/// A table with a head, for people.
#[derive(Debug)]
pub(crate) struct Table(comfy_table::Table);

impl Table {
    pub(crate) fn new(head: &[&str]) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY);
        table.set_header(head.iter().copied());
        if colours() {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        Self(table)
    }

    pub(crate) fn row(&mut self, cells: &[&str]) {
        self.0.add_row(cells.iter().copied());
    }

    /// A row whose cells have tones; those that are numbers or times go to the right.
    pub(crate) fn toned_row(&mut self, cells: &[(Tone, &str)]) {
        let is_figure = |text: &str| {
            text == "–"
                || text.strip_prefix(['-', '+']).unwrap_or(text).starts_with(|c: char| c.is_ascii_digit())
                    && text.len() < 14
        };
        self.0.add_row(cells.iter().map(|(tone, text)| match is_figure(text) {
            true => tone.cell(text).set_alignment(CellAlignment::Right),
            false => tone.cell(text),
        }));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether standard output takes colours.
fn colours() -> bool {
    anstream::AutoStream::choice(&std::io::stdout()) != ColorChoice::Never
}

/// Whether somebody sits in front of this and can be asked.
pub(crate) fn is_for_people() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Prints a table.
pub(crate) fn print_table(table: &Table) -> Result<()> {
    print_line(&table.0.to_string())
}

/// Prints a value as one line of JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    write_line(&serde_json::to_string(value).context("what was found cannot be written as JSON")?, false)
}

/// Prints a line, with its colours where they are wanted.
pub(crate) fn print_line(line: &str) -> Result<()> {
    write_line(line, true)
}

/// Says something to people beside what is printed, on standard error.
pub(crate) fn tell(line: &str) {
    // Nobody is told when nobody listens.
    drop(writeln!(anstream::stderr(), "{line}"));
}

fn write_line(line: &str, toned: bool) -> Result<()> {
    let written = if toned {
        let mut out = anstream::stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush())
    } else {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush())
    };
    match written {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(reader_gone()),
        Err(error) => Err(Error::from(error).context("standard output cannot be written")),
    }
}
