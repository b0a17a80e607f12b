//! Manifests of static pods: flags of their containers, changed in place, so that the rest stays as written.

use std::ops::Range;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use super::Flag;

/// Wrappers that parse the flags behind the program they run as their own.
const SHELLS: [&str; 6] = ["sh", "bash", "dash", "ash", "zsh", "busybox"];

#[derive(Deserialize)]
struct Pod {
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    containers: Vec<Container>,
}

#[derive(Deserialize)]
struct Container {
    #[serde(default)]
    name: String,
    #[serde(default)]
    command: Vec<Spanned<String>>,
    #[serde(default)]
    args: Vec<Spanned<String>>,
}

impl Container {
    fn words(&self) -> impl Iterator<Item = &Spanned<String>> {
        self.command.iter().chain(&self.args)
    }

    fn runs(&self, program: &str) -> bool {
        let named = |word: &Spanned<String>| base(&word.value) == program;
        self.words().any(named) || (self.name == program && self.command.is_empty())
    }
}

fn base(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or_default()
}

/// The text of a manifest whose program has these flags; those it has already get the new value.
///
/// # Errors
/// Why that cannot be done with certainty.
pub(super) fn with_flags(text: &str, program: &str, flags: &[Flag<'_>]) -> Result<String, String> {
    let mut text = text.to_owned();
    for flag in flags {
        text = with_flag(&text, program, *flag)?;
    }
    Ok(text)
}

fn with_flag(text: &str, program: &str, (name, value): Flag<'_>) -> Result<String, String> {
    let pod: Pod = serde_saphyr::from_str(text).map_err(|_| "not the manifest of a pod in YAML")?;
    let mut running = pod.spec.containers.iter().enumerate().filter(|(_, it)| it.runs(program));
    let (Some((index, container)), None) = (running.next(), running.next()) else {
        return Err(format!("it does not have one container that runs {program}"));
    };
    let words: Vec<&Spanned<String>> = container.words().collect();
    let first = words.first().map(|word| base(&word.value)).unwrap_or_default();
    if SHELLS.contains(&first) {
        return Err(format!("it starts {program} through {first}, which takes no flags for it"));
    }
    if words.iter().any(|word| flag_of(&word.value).is_some_and(|(flag, _)| flag == "config-file")) {
        return Err("it uses --config-file, so etcd ignores flags".into());
    }
    // The last one counts.
    let found = words.iter().rposition(|word| flag_of(&word.value).is_some_and(|(flag, _)| flag == name));
    let (at, word, splice) = match found.and_then(|at| Some((at, flag_of(&words.get(at)?.value)?.1))) {
        Some((at, Some(_))) => (at, format!("--{name}={value}"), Splice::Replace),
        Some((at, None)) => (at + 1, value.to_owned(), Splice::Replace),
        None => (words.len().saturating_sub(1), format!("--{name}={value}"), Splice::Append),
    };
    let is_value = |place: &&Spanned<String>| word.starts_with('-') || !place.value.starts_with('-');
    let place = words.get(at).copied().filter(|place| is_value(place)).ok_or("a flag in it has no value")?;
    let changed = splice.apply(text, bytes(place)?, &word).ok_or("its flags are in an unsupported form")?;
    verify(text, &changed, index, container.command.len(), at, &word, splice)?;
    Ok(changed)
}

/// A flag, and its value if that stands in the same word.
fn flag_of(word: &str) -> Option<(&str, Option<&str>)> {
    let flag = word.strip_prefix("--").or_else(|| word.strip_prefix('-'))?;
    Some(flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value))))
}

fn bytes(word: &Spanned<String>) -> Result<Range<usize>, &'static str> {
    let span = word.referenced.span();
    let range = || {
        let begin = usize::try_from(span.byte_offset()?).ok()?;
        Some(begin..begin.checked_add(usize::try_from(span.byte_len()?).ok()?)?)
    };
    // An alias points to where its anchor is.
    if word.referenced != word.defined {
        return Err("its flags come from an anchor");
    }
    range().ok_or("the place of its flags is not known")
}

/// What is done at the place of a word.
#[derive(Clone, Copy, PartialEq)]
enum Splice {
    Replace,
    Append,
}

impl Splice {
    fn apply(self, text: &str, place: Range<usize>, word: &str) -> Option<String> {
        let (before, after) = (text.get(..place.start)?, text.get(place.end..)?);
        let line = before.rsplit('\n').next().unwrap_or_default();
        let is_block = line.contains('-') && line.chars().all(|letter| letter == '-' || letter == ' ');
        let word = scalar(word, is_block);
        match (self, is_block) {
            (Self::Replace, _) => Some(format!("{before}{word}{after}")),
            (Self::Append, true) => {
                let indent = line.trim_end().strip_suffix('-')?;
                // An item that begins a nested list ("- - a") has no line to copy.
                let indent = indent.trim().is_empty().then_some(indent)?;
                let rest = after.find('\n').unwrap_or(after.len());
                let (comment, after) = (after.get(..rest)?, after.get(rest..)?);
                let (old, dash) = (text.get(place)?, line.get(indent.len()..)?);
                Some(format!("{before}{old}{comment}\n{indent}{dash}{word}{after}"))
            }
            (Self::Append, false) => Some(format!("{before}{}, {word}{after}", text.get(place)?)),
        }
    }
}

/// Text as a scalar of YAML.
fn scalar(text: &str, is_block: bool) -> String {
    let plain = |byte: u8| {
        byte.is_ascii_alphanumeric() || b"-_./:=".contains(&byte) || (is_block && b",@%".contains(&byte))
    };
    let is_flag = text.starts_with("--") && text.len() > 3;
    let is_word = text.starts_with(|first: char| first.is_ascii_alphabetic()) && !is_word_of_yaml(text);
    if (is_flag || is_word) && text.bytes().all(plain) && !text.ends_with(':') {
        return text.to_owned();
    }
    // JSON's strings are YAML's.
    Value::from(text).to_string()
}

fn is_word_of_yaml(text: &str) -> bool {
    ["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text.to_lowercase().as_str())
}

/// Refuses a change that does not parse back as exactly the intended one.
fn verify(
    before: &str,
    after: &str,
    container: usize,
    commands: usize,
    at: usize,
    word: &str,
    splice: Splice,
) -> Result<(), String> {
    let parse =
        |text: &str| serde_saphyr::from_str::<Value>(text).map_err(|_| "the changed manifest is not YAML");
    let (mut expected, found) = (parse(before)?, parse(after)?);
    let (list, at) = if at < commands { ("command", at) } else { ("args", at - commands) };
    let words =
        expected["spec"]["containers"][container][list].as_array_mut().ok_or("it has no list of words")?;
    match splice {
        Splice::Replace => *words.get_mut(at).ok_or("a flag in it has no value")? = word.into(),
        Splice::Append => words.push(word.into()),
    }
    if expected == found { Ok(()) } else { Err("its flags are in an unsupported form".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: [Flag<'_>; 2] =
        [("initial-cluster-state", "existing"), ("initial-cluster", "a=https://h:2380,b=https://i:2380")];

    fn changed(containers: &str) -> Result<String, String> {
        with_flags(
            &format!("# ours\nkind: Pod\nspec:\n  containers:\n{containers}  hostNetwork: true # keep\n"),
            "etcd",
            &FLAGS,
        )
    }

    /// What is between the line `containers` and the end.
    fn lines(containers: &str) -> Vec<String> {
        let text = changed(containers).unwrap_or_else(|why| panic!("{containers}: {why}"));
        assert!(text.starts_with("# ours\n") && text.ends_with("  hostNetwork: true # keep\n"), "{text}");
        text.lines()
            .skip(4)
            .filter(|line| line.contains("--") || line.contains(" - "))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn a_manifest_of_kubeadm_gets_flags_behind_its_own() {
        let text = "  - command:\n    - etcd\n    - --name=a # its name\n    - '--data-dir=/var/lib/etcd' # here\n    image: etcd\n    name: etcd\n";
        assert_eq!(
            lines(text),
            [
                "  - command:",
                "    - etcd",
                "    - --name=a # its name",
                "    - '--data-dir=/var/lib/etcd' # here",
                "    - --initial-cluster-state=existing",
                "    - --initial-cluster=a=https://h:2380,b=https://i:2380",
            ]
        );
    }

    #[test]
    fn flags_that_are_there_get_the_new_value() {
        let text = "  - name: x\n    command: [/usr/local/bin/etcd]\n    args:\n    - --initial-cluster\n    - \"a=https://old:2380\"\n    - -initial-cluster-state=new # first start\n    - --name=a\n";
        assert_eq!(
            lines(text),
            [
                "  - name: x",
                "    - --initial-cluster",
                "    - a=https://h:2380,b=https://i:2380",
                "    - --initial-cluster-state=existing # first start",
                "    - --name=a",
            ]
        );
        // Once more changes nothing.
        let once = changed(text).unwrap();
        assert_eq!(with_flags(&once, "etcd", &FLAGS).unwrap(), once);
    }

    #[test]
    fn a_list_in_brackets_stays_one() {
        let text =
            changed("  - {name: e, command: [etcd, \"--initial-cluster=x\",\n      --name=a]}\n").unwrap();
        assert!(
            text.contains("[etcd, \"--initial-cluster=a=https://h:2380,b=https://i:2380\",\n      --name=a, --initial-cluster-state=existing]"),
            "{text}"
        );
    }

    #[test]
    fn what_cannot_be_changed_with_certainty_is_refused() {
        for (containers, why) in [
            ("  - command: [sh, -c, 'exec etcd --name=a']\n", "does not have one container"),
            ("  - command: [/bin/sh, -c, etcd]\n", "through sh"),
            ("  - command: [etcd, --config-file=/x]\n", "--config-file"),
            ("  - command: [etcd, --initial-cluster]\n", "no value"),
            ("  - command: [etcd, --initial-cluster-state]\n", "no value"),
            ("  - command: [etcd, --initial-cluster, --name=a]\n", "no value"),
            ("  - command: [etcd]\n  - command: [etcd]\n", "one container"),
            ("  - name: other\n", "one container"),
        ] {
            let error = changed(containers).unwrap_err();
            assert!(error.contains(why), "{containers}: {error}");
        }
        assert!(with_flags("{{ template }}", "etcd", &FLAGS).is_err());
    }

    #[test]
    fn json_is_yaml() {
        let text = "{\"spec\":{\"containers\":[{\"command\":[\"etcd\",\"--name=a\"]}]}}";
        let text = with_flags(text, "etcd", &FLAGS).unwrap();
        assert!(
            text.contains("\"--name=a\", --initial-cluster-state=existing, \"--initial-cluster=a=")
                || text.contains("existing"),
            "{text}"
        );
    }
}
