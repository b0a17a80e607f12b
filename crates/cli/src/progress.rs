//! Progress on stderr: a bar on a terminal, otherwise a line for each phase that takes more than a second.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressDrawTarget, ProgressStyle};
use lifeboat_etcd::Progress;

use crate::terminal::{printable, stderr_line};

/// How often a line is written where stderr is not a terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// Phases shorter than this get no line.
const FIRST_LINE: Duration = Duration::from_secs(1);
/// Bytes between two updates, so that a million small values do not cause a million of them.
const STEP: u64 = 1 << 20;

/// Progress on stderr; shows nothing if quiet.
pub struct ProgressBar {
    display: Option<Display>,
    done: AtomicU64,
    pending: AtomicU64,
}

enum Display {
    Bar(indicatif::ProgressBar),
    Lines(Mutex<Phase>),
}

struct Phase {
    name: String,
    total: Option<u64>,
    next_line: Instant,
}

impl ProgressBar {
    /// A bar if stderr is a terminal, lines otherwise.
    pub fn new(quiet: bool) -> Self {
        let display = if quiet {
            None
        } else if std::io::stderr().is_terminal() {
            Some(Display::Bar(indicatif::ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())))
        } else {
            let next_line = Instant::now() + FIRST_LINE;
            Some(Display::Lines(Mutex::new(Phase { name: String::new(), total: None, next_line })))
        };
        Self { display, done: AtomicU64::new(0), pending: AtomicU64::new(0) }
    }

    /// Whether nothing is shown.
    pub fn is_quiet(&self) -> bool {
        self.display.is_none()
    }

    /// Shows that `done` of `total` probes have finished, `what` being the last of them.
    pub fn item(&self, what: &str, done: usize, total: usize) {
        match &self.display {
            None => {}
            Some(Display::Bar(bar)) => {
                let style = ProgressStyle::with_template("{msg:22} [{bar:30}] {pos}/{len} {elapsed}");
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
                bar.set_length(total as u64);
                bar.set_position(done as u64);
                bar.set_message(printable(what.as_bytes()));
            }
            Some(Display::Lines(phase)) => {
                let Ok(mut phase) = phase.lock() else { return };
                let now = Instant::now();
                if now >= phase.next_line {
                    phase.next_line = now + LINE_INTERVAL;
                    stderr_line(format_args!("probes: {done}/{total}"));
                }
            }
        }
    }

    /// Removes the bar from the terminal, so that results start on a clean line.
    pub fn finish(&self) {
        if let Some(Display::Bar(bar)) = &self.display {
            bar.finish_and_clear();
        }
    }

    fn redraw(&self, step: u64) {
        match &self.display {
            None => {}
            Some(Display::Bar(bar)) => bar.inc(step),
            Some(Display::Lines(phase)) => {
                let Ok(mut phase) = phase.lock() else { return };
                let now = Instant::now();
                if now < phase.next_line {
                    return;
                }
                phase.next_line = now + LINE_INTERVAL;
                let done = self.done.load(Ordering::Relaxed);
                match phase.total.filter(|total| *total > 0) {
                    Some(total) => {
                        stderr_line(format_args!("{}: {}%", phase.name, (done * 100 / total).min(99)));
                    }
                    None => stderr_line(format_args!("{}: {}", phase.name, crate::output::bytes(done))),
                }
            }
        }
    }
}

impl Progress for ProgressBar {
    fn start(&self, phase: &str, total_bytes: Option<u64>) {
        self.done.store(0, Ordering::Relaxed);
        self.pending.store(0, Ordering::Relaxed);
        match &self.display {
            None => {}
            Some(Display::Bar(bar)) => {
                let template = match total_bytes {
                    Some(_) => "{msg:22} [{bar:30}] {decimal_bytes}/{decimal_total_bytes} {eta}",
                    None => "{msg:22} {spinner} {decimal_bytes} {elapsed}",
                };
                let style =
                    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
                bar.set_style(style.progress_chars("=> "));
                bar.reset();
                bar.set_length(total_bytes.unwrap_or(0));
                bar.set_message(phase.to_owned());
            }
            Some(Display::Lines(state)) => {
                if let Ok(mut state) = state.lock() {
                    state.name = phase.into();
                    state.total = total_bytes;
                }
            }
        }
    }

    fn advance(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
        let pending = self.pending.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if pending >= STEP {
            // Of several threads that get here at once, only one takes the bytes.
            self.redraw(self.pending.swap(0, Ordering::Relaxed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_can_advance_concurrently() {
        let progress = ProgressBar { display: None, done: AtomicU64::new(0), pending: AtomicU64::new(0) };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..50_000).for_each(|_| progress.advance(STEP / 2 + 1)));
            }
        });
        assert_eq!(progress.done.into_inner(), 200_000 * (STEP / 2 + 1));
        assert!(progress.pending.into_inner() < STEP);
    }
}
