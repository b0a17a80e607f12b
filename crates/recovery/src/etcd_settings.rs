//! What an etcd process makes of its flags, environment and config file (`server/etcdmain/config.go`): the config file
//! alone if there is one, else flags before variables.

use std::collections::BTreeMap;

use serde_json::Value;

/// The value of a flag, the last one counts: `--name value`, `--name=value`, with one or two dashes.
pub(crate) fn flag<'a>(arguments: &'a [String], name: &str) -> Option<&'a str> {
    let mut found = None;
    let mut arguments = arguments.iter().peekable();
    while let Some(argument) = arguments.next() {
        let flag = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'));
        match flag.and_then(|flag| flag.strip_prefix(name)) {
            Some("") => found = arguments.peek().map(|next| next.as_str()),
            Some(rest) => found = rest.strip_prefix('=').or(found),
            None => {}
        }
    }
    found
}

/// How an etcd was, or would be, started.
pub(crate) struct Invocation<'a> {
    /// Its command line.
    pub arguments: &'a [String],
    /// Its environment, as far as it is known.
    pub variables: &'a BTreeMap<String, String>,
    /// Its config file, parsed.
    pub config: Option<&'a Value>,
}

impl Invocation<'_> {
    /// A flag, or its variable.
    pub fn flag(&self, name: &str) -> Option<&str> {
        let variable = || {
            let name = format!("ETCD_{}", name.to_uppercase().replace('-', "_"));
            self.variables.get(&name).map(String::as_str)
        };
        flag(self.arguments, name).or_else(variable)
    }

    /// A setting from where etcd takes it.
    pub fn setting(&self, name: &str) -> Option<String> {
        let value = match self.config {
            Some(config) => {
                let transport = &config["client-transport-security"];
                config[name].as_str().or_else(|| transport[name].as_str())
            }
            None => self.flag(name),
        };
        value.filter(|value| !value.is_empty()).map(str::to_owned)
    }

    /// `--data-dir`, or what etcd takes without.
    pub fn data_dir(&self) -> String {
        let name = || self.setting("name").unwrap_or_else(|| "default".into());
        self.setting("data-dir").unwrap_or_else(|| format!("{}.etcd", name()))
    }
}
