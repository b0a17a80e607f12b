//! Shows plans and progress to the operator, and asks for confirmations.

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

/// Plans, progress and questions on stderr, apart from the report on stdout; answers on stdin.
pub struct Prompt {
    yes: bool,
    quiet: bool,
    terminal: bool,
    started: Instant,
    question: &'static str,
}

impl Prompt {
    pub fn new(yes: bool, context: &Context) -> Self {
        Self {
            yes,
            quiet: context.progress.is_quiet(),
            terminal: io::stderr().is_terminal(),
            started: Instant::now(),
            question: "Apply this plan?",
        }
    }

    /// Shows a line that the next one replaces, on a terminal.
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
        self.question = "Apply this plan?";
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
            stderr_line(format_args!("stdin is not a terminal; pass --yes to skip the confirmation"));
            return false;
        }
        confirmed(self.question)
    }

    fn confirm_reboot(&mut self, step: &Step) -> bool {
        self.line(&format!("{}\n  - {}", step.title, step.changes.join("\n  - ")));
        confirmed("Reboot this machine if needed?")
    }

    fn resuming(&mut self, operation: &Operation, plan: &Plan, left: &[&Step]) {
        self.question = "Resume this operation?";
        let mut text = Vec::new();
        if render::resuming(&mut text, operation, plan, left).is_ok() {
            self.line(&String::from_utf8_lossy(&text));
        }
    }

    fn rolling_back(&mut self, operation: &Operation, plan: &Plan, undo: &Undo<'_>) {
        self.question = "Roll back this operation?";
        let mut text = Vec::new();
        if render::rolling_back(&mut text, operation, plan, undo).is_ok() {
            self.line(&String::from_utf8_lossy(&text));
        }
    }

    fn looking(&mut self) {
        self.waiting("diagnosing the cluster ...");
    }

    fn progress(&mut self, plan: &Plan, progress: Progress<'_>) {
        let of = plan.steps.len();
        let elapsed = self.started.elapsed().as_secs_f64();
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

fn confirmed(question: &str) -> bool {
    stderr_prompt(&format!("{question} Type 'yes' to continue: "));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).is_ok() && answer.trim() == "yes"
}
