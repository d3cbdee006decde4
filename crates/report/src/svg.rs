//! Line charts as inline SVG: no script, no font, prints and mails well.

use crate::Point;
use std::fmt::Write as _;

/// One line of a chart.
pub(crate) struct Line<'a> {
    /// Name in the legend.
    pub(crate) label: &'a str,
    /// CSS class that colours it.
    pub(crate) class: &'a str,
    /// Its points; the maximum of each second is drawn.
    pub(crate) points: &'a [Point],
}

/// A stretch of time shown as a shaded band.
pub(crate) struct Band {
    /// Boot clock of its beginning, milliseconds.
    pub(crate) from_ms: u64,
    /// Boot clock of its end, milliseconds.
    pub(crate) to_ms: u64,
    /// Name shown above it.
    pub(crate) label: String,
}

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 160.0;
const LEFT: f64 = 56.0;
const TOP: f64 = 18.0;
const BOTTOM: f64 = 22.0;

/// A second without a sample breaks the line: a gap is shown as a gap.
const GAP_MS: u64 = 2_500;

/// Draws `lines` over the time from `from_ms` to `to_ms`.
pub(crate) fn chart(
    title: &str,
    lines: &[Line<'_>],
    bands: &[Band],
    from_ms: u64,
    to_ms: u64,
) -> String {
    let top_value =
        lines.iter().flat_map(|line| line.points).map(|p| p.max).fold(1.0_f64, f64::max);
    #[allow(clippy::cast_precision_loss)] // Times of one run are far below 2^52 ms.
    let span = (to_ms.saturating_sub(from_ms)).max(1) as f64;
    #[allow(clippy::cast_precision_loss)]
    let x = |ms: u64| LEFT + (ms.saturating_sub(from_ms) as f64) / span * (WIDTH - LEFT - 8.0);
    let y = |value: f64| TOP + (1.0 - value / top_value) * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{0}\"><title>{0}</title>",
        crate::html::escape(title)
    );
    for band in bands {
        let (left, right) = (x(band.from_ms), x(band.to_ms).max(x(band.from_ms) + 1.5));
        let _ = write!(
            svg,
            "<rect class=\"band\" x=\"{left:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/>\
             <text class=\"small\" x=\"{left:.1}\" y=\"12\">{}</text>",
            right - left,
            HEIGHT - TOP - BOTTOM,
            crate::html::escape(&band.label)
        );
    }
    for part in [0.0, 0.5, 1.0] {
        let at = y(top_value * part);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"small\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            at + 4.0,
            figure(top_value * part)
        );
    }
    for line in lines {
        let _ = write!(svg, "<path class=\"{}\" d=\"{}\"/>", line.class, path(line.points, &x, &y));
    }
    for (place, line) in lines.iter().enumerate() {
        #[allow(clippy::cast_precision_loss)]
        let at = LEFT + 8.0 + place as f64 * 170.0;
        let _ = write!(
            svg,
            "<text class=\"small {}-text\" x=\"{at:.1}\" y=\"{:.1}\">{}</text>",
            line.class,
            HEIGHT - 6.0,
            crate::html::escape(line.label)
        );
    }
    svg.push_str("</svg>");
    svg
}

fn path(points: &[Point], x: &impl Fn(u64) -> f64, y: &impl Fn(f64) -> f64) -> String {
    let mut text = String::new();
    let mut last: Option<u64> = None;
    for point in points {
        let joined = last.is_some_and(|before| point.boot_ms.saturating_sub(before) <= GAP_MS);
        let _ = write!(
            text,
            "{}{:.1} {:.1}",
            if joined { "L" } else { "M" },
            x(point.boot_ms),
            y(point.max)
        );
        last = Some(point.boot_ms);
    }
    text
}

/// Returns a value with no more digits than a reader needs.
pub(crate) fn figure(value: f64) -> String {
    if value >= 100.0 || value == value.trunc() {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}
