//! The person at the terminal.

use std::io::{self, BufRead, IsTerminal};
use std::time::Instant;

use lifeboat_recovery::execute::{Progress, Undo};
use lifeboat_recovery::finding::Diagnosis;
use lifeboat_recovery::operation::Operation;
use lifeboat_recovery::plan::{Plan, Step};
use lifeboat_recovery::recover::Desk;

use crate::commands::Context;
use crate::terminal::{stderr_clear_line, stderr_line, stderr_prompt, stderr_replace_line};

use super::render;

/// Plans and progress on stderr, where they do not mix with the report; questions answered on stdin.
pub struct Prompt {
    yes: bool,
    quiet: bool,
    terminal: bool,
    begun: Instant,
}

impl Prompt {
    pub fn new(yes: bool, context: &Context) -> Self {
        Self {
            yes,
            quiet: context.progress.is_quiet(),
            terminal: io::stderr().is_terminal(),
            begun: Instant::now(),
        }
    }

    /// A line that the next one replaces, on a terminal.
    fn waiting(&self, line: &str) {
        if self.terminal && !self.quiet {
            let line: String = line.chars().take(110).collect();
            stderr_replace_line(&line);
        }
    }

    fn line(&self, line: &str) {
        if self.terminal {
            stderr_clear_line();
        }
        stderr_line(format_args!("{line}"));
    }
}

impl Desk for Prompt {
    fn show(&mut self, round: usize, diagnosis: &Diagnosis, plan: &Plan) {
        let mut text = Vec::new();
        if render::plan(&mut text, diagnosis, plan).is_ok() {
            self.line(&format!("\nRound {round}\n{}", String::from_utf8_lossy(&text)));
        }
    }

    fn confirm(&mut self, _plan: &Plan) -> bool {
        if self.yes {
            return true;
        }
        if !io::stdin().is_terminal() {
            stderr_line(format_args!("stdin is not a terminal; pass --yes to run without a confirmation"));
            return false;
        }
        typed_yes("Do this? Type yes: ")
    }

    fn confirm_reboot(&mut self, step: &Step) -> bool {
        self.line(&format!("{}\n  - {}", step.title, step.changes.join("\n  - ")));
        typed_yes("Reboot it then? Type yes: ")
    }

    fn resuming(&mut self, operation: &Operation, plan: &Plan, left: &[&Step]) {
        let mut text = Vec::new();
        if render::resuming(&mut text, operation, plan, left).is_ok() {
            self.line(&String::from_utf8_lossy(&text));
        }
    }

    fn rolling_back(&mut self, operation: &Operation, plan: &Plan, undo: &Undo<'_>) {
        let mut text = Vec::new();
        if render::rolling_back(&mut text, operation, plan, undo).is_ok() {
            self.line(&String::from_utf8_lossy(&text));
        }
    }

    fn looking(&mut self) {
        self.waiting("looking at the cluster ...");
    }

    fn progress(&mut self, plan: &Plan, progress: Progress<'_>) {
        let of = plan.steps.len();
        let elapsed = self.begun.elapsed().as_secs_f64();
        match progress {
            Progress::Begin(step) => self.waiting(&format!("[{}/{of}] {} ...", step.number, step.title)),
            Progress::Waiting(step, why) => {
                self.waiting(&format!("[{}/{of}] {elapsed:.0} s  {}: {why}", step.number, step.title));
            }
            Progress::Done { .. } if self.quiet => {}
            Progress::Done { step, took, already } => {
                let already = if already { " (already done)" } else { "" };
                let took = took.as_secs_f64();
                self.line(&format!("[{}/{of}] {took:6.1} s  {}{already}", step.number, step.title));
            }
            Progress::Undoing(step) => self.waiting(&format!("undo {} ...", step.title)),
            Progress::Undone(..) if self.quiet => {}
            Progress::Undone(step, took) => {
                self.line(&format!("[undo {}] {:6.1} s  {}", step.number, took.as_secs_f64(), step.title));
            }
            Progress::Failed(step, why) => {
                self.line(&format!("[{}/{of}] failed  {}: {why}", step.number, step.title));
            }
        }
    }
}

fn typed_yes(question: &str) -> bool {
    stderr_prompt(question);
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).is_ok() && answer.trim() == "yes"
}
