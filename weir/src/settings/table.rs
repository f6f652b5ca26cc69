//! The table of settings.

/// A setting: how it is written, and what it is without being written.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Its flag without `--`, and its key in `weir.toml`.
    pub(crate) name: &'static str,
    /// Its environment variable.
    pub(crate) env: &'static str,
    /// What a value looks like, in the help.
    pub(crate) value: &'static str,
    /// `None`: unset.
    pub(crate) default: Option<&'static str>,
    /// One sentence without a full stop.
    pub(crate) help: &'static str,
    /// Its value is not shown.
    pub(crate) is_secret: bool,
}

const SETTING: Setting = Setting { name: "", env: "", value: "", default: None, help: "", is_secret: false };

/// All settings, in the order of the help.
pub(crate) static SETTINGS: &[Setting] = &[
    Setting {
        name: "dir",
        env: "WEIR_DIR",
        value: "FOLDER",
        default: Some("weir-data"),
        help: "data folder, made when it is not there; `memory:` keeps nothing on disk",
        ..SETTING
    },
    Setting {
        name: "backend",
        env: "WEIR_BACKEND",
        value: "URL",
        help: "a Redis to serve instead of a data folder, `redis://HOST:PORT`: its commands pass through, `WEIR.*` is added",
        is_secret: true,
        ..SETTING
    },
    Setting {
        name: "resp",
        env: "WEIR_RESP",
        value: "HOST:PORT",
        default: Some("127.0.0.1:6379"),
        help: "address for Redis clients, or `none`",
        ..SETTING
    },
    Setting {
        name: "http",
        env: "WEIR_HTTP",
        value: "HOST:PORT",
        default: Some("127.0.0.1:8080"),
        help: "address for probes, health and metrics, or `none`",
        ..SETTING
    },
    Setting {
        name: "unix-socket",
        env: "WEIR_UNIX_SOCKET",
        value: "PATH",
        help: "a Unix socket for Redis clients, in addition",
        ..SETTING
    },
    Setting {
        name: "fsync",
        env: "WEIR_FSYNC",
        value: "WHEN",
        default: Some("everysec"),
        help: "when answers may leave: `always` = when on disk; `everysec` and `no` = when handed to the system, \
               which is told to flush every second, or decides itself",
        ..SETTING
    },
    Setting {
        name: "token",
        env: "WEIR_TOKEN",
        value: "SECRET",
        help: "what clients have to give: Redis clients as password, HTTP clients as bearer token",
        is_secret: true,
        ..SETTING
    },
    Setting {
        name: "tls-cert",
        env: "WEIR_TLS_CERT",
        value: "FILE",
        help: "certificate chain in PEM; with it and --tls-key Redis clients speak TLS (`rediss://`)",
        ..SETTING
    },
    Setting {
        name: "tls-key",
        env: "WEIR_TLS_KEY",
        value: "FILE",
        help: "private key in PEM of the certificate",
        ..SETTING
    },
    Setting {
        name: "insecure",
        env: "WEIR_INSECURE",
        value: "BOOL",
        default: Some("false"),
        help: "serve other machines although there is no token",
        ..SETTING
    },
    Setting {
        name: "memory",
        env: "WEIR_MEMORY",
        value: "SIZE",
        default: Some("512MiB"),
        help: "memory to plan with: half of it at most for the buffers of all connections, a sixty-fourth each for \
               index blocks read from disk and for the newest entries",
        ..SETTING
    },
    Setting {
        name: "clients",
        env: "WEIR_CLIENTS",
        value: "COUNT",
        default: Some("50000"),
        help: "Redis clients at a time, fewer when the process may not open so many files",
        ..SETTING
    },
    Setting {
        name: "log-format",
        env: "WEIR_LOG_FORMAT",
        value: "FORMAT",
        default: Some("text"),
        help: "how log lines look: `text` or `json`",
        ..SETTING
    },
    Setting {
        name: "log",
        env: "WEIR_LOG",
        value: "FILTER",
        default: Some("info"),
        help: "which log lines there are: error, warn, info, debug, trace, or a filter like `warn,weir_server=debug`",
        ..SETTING
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_setting_is_written_the_same_way_everywhere() {
        let mut names = BTreeSet::new();
        for setting in SETTINGS {
            assert!(names.insert(setting.name), "{} is there twice", setting.name);
            let env = format!("WEIR_{}", setting.name.to_uppercase().replace('-', "_"));
            assert_eq!(setting.env, env);
            assert!(!setting.help.is_empty() && !setting.help.ends_with('.'), "{}", setting.help);
        }
    }
}
