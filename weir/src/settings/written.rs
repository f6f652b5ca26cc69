//! What was written: by whom, and which writing wins.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};

use super::table::{SETTINGS, Setting};
use crate::exit::usage;

/// The file that is read when it is there and none is named.
const FILE: &str = "weir.toml";
/// The environment variable that names another one.
const FILE_ENV: &str = "WEIR_CONFIG";

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Default,
    File,
    Environment,
    Flag,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment => "environment",
            Self::Flag => "flag",
        })
    }
}

/// The flags of settings that were given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given {
    config: Option<PathBuf>,
    values: Vec<(&'static str, String)>,
}

impl Given {
    /// As if these settings had been given as flags.
    pub(crate) fn of(config: Option<PathBuf>, values: Vec<(&'static str, String)>) -> Self {
        Self { config, values }
    }
}

/// A setting's value before anybody asked what it means.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    pub(crate) setting: &'static Setting,
    /// `None`: unset.
    pub(crate) text: Option<String>,
    pub(crate) source: Source,
}

/// The winning value of every setting, in the order of the table.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) values: Vec<Value>,
    /// The file that was read.
    pub(crate) file: Option<PathBuf>,
}

impl Written {
    /// Puts flags, environment, file and defaults on top of each other.
    ///
    /// # Errors
    /// When the file cannot be read, is no TOML, or has a key that is no setting.
    pub(crate) fn collect(given: &Given, env: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let named = given.config.clone().or_else(|| env(FILE_ENV).map(PathBuf::from));
        let file = named.clone().or_else(|| Some(PathBuf::from(FILE)).filter(|path| path.exists()));
        let in_file = file.as_deref().map(read_file).transpose()?.unwrap_or_default();
        let values = SETTINGS.iter().map(|setting| {
            let find = |list: &[(&'static str, String)]| {
                list.iter().find(|(name, _)| *name == setting.name).map(|(_, text)| text.clone())
            };
            let (text, source) = None
                .or_else(|| find(&given.values).map(|text| (Some(text), Source::Flag)))
                .or_else(|| env(setting.env).map(|text| (Some(text), Source::Environment)))
                .or_else(|| find(&in_file).map(|text| (Some(text), Source::File)))
                .unwrap_or((setting.default.map(str::to_owned), Source::Default));
            Value { setting, text, source }
        });
        Ok(Self { values: values.collect(), file })
    }

    /// As [`Written::collect`], with the process's environment.
    ///
    /// # Errors
    /// As [`Written::collect`].
    pub(crate) fn from_process(given: &Given) -> Result<Self> {
        Self::collect(given, &|name| std::env::var(name).ok())
    }
}

/// The settings in a file, each as the text a flag would have.
fn read_file(path: &Path) -> Result<Vec<(&'static str, String)>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("the settings in {} cannot be read", path.display()))?;
    let table: toml::Table =
        text.parse().map_err(|error| usage(format!("{} is no TOML: {error}", path.display())))?;
    table.iter().map(|(key, value)| file_entry(path, key, value)).collect()
}

fn file_entry(path: &Path, key: &str, value: &toml::Value) -> Result<(&'static str, String)> {
    let setting = SETTINGS.iter().find(|setting| setting.name == key).ok_or_else(|| {
        let known: Vec<_> = SETTINGS.iter().map(|setting| setting.name).collect();
        usage(format!("{} has the key {key:?}; there are: {}", path.display(), known.join(", ")))
    })?;
    let text = match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Boolean(yes) => yes.to_string(),
        other => {
            let kind = other.type_str();
            return Err(usage(format!("{}: {key} is a {kind}; write one value", path.display())));
        }
    };
    Ok((setting.name, text))
}

// ---- flags ---------------------------------------------------------------------------------------------------------

impl clap::Args for Given {
    fn augment_args(command: Command) -> Command {
        let command = SETTINGS.iter().fold(command, |command, setting| command.arg(flag(setting)));
        let port = Arg::new("port").long("port").value_name("N").conflicts_with("http");
        let config = Arg::new("config").long("config").value_name("FILE");
        command.arg(port.help("Short for `--http 127.0.0.1:N`")).arg(config.help(format!(
            "File with settings, one `name = value` a line [default: {FILE}, when it is there] [env: {FILE_ENV}]"
        )))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn flag(setting: &Setting) -> Arg {
    let default = setting.default.map_or(String::new(), |default| format!(" [default: {default}]"));
    let mut help = setting.help.to_owned();
    if let Some(first) = help.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let arg = Arg::new(setting.name)
        .long(setting.name)
        .value_name(setting.value)
        .action(ArgAction::Set)
        .help(format!("{help}{default} [env: {}]", setting.env));
    if setting.value == "BOOL" {
        return arg.num_args(0..=1).require_equals(true).default_missing_value("true");
    }
    arg
}

impl FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let text = |name: &str| matches.get_one::<String>(name).cloned();
        let mut values: Vec<_> =
            SETTINGS.iter().filter_map(|setting| Some((setting.name, text(setting.name)?))).collect();
        if let Some(port) = text("port") {
            values.push(("http", format!("127.0.0.1:{port}")));
        }
        Ok(Self { config: text("config").map(PathBuf::from), values })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Args as _;

    use super::*;

    fn given(flags: &[&str]) -> Given {
        let command = Given::augment_args(Command::new("weir").no_binary_name(true));
        Given::from_arg_matches(&command.get_matches_from(flags)).unwrap()
    }

    fn written(flags: &[&str], env: &[(&str, &str)], file: &str) -> Result<Written> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.toml");
        std::fs::write(&path, file).unwrap();
        let mut given = given(flags);
        given.config = Some(path);
        Written::collect(&given, &|name| {
            env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[track_caller]
    fn check(written: &Written, name: &str, text: Option<&str>, source: Source) {
        let value = written.values.iter().find(|value| value.setting.name == name).unwrap();
        assert_eq!((value.text.as_deref(), value.source), (text, source), "{name}");
    }

    #[test]
    fn a_flag_wins_over_the_environment_over_the_file_over_the_default() {
        let file = "fsync = 'no'\nmemory = '1GiB'\nclients = 7\n";
        let written =
            written(&["--fsync=always"], &[("WEIR_FSYNC", "everysec"), ("WEIR_MEMORY", "2GiB")], file)
                .unwrap();
        check(&written, "fsync", Some("always"), Source::Flag);
        check(&written, "memory", Some("2GiB"), Source::Environment);
        check(&written, "clients", Some("7"), Source::File);
        check(&written, "resp", Some("127.0.0.1:6379"), Source::Default);
        check(&written, "token", None, Source::Default);
    }

    #[test]
    fn switches_need_no_value_and_port_is_short_for_http() {
        let written = written(&["--insecure", "--port", "9000"], &[], "").unwrap();
        check(&written, "insecure", Some("true"), Source::Flag);
        check(&written, "http", Some("127.0.0.1:9000"), Source::Flag);
    }

    #[test]
    fn a_file_with_something_else_in_it_is_refused_by_name() {
        for (file, words) in [
            ("fsnyc = 'no'", "\"fsnyc\"; there are: dir, backend, resp"),
            ("dir = ['a']", "dir is a array"),
            ("dir = ", "is no TOML"),
        ] {
            let error = format!("{:#}", written(&[], &[], file).unwrap_err());
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_named_file_that_is_not_there_is_an_error() {
        let given = Given { config: Some("/nowhere/weir.toml".into()), values: Vec::new() };
        let error = Written::collect(&given, &|_| None).unwrap_err();
        assert!(format!("{error:#}").contains("/nowhere/weir.toml cannot be read"), "{error:#}");
    }
}
