//! `weir top`: all groups, the ones that are furthest behind first, live over the whole screen.
//!
//! It asks and changes nothing. Without the feature `tui`, or with `--once` or `--json`, it prints and ends.

use std::cmp::Reverse;
use std::time::Duration;

use anyhow::Result;
use weir_core::Broker;

use super::lag::{self, Behind};
use super::reach::{self, Folder, Reach};
use super::words;
use crate::output::{Tone, print_json, print_line, print_table, toned};

/// What `weir top` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The streams whose groups are watched
    #[arg(default_value = "*")]
    pattern: String,
    /// The pause between two looks
    #[arg(long, value_name = "PAUSE", default_value = "1s", value_parser = words::duration)]
    every: Duration,
    /// Print once and end
    #[arg(long)]
    once: bool,
    /// Print a JSON object for each group and end
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

/// Watches until `q`, or prints once.
pub(crate) fn run(args: &Args) -> Result<()> {
    reach::run(async {
        let broker = args.reach.open(Folder::Needed).await?;
        if args.json || args.once || !screen::is_there() {
            return print(args, &groups(&*broker, &args.pattern).await?);
        }
        screen::watch(args, broker).await
    })
}

/// The groups, the most to do first.
async fn groups(broker: &dyn Broker, pattern: &str) -> Result<Vec<Behind>> {
    let mut groups = lag::behind(broker, pattern, None).await?;
    groups.sort_by_key(|behind| Reverse((behind.lag.total(), behind.lag.dead)));
    Ok(groups)
}

fn print(args: &Args, groups: &[Behind]) -> Result<()> {
    match (args.json, groups.is_empty()) {
        (true, _) => groups.iter().try_for_each(|behind| print_json(&behind.to_json())),
        (false, true) => print_line(&toned(Tone::Faint, "no groups")),
        (false, false) => print_table(&lag::table(groups)),
    }
}

#[cfg(not(feature = "tui"))]
mod screen {
    //! There is none.

    use std::sync::Arc;

    use anyhow::Result;
    use weir_core::Broker;

    pub(super) fn is_there() -> bool {
        false
    }

    pub(super) async fn watch(args: &super::Args, broker: Arc<dyn Broker>) -> Result<()> {
        super::print(args, &super::groups(&*broker, &args.pattern).await?)
    }
}

#[cfg(feature = "tui")]
mod screen {
    //! The whole screen of a terminal; it is given back as it was, whatever happens.

    use std::io::IsTerminal as _;
    use std::sync::Arc;
    use std::time::Duration;

    use anyhow::{Context, Result};
    use ratatui::DefaultTerminal;
    use ratatui::Frame;
    use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
    use ratatui::layout::{Constraint, Layout};
    use ratatui::style::{Color, Modifier, Style};
    use ratatui::widgets::{Cell, Paragraph, Row, Table, TableState};
    use tokio::sync::mpsc::{self, Receiver};
    use weir_core::Broker;

    use super::lag::{self, Behind};
    use super::{Args, groups};
    use crate::exit::interrupted;
    use crate::output::Tone;

    /// Keys that wait to be looked at.
    const KEYS_AHEAD: usize = 64;
    /// So often the thread that reads keys looks whether anybody wants them.
    const KEY_PAUSE: Duration = Duration::from_millis(200);

    const HEAD: [&str; 11] = [
        "stream",
        "group",
        "undelivered",
        "held",
        "ready",
        "delayed",
        "dead",
        "oldest",
        "in/s",
        "out/s",
        "done in",
    ];
    const WIDTHS: [Constraint; 11] = [
        Constraint::Min(12),
        Constraint::Min(12),
        Constraint::Length(12),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(9),
    ];

    pub(super) fn is_there() -> bool {
        std::io::stdout().is_terminal() && std::io::stdin().is_terminal()
    }

    pub(super) async fn watch(args: &Args, broker: Arc<dyn Broker>) -> Result<()> {
        let mut terminal = ratatui::try_init().context("the terminal cannot be used")?;
        let watched = look_again(args, &*broker, &mut terminal).await;
        ratatui::try_restore().context("the terminal cannot be given back")?;
        watched
    }

    async fn look_again(args: &Args, broker: &dyn Broker, terminal: &mut DefaultTerminal) -> Result<()> {
        let mut keys = keys()?;
        let mut ticks = tokio::time::interval(args.every.max(Duration::from_millis(50)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut view = View { url: args.reach.url.clone(), groups: Vec::new(), state: TableState::default() };
        loop {
            tokio::select! {
                _ = ticks.tick() => view.groups = groups(broker, &args.pattern).await?,
                key = keys.recv() => match key.map(what) {
                    Some(Asked::End) | None => return Ok(()),
                    Some(Asked::Interrupt) => return Err(interrupted()),
                    Some(Asked::Down) => view.state.select_next(),
                    Some(Asked::Up) => view.state.select_previous(),
                    Some(Asked::Nothing) => {}
                },
            }
            terminal.draw(|frame| view.draw(frame)).context("the terminal cannot be drawn on")?;
        }
    }

    enum Asked {
        End,
        Interrupt,
        Up,
        Down,
        Nothing,
    }

    fn what(key: KeyEvent) -> Asked {
        match key.code {
            _ if key.kind == KeyEventKind::Release => Asked::Nothing,
            // The terminal is raw: this is no signal here.
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Asked::Interrupt,
            KeyCode::Char('q') | KeyCode::Esc => Asked::End,
            KeyCode::Down | KeyCode::Char('j') => Asked::Down,
            KeyCode::Up | KeyCode::Char('k') => Asked::Up,
            _ => Asked::Nothing,
        }
    }

    /// Keys, read by a thread of their own that ends when nobody wants them any more.
    fn keys() -> Result<Receiver<KeyEvent>> {
        let (sender, receiver) = mpsc::channel(KEYS_AHEAD);
        let read = move || {
            while !sender.is_closed() {
                let key = match event::poll(KEY_PAUSE) {
                    Ok(true) => event::read(),
                    Ok(false) => continue,
                    Err(_) => break,
                };
                match key {
                    // Who types faster than this is read loses keys, and nothing else.
                    Ok(Event::Key(key)) => drop(sender.try_send(key)),
                    Ok(_) => {}
                    Err(_) => break,
                }
            }
        };
        std::thread::Builder::new()
            .name("weir-keys".into())
            .spawn(read)
            .context("no threads can be started")?;
        Ok(receiver)
    }

    struct View {
        url: String,
        groups: Vec<Behind>,
        state: TableState,
    }

    impl View {
        fn draw(&mut self, frame: &mut Frame<'_>) {
            let parts = [Constraint::Length(1), Constraint::Min(1), Constraint::Length(1)];
            let [head, body, foot] = Layout::vertical(parts).areas(frame.area());
            let sum = |of: fn(&Behind) -> u64| self.groups.iter().map(of).sum::<u64>();
            let title = format!(
                "weir top   {}   {} groups, {} left, {} dead",
                shown_url(&self.url),
                self.groups.len(),
                sum(|behind| behind.lag.total()),
                sum(|behind| behind.lag.dead)
            );
            frame.render_widget(Paragraph::new(title).style(Style::new().add_modifier(Modifier::BOLD)), head);
            let rows = self.groups.iter().map(|behind| {
                Row::new(lag::cells(behind).map(|(tone, text)| Cell::from(text).style(style(tone))))
            });
            let table = Table::new(rows, WIDTHS)
                .header(Row::new(HEAD).style(Style::new().add_modifier(Modifier::REVERSED)))
                .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
            frame.render_stateful_widget(table, body, &mut self.state);
            let help = Paragraph::new("q ends   ↑ ↓ choose").style(Style::new().add_modifier(Modifier::DIM));
            frame.render_widget(help, foot);
        }
    }

    /// A URL without the password in it.
    fn shown_url(url: &str) -> String {
        match (url.find("://"), url.rfind('@')) {
            (Some(scheme), Some(at)) if at > scheme => format!("{}{}", &url[..scheme + 3], &url[at + 1..]),
            _ => url.to_owned(),
        }
    }

    fn style(tone: Tone) -> Style {
        if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
            return Style::new();
        }
        match tone {
            Tone::Plain => Style::new(),
            Tone::Faint => Style::new().add_modifier(Modifier::DIM),
            Tone::Name => Style::new().fg(Color::Cyan),
            Tone::Good => Style::new().fg(Color::Green),
            Tone::Warn => Style::new().fg(Color::Yellow),
            Tone::Bad => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn passwords_are_not_shown() {
            assert_eq!(shown_url("weir://:s3cret@host:1"), "weir://host:1");
            assert_eq!(shown_url("file:a@b"), "file:a@b");
        }
    }
}
