//! Prints the demo: its steps, the commands with their output, and how long each took.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::process;

const LIMIT: Duration = Duration::from_secs(60);

pub(super) struct Scenario {
    lifeboat: PathBuf,
    /// Working directory of the commands, so that paths in their output are short.
    work: PathBuf,
    begin: Instant,
    took: Vec<(String, Duration)>,
}

impl Scenario {
    pub(super) fn new(lifeboat: &Path, work: &Path) -> Self {
        Self { lifeboat: lifeboat.into(), work: work.into(), begin: Instant::now(), took: Vec::new() }
    }

    pub(super) fn heading(&self, text: &str) {
        println!("\n== {text}");
    }

    /// Runs a step, and prints the text that it returns with its value.
    pub(super) fn step<T>(&mut self, title: &str, work: impl FnOnce() -> Result<(T, String)>) -> Result<T> {
        self.heading(title);
        let begin = Instant::now();
        let (value, text) = work().with_context(|| format!("step {title:?}"))?;
        self.took.push((title.into(), begin.elapsed()));
        show(&text);
        Ok(value)
    }

    /// Runs `lifeboat` and shows the command with its output; it must exit with this code.
    pub(super) fn lifeboat(&mut self, code: i32, args: &[String]) -> Result<()> {
        let work = format!("{}/", self.work.display());
        let shown = args.join(" ").replace(&work, "");
        println!("$ lifeboat {shown}");
        let begin = Instant::now();
        let mut command = Command::new(&self.lifeboat);
        let output = process::run(command.args(args).current_dir(&self.work), LIMIT)?;
        let verb = args.first().map(String::as_str).unwrap_or_default();
        self.took.push((format!("lifeboat {verb}"), begin.elapsed()));
        show(&String::from_utf8_lossy(&output.stdout));
        show(&String::from_utf8_lossy(&output.stderr));
        let found = output.status.code();
        ensure!(found == Some(code), "lifeboat {verb} exited with {found:?}, expected {code}");
        if code != 0 {
            println!("  (exit code {code})");
        }
        Ok(())
    }

    pub(super) fn section(&self, title: &str, text: &str) {
        self.heading(title);
        show(text);
    }

    /// Prints how long each step took.
    pub(super) fn end(&self) {
        self.heading("Time");
        for (title, took) in &self.took {
            println!("  {:>6.2} s  {title}", took.as_secs_f64());
        }
        println!("  {:>6.2} s  total", self.begin.elapsed().as_secs_f64());
    }
}

fn show(text: &str) {
    text.lines().for_each(|line| println!("  {line}"));
}
