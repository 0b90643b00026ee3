//! A page of SVG: text, and a QR code drawn as one path. Millimetres, A4.

use std::fmt::Write as _;

use qrcode::{Color, EcLevel, QrCode};
use zeroize::Zeroizing;

/// What a QR code cannot hold.
#[derive(Debug)]
pub(super) struct TooMuch;

/// A page that is being drawn. What stands on it may be a secret, so its text is wiped.
pub(super) struct Page {
    svg: Zeroizing<String>,
}

impl Page {
    pub(super) fn new(width_mm: u32, height_mm: u32, title: &str) -> Self {
        // Room for everything that is drawn here, so that growing leaves no copies behind.
        let mut svg = Zeroizing::new(String::with_capacity(256 * 1024));
        let _ = write!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width_mm}mm\" \
             height=\"{height_mm}mm\" viewBox=\"0 0 {width_mm} {height_mm}\">\n\
             <title>{}</title>\n\
             <rect width=\"{width_mm}\" height=\"{height_mm}\" fill=\"#fff\"/>\n",
            Escaped(title)
        );
        Self { svg }
    }

    /// One line of text; `size_mm` is the height of its letters.
    pub(super) fn text(&mut self, x: u32, y: u32, size_mm: f32, style: Style, text: &str) {
        let family = match style {
            Style::Plain | Style::Bold => "Helvetica, Arial, sans-serif",
            Style::Digits => "DejaVu Sans Mono, Menlo, Consolas, monospace",
        };
        let weight = match style {
            Style::Plain => "normal",
            Style::Bold | Style::Digits => "bold",
        };
        let _ = writeln!(
            self.svg,
            "<text x=\"{x}\" y=\"{y}\" font-family=\"{family}\" font-size=\"{size_mm}\" \
             font-weight=\"{weight}\" xml:space=\"preserve\">{}</text>",
            Escaped(text)
        );
    }

    /// A QR code of `content`, `side_mm` wide with its quiet zone.
    pub(super) fn qr(
        &mut self,
        x: u32,
        y: u32,
        side_mm: u32,
        level: EcLevel,
        content: &[u8],
    ) -> Result<(), TooMuch> {
        let code = QrCode::with_error_correction_level(content, level).map_err(|_| TooMuch)?;
        // Four light modules on every side, as ISO/IEC 18004 asks for.
        let across = code.width().saturating_add(8);
        let _ = write!(
            self.svg,
            "<svg x=\"{x}\" y=\"{y}\" width=\"{side_mm}\" height=\"{side_mm}\" \
             viewBox=\"-4 -4 {across} {across}\" shape-rendering=\"crispEdges\"><path d=\""
        );
        let colors = code.to_colors();
        for (row, line) in colors.chunks(code.width()).enumerate() {
            for (column, _) in line.iter().enumerate().filter(|(_, c)| **c == Color::Dark) {
                let _ = write!(self.svg, "M{column} {row}h1v1h-1z");
            }
        }
        self.svg.push_str("\"/></svg>\n");
        Ok(())
    }

    pub(super) fn finish(mut self) -> Zeroizing<String> {
        self.svg.push_str("</svg>\n");
        self.svg
    }
}

#[derive(Clone, Copy)]
pub(super) enum Style {
    Plain,
    Bold,
    Digits,
}

/// Text as XML shows it: a name that holds markup stays a name.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '&' => f.write_str("&amp;"),
            '"' => f.write_str("&quot;"),
            // XML 1.0 has no place for these, not even escaped.
            c if c.is_control() => f.write_str("\u{fffd}"),
            c => f.write_char(c),
        })
    }
}
