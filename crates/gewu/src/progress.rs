//! Progress on standard error: a bar in a terminal, nothing elsewhere.

use std::io::IsTerminal;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that counts to `total`.
pub(crate) fn bar(total: u64, what: &str) -> ProgressBar {
    styled(total, what, "{msg:>12} [{bar:30}] {pos}/{len} {eta}")
}

/// A bar that counts bytes.
pub(crate) fn bytes(total: u64, what: &str) -> ProgressBar {
    styled(total, what, "{msg:>12} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}")
}

fn styled(total: u64, what: &str, template: &str) -> ProgressBar {
    // indicatif draws to standard error and hides itself where that is no terminal.
    let bar = ProgressBar::new(total);
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

/// One line on standard error.
pub(crate) fn say(text: impl std::fmt::Display) {
    eprintln!("{text}");
}

/// Whether standard error is a terminal.
pub(crate) fn is_interactive() -> bool {
    std::io::stderr().is_terminal()
}
