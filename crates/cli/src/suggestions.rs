//! Suggestions for invalid command lines that clap cannot make from similar spelling.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Synonyms of verbs, from other tools and everyday language.
const VERBS: &[(&str, &[&str])] = &[
    ("diagnose", &["doctor", "health", "why", "analyze", "analyse", "triage"]),
    ("recover", &["repair", "fix", "heal", "mend", "rescue", "rebuild", "plan", "apply", "resume"]),
    ("status", &["state", "overview", "ps", "top"]),
    ("init", &["discover", "setup", "new", "create", "inventory"]),
    ("save", &["backup", "snapshot", "dump", "export"]),
    ("inspect", &["show", "view", "describe", "info", "ls", "list", "compare"]),
    ("check", &["verify", "validate", "test", "fsck", "lint"]),
    ("hash", &["hashkv", "checksum", "digest"]),
    ("get", &["read", "cat", "keys"]),
];

/// Replaces clap's suggestion where there is a better one.
pub fn suggest(mut error: clap::Error) -> clap::Error {
    let usage = error.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default();
    match error.kind() {
        // `recover` shows its optional subcommands as [COMMAND].
        ErrorKind::InvalidSubcommand if usage.contains("<COMMAND>") => {
            let word = text(&error, ContextKind::InvalidSubcommand).to_lowercase();
            let next = std::env::args().skip_while(|argument| !argument.eq_ignore_ascii_case(&word)).nth(1);
            if let Some(verb) = next.and_then(|second| snapshot_verb(&word, &second)) {
                error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![verb.to_owned()]));
            } else if let Some((verb, _)) = VERBS.iter().find(|(_, words)| words.contains(&word.as_str())) {
                let verb = ContextValue::Strings(vec![(*verb).to_owned()]);
                error.insert(ContextKind::SuggestedSubcommand, verb);
            }
        }
        ErrorKind::UnknownArgument => {
            if let Some(tip) = argument_tip(&text(&error, ContextKind::InvalidArg), &usage) {
                error.remove(ContextKind::SuggestedArg);
                error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
            }
        }
        _ => {}
    }
    error
}

/// The equivalent of `etcdutl snapshot VERB` and `etcdctl snapshot VERB`.
fn snapshot_verb(first: &str, second: &str) -> Option<&'static str> {
    match (first, second) {
        ("snapshot", "restore") => Some("restore"),
        ("snapshot", "save") => Some("save"),
        ("snapshot", "status") => Some("inspect"),
        _ => None,
    }
}

fn argument_tip(argument: &str, usage: &str) -> Option<String> {
    match argument {
        "--json" | "--yaml" => {
            let format = argument.trim_start_matches('-');
            Some(format!("for output as {}, use '-o {format}'", format.to_uppercase()))
        }
        key if usage.contains("lifeboat get") && !key.starts_with('-') => Some(format!(
            "to read this key, use '--key {key}'; to read all keys with this prefix, use '--prefix {key}'"
        )),
        _ => None,
    }
}

fn text(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    }
}
