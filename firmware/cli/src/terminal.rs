//! What standard output is: a terminal of some size, or a pipe that wants plain lines.

use std::io::{self, IsTerminal, Write};

use crate::line::{Line, Style};

/// Standard output, asked once for its kind and again for its size at each frame.
#[derive(Debug)]
pub(crate) struct Terminal {
    kind: Kind,
    /// Lines of the last frame, which the next one overwrites.
    drawn: usize,
    /// The cursor stands behind a line that is to be overwritten.
    fleeting: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// A pipe or file: no colours, no cuts, nothing redrawn.
    Pipe,
    /// A terminal that knows no escape sequences.
    Dumb,
    Ansi {
        colour: bool,
    },
}

/// A terminal that does not say how large it is gets what terminals always had.
const ASSUMED: (usize, usize) = (80, 24);

impl Terminal {
    /// Looks at standard output and the environment (`TERM`, and `NO_COLOR` as no-color.org has it).
    #[must_use]
    pub(crate) fn of_stdout() -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let kind = if !io::stdout().is_terminal() {
            Kind::Pipe
        } else if set("TERM").is_none_or(|term| term == "dumb") {
            Kind::Dumb
        } else {
            Kind::Ansi { colour: set("NO_COLOR").is_none() }
        };
        Self { kind, drawn: 0, fleeting: false }
    }

    /// Whether frames can be redrawn in place.
    #[must_use]
    pub(crate) fn redraws(&self) -> bool {
        matches!(self.kind, Kind::Ansi { .. })
    }

    /// Columns that a line may take now; `usize::MAX` in a pipe.
    #[must_use]
    pub(crate) fn width(&self) -> usize {
        match self.kind {
            Kind::Pipe => usize::MAX,
            Kind::Dumb | Kind::Ansi { .. } => size().0,
        }
    }

    /// Writes lines once.
    ///
    /// # Errors
    /// What standard output says.
    pub(crate) fn print(&self, lines: &[Line]) -> io::Result<()> {
        let mut text = String::new();
        for line in lines {
            text.push_str(&line.shown(self.style()));
            text.push('\n');
        }
        write(&text)
    }

    /// Writes a line that the next one overwrites; nothing where that cannot be.
    ///
    /// # Errors
    /// What standard output says.
    pub(crate) fn fleeting(&mut self, line: &Line) -> io::Result<()> {
        if !self.redraws() {
            return Ok(());
        }
        self.fleeting = true;
        write(&format!("\r{}\x1b[K", line.shown(self.style())))
    }

    /// Clears a line that was to be overwritten.
    ///
    /// # Errors
    /// What standard output says.
    pub(crate) fn rest(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.fleeting) { write("\r\x1b[K") } else { Ok(()) }
    }

    /// Writes lines over those of the last frame, or below them where nothing can be redrawn.
    ///
    /// # Errors
    /// What standard output says.
    pub(crate) fn redraw(&mut self, lines: &[Line]) -> io::Result<()> {
        if !self.redraws() {
            return self.print(&[lines, &[Line::default()]].concat());
        }
        let height = size().1;
        let text = frame(lines, self.style(), height, self.drawn);
        self.drawn = lines.len().min(height.saturating_sub(1));
        write(&text)
    }

    fn style(&self) -> Style {
        match self.kind {
            Kind::Pipe | Kind::Dumb => Style { colour: false, width: self.width() },
            Kind::Ansi { colour } => Style { colour, width: self.width() },
        }
    }
}

/// One frame as one piece of text (ECMA-48): up to the first line of the last frame, each line with its rest erased,
/// then everything below erased. Lines do not wrap meanwhile, so that a double-width letter cannot push the frame down.
/// What is higher than the terminal is left out: it could not be overwritten once it has scrolled away.
fn frame(lines: &[Line], style: Style, height: usize, drawn: usize) -> String {
    let shown = lines.len().min(height.saturating_sub(1));
    let mut text = String::from("\x1b[?7l");
    // The terminal may have shrunk since; the cursor stops at the top by itself.
    if drawn > 0 {
        text.push_str(&format!("\x1b[{drawn}A"));
    }
    for line in &lines[..shown] {
        text.push('\r');
        text.push_str(&line.shown(style));
        text.push_str("\x1b[K\n");
    }
    text.push_str("\r\x1b[J\x1b[?7h");
    text
}

fn size() -> (usize, usize) {
    let Ok(size) = rustix::termios::tcgetwinsize(io::stdout()) else { return ASSUMED };
    let or = |value: u16, assumed| if value == 0 { assumed } else { usize::from(value) };
    (or(size.ws_col, ASSUMED.0), or(size.ws_row, ASSUMED.1))
}

/// Writes all of it at once and flushes: a frame is never seen half.
pub(crate) fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_covers_the_last_one() {
        let style = Style { colour: false, width: 80 };
        let lines = [Line::plain("a"), Line::plain("b")];
        assert_eq!(frame(&lines, style, 24, 0), "\x1b[?7l\ra\x1b[K\n\rb\x1b[K\n\r\x1b[J\x1b[?7h");
        assert!(frame(&lines, style, 24, 3).starts_with("\x1b[?7l\x1b[3A\ra"));
        // One line is left for the cursor.
        assert_eq!(frame(&lines, style, 2, 1).matches('\n').count(), 1);
        assert_eq!(frame(&lines, style, 0, 0).matches('\n').count(), 0);
    }
}
