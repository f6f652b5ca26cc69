//! What a consumer is called when nobody says.
//!
//! A name that stays the same over restarts lets a consumer find what it held when it died. It is `host:instance`:
//!
//! * `WEIR_CONSUMER`, whole, if it is set;
//! * host: `HOSTNAME`, else what the system calls itself (`/proc/sys/kernel/hostname`), else `localhost`;
//! * instance: `WEIR_INSTANCE`, else `PORT`, else `0`.
//!
//! Two processes on one machine want different instances: under one name they take each other's entries at their
//! start. The environment is read in this file only.

/// The name by the environment of this process.
#[must_use]
pub fn consumer_name() -> String {
    let host = || {
        let system = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        system.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())
    };
    name_from(|name| std::env::var(name).ok(), host)
}

fn name_from(variable: impl Fn(&str) -> Option<String>, host: impl Fn() -> Option<String>) -> String {
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    variable("WEIR_CONSUMER").unwrap_or_else(|| {
        let host = variable("HOSTNAME").or_else(host).unwrap_or_else(|| "localhost".to_owned());
        let instance =
            variable("WEIR_INSTANCE").or_else(|| variable("PORT")).unwrap_or_else(|| "0".to_owned());
        format!("{host}:{instance}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_host_and_instance() {
        let name = |set: &[(&str, &str)]| {
            let value =
                |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            name_from(value, || Some("box".to_owned()))
        };
        assert_eq!(name(&[]), "box:0");
        assert_eq!(name(&[("HOSTNAME", "web-1"), ("PORT", "8080")]), "web-1:8080");
        assert_eq!(name(&[("WEIR_INSTANCE", "b"), ("PORT", "8080"), ("HOSTNAME", "")]), "box:b");
        assert_eq!(name(&[("WEIR_CONSUMER", "ann"), ("PORT", "1")]), "ann");
    }
}
