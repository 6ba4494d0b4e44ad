//! Progress on standard error: a bar in a terminal, a line a minute elsewhere.

use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

/// A bar that counts to `total`.
pub(crate) fn bar(total: u64, what: &str) -> ProgressBar {
    styled(total, what, "{msg:>12} [{bar:30}] {pos}/{len} {eta}")
}

/// A bar that counts bytes.
pub(crate) fn bytes(total: u64, what: &str) -> ProgressBar {
    styled(total, what, "{msg:>12} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}")
}

fn styled(total: u64, what: &str, template: &str) -> ProgressBar {
    let target = match is_interactive() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::term_like_with_hz(Box::new(Lines::every(MINUTE, say)), 1),
    };
    let bar = ProgressBar::with_draw_target(Some(total), target);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(what.to_owned());
    bar
}

/// A bar over the steps of a training, with loss, rate, norm of the gradients and speed; `cost`, if given, is the
/// number of floating-point operations a token takes, by which the speed becomes a share of what the machine can do.
pub(crate) fn training(what: &str, cost: Option<f64>) -> impl FnMut(&train::Progress) -> bool + use<> {
    let bar = styled(0, what, "{msg:>12} [{bar:20}] {pos}/{len} {eta} {prefix}");
    let seen = cost.filter(|_| is_interactive());
    let cost = seen.map(|cost| cost / kernels::gemm::peak(kernels::gemm::Precision::BF16));
    let (start, mut first, mut held_out) = (Instant::now(), None, String::new());
    move |at| {
        let first = *first.get_or_insert(at.tokens);
        let speed = (at.tokens - first) as f64 / start.elapsed().as_secs_f64().max(1e-9);
        if let Some(loss) = at.held_out {
            held_out = format!(", held out {loss:.3}");
        }
        bar.set_length(at.steps as u64);
        bar.set_position(at.step as u64);
        let share = cost.map_or(String::new(), |cost| format!(", {:.0} % of peak", 100.0 * speed * cost));
        bar.set_prefix(format!(
            "loss {:.3}{held_out}, rate {:.1e}, norm {:.2}, {speed:.0} tokens/s{share}",
            at.loss, at.rate, at.gradient_norm
        ));
        if at.step == at.steps {
            bar.finish_and_clear();
        }
        true
    }
}

/// How often a log hears of what goes on.
const MINUTE: Duration = Duration::from_secs(60);

/// Where a bar is drawn that nobody watches: now and then its text as a line of its own.
#[derive(Debug)]
struct Lines {
    every: Duration,
    write: fn(String),
    /// When the last line was written, and what was drawn since the last flush.
    state: Mutex<(Instant, String)>,
}

impl Lines {
    fn every(every: Duration, write: fn(String)) -> Self {
        Self { every, write, state: Mutex::new((Instant::now(), String::new())) }
    }

    fn drawn(&self, text: &str) -> io::Result<()> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1.push_str(text);
        Ok(())
    }
}

impl TermLike for Lines {
    fn width(&self) -> u16 {
        120
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.drawn(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.drawn(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let text = std::mem::take(&mut state.1);
        if state.0.elapsed() >= self.every && !text.trim().is_empty() {
            state.0 = Instant::now();
            (self.write)(text.trim().to_owned());
        }
        Ok(())
    }
}

/// One line on standard error.
pub(crate) fn say(text: impl std::fmt::Display) {
    eprintln!("{text}");
}

/// Whether standard error is a terminal.
pub(crate) fn is_interactive() -> bool {
    std::io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    static HEARD: Mutex<Vec<String>> = Mutex::new(Vec::new());

    #[test]
    fn a_log_hears_of_a_bar_now_and_then() {
        let draw = |every| {
            let lines = Lines::every(every, |line| HEARD.lock().unwrap().push(line));
            let target = ProgressDrawTarget::term_like_with_hz(Box::new(lines), 255);
            let bar = ProgressBar::with_draw_target(Some(40), target);
            bar.set_style(ProgressStyle::with_template("{msg:>12} {pos}/{len}").unwrap());
            bar.set_message("align");
            (0..40).for_each(|at| bar.set_position(at));
            bar.finish_and_clear();
            std::mem::take(&mut *HEARD.lock().unwrap())
        };
        let heard = draw(Duration::ZERO);
        assert!(!heard.is_empty());
        assert!(heard.iter().all(|line| line.starts_with("align ") && line.ends_with("/40")), "{heard:?}");
        assert!(draw(MINUTE).is_empty());
    }
}
