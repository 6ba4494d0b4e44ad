//! Plots as inline SVG: bars that shrink, dots with intervals, curves. Colors come from the page's style.

use maud::{Markup, html};

/// One bar of a funnel.
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) value: f64,
    pub(super) note: String,
}

/// One line of a dot plot; all numbers from 0 to 1.
#[derive(Default)]
pub(super) struct Dot {
    pub(super) label: String,
    pub(super) value: f64,
    pub(super) interval: Option<(f64, f64)>,
    /// A second mark to compare with: the score of ignoring the question.
    pub(super) chance: Option<f64>,
    /// A hollow dot: the value before the run changed the model.
    pub(super) before: Option<f64>,
    pub(super) note: String,
}

/// Width of a plot in its own units; the page scales it to the screen.
const WIDTH: f64 = 360.0;
const ROW: f64 = 34.0;

/// Horizontal bars, each with its label above.
pub(super) fn bars(bars: &[Bar]) -> Markup {
    let most = bars.iter().map(|bar| bar.value).fold(1.0, f64::max);
    let height = ROW * bars.len() as f64;
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" {
            @for (row, bar) in bars.iter().enumerate() {
                @let top = ROW * row as f64;
                text x="0" y=(top + 12.0) class="label" { (bar.label) }
                text x=(WIDTH) y=(top + 12.0) class="note" text-anchor="end" { (bar.note) }
                rect x="0" y=(top + 17.0) width=(WIDTH) height="9" rx="2" class="track" {}
                rect x="0" y=(top + 17.0) width=(format!("{:.1}", WIDTH * bar.value / most)) height="9" rx="2" class="bar" {}
            }
        }
    }
}

/// Dots with intervals on a scale from 0 to 100 %.
pub(super) fn dots(dots: &[Dot]) -> Markup {
    let height = ROW * dots.len() as f64 + 18.0;
    let x = |value: f64| format!("{:.1}", 6.0 + (WIDTH - 12.0) * value.clamp(0.0, 1.0));
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" {
            @for tick in [0.0, 0.25, 0.5, 0.75, 1.0] {
                line x1=(x(tick)) x2=(x(tick)) y1="0" y2=(height - 16.0) class="grid" {}
                text x=(x(tick)) y=(height - 4.0) class="note"
                    text-anchor=(if tick == 0.0 { "start" } else if tick == 1.0 { "end" } else { "middle" }) {
                    (format!("{:.0} %", 100.0 * tick))
                }
            }
            @for (row, dot) in dots.iter().enumerate() {
                @let top = ROW * row as f64;
                @let middle = top + 22.0;
                text x="0" y=(top + 12.0) class="label" { (dot.label) }
                text x=(WIDTH) y=(top + 12.0) class="note" text-anchor="end" { (dot.note) }
                @if let Some(chance) = dot.chance {
                    line x1=(x(chance)) x2=(x(chance)) y1=(middle - 6.0) y2=(middle + 6.0) class="chance" {}
                }
                @if let Some((low, high)) = dot.interval {
                    line x1=(x(low)) x2=(x(high)) y1=(middle) y2=(middle) class="interval" {}
                }
                @if let Some(before) = dot.before {
                    circle cx=(x(before)) cy=(middle) r="4" class="before" {}
                }
                circle cx=(x(dot.value)) cy=(middle) r="4" class="dot" {}
            }
        }
    }
}

/// One curve; its points are in plot order.
pub(super) struct Curve {
    pub(super) label: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// Curves over a common horizontal axis, scaled to the largest and smallest value of all.
pub(super) fn curves(curves: &[Curve], axis: &str) -> Markup {
    const HEIGHT: f64 = 150.0;
    let points =
        || curves.iter().flat_map(|curve| &curve.points).filter(|(x, y)| x.is_finite() && y.is_finite());
    let range = |of: fn(&(f64, f64)) -> f64| {
        let low = points().map(of).fold(f64::INFINITY, f64::min);
        let high = points().map(of).fold(f64::NEG_INFINITY, f64::max);
        (low, if high > low { high } else { low + 1.0 })
    };
    let ((left, right), (low, high)) = (range(|p| p.0), range(|p| p.1));
    let place = |(x, y): (f64, f64)| {
        let across = 6.0 + (WIDTH - 12.0) * (x - left) / (right - left);
        format!("{across:.1},{:.1}", 6.0 + (HEIGHT - 12.0) * (high - y) / (high - low))
    };
    let height = HEIGHT + 18.0 + 14.0 * curves.len() as f64;
    html! {
        @if points().next().is_some() {
            svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" {
                line x1="6" x2=(WIDTH - 6.0) y1=(HEIGHT - 6.0) y2=(HEIGHT - 6.0) class="grid" {}
                text x="8" y="12" class="note" { (format!("{high:.3}")) }
                text x="8" y=(HEIGHT - 9.0) class="note" { (format!("{low:.3}")) }
                text x=(WIDTH) y=(HEIGHT + 8.0) class="note" text-anchor="end" { (axis) (format!(" {left:.0}–{right:.0}")) }
                @for (index, curve) in curves.iter().enumerate() {
                    @let line = curve.points.iter().filter(|(x, y)| x.is_finite() && y.is_finite())
                        .map(|&point| place(point)).collect::<Vec<_>>().join(" ");
                    polyline points=(line) class=(format!("curve c{}", index % 6)) {}
                    text x="6" y=(HEIGHT + 20.0 + 14.0 * index as f64) class=(format!("label c{}", index % 6)) { "— " (curve.label) }
                }
            }
        }
    }
}
