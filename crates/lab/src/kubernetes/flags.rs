//! A program with its flags, written as a systemd unit or as a static Pod.

use crate::machines::binaries::BIN;

/// A program of the control plane.
pub(super) struct Program {
    /// Its name, which its unit and container share.
    pub name: &'static str,
    /// Its flags, as `--name=value`.
    pub flags: Vec<String>,
}

impl Program {
    /// Its unit, with more lines for the section `[Service]`.
    pub fn unit(&self, service: &str) -> String {
        let mut exec = format!("{BIN}/{}", self.name);
        for flag in &self.flags {
            exec.push_str(" \\\n  ");
            exec.push_str(flag);
        }
        format!(
            "[Unit]\nDescription={}\nAfter=network.target\n\n[Service]\nExecStart={exec}\nRestart=always\n\
             RestartSec=5\nLimitNOFILE=65536\n{service}\n[Install]\nWantedBy=multi-user.target\n",
            self.name
        )
    }
}

/// `--name=value` for each pair.
pub(super) fn flags(pairs: &[(&str, &str)]) -> Vec<String> {
    pairs.iter().map(|(name, value)| format!("--{name}={value}")).collect()
}
