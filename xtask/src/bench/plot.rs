//! The figures as a plot, in SVG.
//!
//! A panel for each figure, a bar for each program. Every axis is linear and begins at zero, so that lengths can be
//! compared; every bar has its figure beside it. The colours follow the reader's choice of light or dark.

use std::fmt::Write as _;

use super::figures::{COPY, Figures};
use super::goals;

/// One figure of all programs.
struct Panel {
    title: &'static str,
    decimals: usize,
    of: fn(&Figures) -> Option<f64>,
    /// What Keyhaven shall not exceed, in the panel's unit.
    goal: Option<f64>,
}

const COLUMNS: usize = 3;
const MARGIN: f64 = 24.0;
const HEAD: f64 = 84.0;
const PANEL_WIDTH: f64 = 320.0;
/// Between two panels, and between the rows of them.
const GAP: f64 = 28.0;
const NAMES_WIDTH: f64 = 96.0;
/// Right of the longest bar, for its figure.
const FIGURE_WIDTH: f64 = 52.0;
const TITLE_HEIGHT: f64 = 24.0;
const BAR_HEIGHT: f64 = 14.0;
const ROW_HEIGHT: f64 = 20.0;
const AXIS_HEIGHT: f64 = 22.0;
/// Steps of an axis, at most.
const STEPS_MAX: f64 = 4.0;

const STYLE: &str = "\
.paper{fill:#ffffff}
text{font:12px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;fill:#1f2328}
.head{font-size:16px;font-weight:600}
.title{font-weight:600}
.quiet{fill:#59636e;font-size:11px}
.figure{paint-order:stroke;stroke:#ffffff;stroke-width:4px;stroke-linejoin:round}
.grid{stroke:#d1d9e0;stroke-width:1}
.ours{fill:#0969da}
.rows{fill:#54aeff}
.copy{fill:#59636e}
.peer{fill:#afb8c1}
.goal{stroke:#cf222e;stroke-width:1.5;stroke-dasharray:4 3}
@media (prefers-color-scheme:dark){
.paper{fill:#0d1117}
text{fill:#e6edf3}
.quiet{fill:#9198a1}
.figure{stroke:#0d1117}
.grid{stroke:#30363d}
.ours{fill:#4493f8}
.rows{fill:#1f6feb}
.copy{fill:#9198a1}
.peer{fill:#57606a}
.goal{stroke:#ff7b72}
}";

/// Draws all of it.
pub(super) fn draw(setting: &str, all: &[Figures]) -> String {
    let panels = panels(all);
    let programs = precise(all.len());
    let panel_height = TITLE_HEIGHT + programs * ROW_HEIGHT + AXIS_HEIGHT;
    let columns = precise(COLUMNS);
    let width = 2.0 * MARGIN + columns * PANEL_WIDTH + (columns - 1.0) * GAP;
    let height = HEAD + (precise(panels.len()) / columns).ceil() * (panel_height + GAP) + MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" role=\"img\">\n<title>Keyhaven beside its peers</title>\n<style>\n{STYLE}\n</style>\n\
         <rect class=\"paper\" width=\"{width:.0}\" height=\"{height:.0}\"/>\n"
    );
    write_text(
        &mut svg,
        "head",
        (MARGIN, 32.0),
        "Keyhaven beside its peers: shorter is better",
    );
    write_text(&mut svg, "quiet", (MARGIN, 52.0), setting);
    let legend = "Axes are linear and begin at zero. Dashed: the goal for Keyhaven. Peaks are anonymous memory.";
    write_text(&mut svg, "quiet", (MARGIN, 68.0), legend);
    for (number, panel) in panels.iter().enumerate() {
        let (column, row) = (number % COLUMNS, number / COLUMNS);
        let left = MARGIN + precise(column) * (PANEL_WIDTH + GAP);
        let top = HEAD + precise(row) * (panel_height + GAP);
        draw_panel(&mut svg, (left, top), panel, all);
    }
    svg.push_str("</svg>\n");
    svg
}

fn panels(all: &[Figures]) -> [Panel; 12] {
    let panel = |title, decimals, of, goal| Panel {
        title,
        decimals,
        of,
        goal,
    };
    [
        panel(
            "First backup, × cp -a + sync -f",
            2,
            |of| of.first_ratio,
            Some(goals::FIRST_RATIO),
        ),
        panel(
            "First backup: user CPU, s",
            2,
            |of| of.first_user_s,
            Some(goals::FIRST_USER_S),
        ),
        panel(
            "First backup: peak memory, MiB",
            0,
            |of| of.first_peak_mib,
            Some(goals::PEAK_MIB),
        ),
        panel("Stored, MB", 0, |of| of.stored_mb, goals::stored_mb(all)),
        panel(
            "Unchanged backup, s",
            2,
            |of| of.unchanged_s,
            Some(goals::UNCHANGED_S),
        ),
        panel(
            "Unchanged: peak memory, MiB",
            0,
            |of| of.unchanged_peak_mib,
            Some(goals::UNCHANGED_MIB),
        ),
        panel("Next day with media: sent, MB", 1, |of| of.day_mb, None),
        panel(
            "A day's messages alone: sent, MB",
            1,
            |of| of.messages_mb,
            Some(goals::MESSAGES_MB),
        ),
        panel(
            "Restore, × cp -a + sync -f",
            2,
            |of| of.restore_ratio,
            Some(goals::RESTORE_RATIO),
        ),
        panel(
            "Restore: peak memory, MiB",
            0,
            |of| of.restore_peak_mib,
            Some(goals::PEAK_MIB),
        ),
        panel("Verify all data, s", 2, |of| of.verify_s, None),
        panel(
            "Verify all data: CPU, s",
            2,
            |of| of.verify_cpu_s,
            Some(goals::VERIFY_CPU_S),
        ),
    ]
}

fn draw_panel(svg: &mut String, (left, top): (f64, f64), panel: &Panel, all: &[Figures]) {
    write_text(svg, "title", (left, top + 12.0), panel.title);
    let bars_left = left + NAMES_WIDTH;
    let bars_width = PANEL_WIDTH - NAMES_WIDTH - FIGURE_WIDTH;
    let bars_top = top + TITLE_HEIGHT;
    let bars_bottom = bars_top + precise(all.len()) * ROW_HEIGHT;
    let figures = all.iter().filter_map(panel.of).chain(panel.goal);
    let axis = Axis::to(figures.fold(0.0, f64::max));
    let at = |figure: f64| bars_left + figure / axis.end * bars_width;
    for tick in axis.ticks() {
        let x = at(tick);
        draw_line(svg, "grid", x, (bars_top, bars_bottom));
        let label = format!("{tick:.*}", axis.decimals);
        // Writing to a string cannot fail.
        let _ = writeln!(
            svg,
            "<text class=\"quiet\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            bars_bottom + 14.0
        );
    }
    let mut labels = Vec::new();
    for (number, one) in all.iter().enumerate() {
        let y = bars_top + precise(number) * ROW_HEIGHT;
        let text_y = y + 11.5;
        write_text(svg, "", (left, text_y), &one.name);
        let Some(figure) = (panel.of)(one) else {
            labels.push((bars_left + 4.0, text_y, "-".to_owned()));
            continue;
        };
        let end = at(figure);
        let _ = writeln!(
            svg,
            "<rect class=\"{}\" x=\"{bars_left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{BAR_HEIGHT:.1}\"/>",
            colour(one),
            y + 0.5,
            end - bars_left
        );
        let label = format!("{figure:.*}", panel.decimals);
        labels.push((end + 4.0, text_y, label));
    }
    if let Some(goal) = panel.goal {
        draw_line(svg, "goal", at(goal), (bars_top, bars_bottom));
    }
    // Last, so that no line crosses a figure.
    for (x, y, label) in labels {
        write_text(svg, "figure", (x, y), &label);
    }
}

fn colour(one: &Figures) -> &'static str {
    match (one.ours, one.name.as_str()) {
        (true, "keyhaven") => "ours",
        (true, _) => "rows",
        (false, COPY) => "copy",
        (false, _) => "peer",
    }
}

fn draw_line(svg: &mut String, class: &str, x: f64, (top, bottom): (f64, f64)) {
    // Writing to a string cannot fail.
    let _ = writeln!(
        svg,
        "<line class=\"{class}\" x1=\"{x:.1}\" y1=\"{top:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\"/>"
    );
}

fn write_text(svg: &mut String, class: &str, (x, y): (f64, f64), text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    // Writing to a string cannot fail.
    let _ = writeln!(
        svg,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"
    );
}

/// A linear axis from zero.
#[derive(Debug, PartialEq)]
struct Axis {
    step: f64,
    end: f64,
    decimals: usize,
}

impl Axis {
    /// One that reaches `highest`, in steps of 1, 2 or 5 times a power of ten.
    fn to(highest: f64) -> Self {
        let rough = highest.max(1e-9) / STEPS_MAX;
        let power = rough.log10().floor();
        let ten = 10_f64.powf(power);
        let step = [1.0, 2.0, 5.0]
            .into_iter()
            .map(|times| times * ten)
            .find(|step| *step * STEPS_MAX >= highest)
            .unwrap_or(10.0 * ten);
        let decimals = (0..12_usize)
            .find(|decimals| step * 10_f64.powf(precise(*decimals)) >= 0.999)
            .unwrap_or(12);
        Self {
            step,
            end: step * (highest / step).ceil().max(1.0),
            decimals,
        }
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        (0_u32..)
            .map(|number| f64::from(number) * self.step)
            .take_while(|tick| *tick <= self.end * 1.000_001)
    }
}

/// A small count, to draw with.
fn precise(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_begins_at_zero_and_ends_at_a_round_number_that_holds_all() {
        for highest in [0.0, 0.021, 0.05, 0.74, 1.0, 3.3, 8.16, 48.0, 999.0, 1_677.0] {
            let axis = Axis::to(highest);
            let ticks: Vec<f64> = axis.ticks().collect();
            assert_eq!(ticks[0], 0.0);
            assert!(axis.end >= highest, "{highest}: {axis:?}");
            assert!((2..=5).contains(&ticks.len()), "{highest}: {ticks:?}");
            let shown = format!("{:.*}", axis.decimals, axis.step);
            let shown: f64 = shown.parse().unwrap();
            assert!(
                (shown / axis.step - 1.0).abs() < 1e-6,
                "{highest}: {axis:?}"
            );
        }
        assert_eq!(
            Axis::to(8.16),
            Axis {
                step: 5.0,
                end: 10.0,
                decimals: 0
            }
        );
    }

    #[test]
    fn a_bar_is_as_long_as_its_figure_and_a_missing_one_is_not_drawn() {
        let of = |name: &str, first_ratio| Figures {
            name: name.to_owned(),
            ours: name == "keyhaven",
            first_ratio,
            ..Figures::default()
        };
        let all = [
            of("keyhaven", Some(2.0)),
            of("cp -a", Some(1.0)),
            of("a<b", Some(8.0)),
            of("none", None),
        ];
        let svg = draw("today", &all);
        let width = |class: &str| -> f64 {
            let bar = svg
                .split(&format!("<rect class=\"{class}\""))
                .nth(1)
                .unwrap();
            let width = bar.split("width=\"").nth(1).unwrap();
            width.split('"').next().unwrap().parse().unwrap()
        };
        assert!((width("ours") / width("copy") - 2.0).abs() < 0.01);
        assert!((width("peer") / width("copy") - 8.0).abs() < 0.02);
        // One panel has figures, and of three programs.
        assert_eq!(svg.matches("<rect class=").count(), 1 + 3);
        assert!(svg.contains("a&lt;b") && !svg.contains("a<b"));
        assert!(svg.contains("prefers-color-scheme:dark"));
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }
}
