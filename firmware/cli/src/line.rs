//! Lines of text for people: painted, cut to a width, and free of whatever a stranger could make a terminal do.

/// How lines are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Style {
    /// Whether colours are wanted.
    pub colour: bool,
    /// Columns there are; `usize::MAX` where nothing is cut.
    pub width: usize,
}

/// What a piece of text means, which is what its colour says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Paint {
    /// Just text.
    Plain,
    /// Captions.
    Caption,
    /// All is well.
    Good,
    /// Not there yet, or nearly too much.
    Soon,
    /// Somebody should look.
    Bad,
}

impl Paint {
    /// SGR parameters (ECMA-48, 8.3.117); plain text has none.
    const fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Caption => Some("1"),
            Self::Good => Some("32"),
            Self::Soon => Some("33"),
            Self::Bad => Some("1;31"),
        }
    }
}

/// One line, made of painted pieces. Text is cleaned as it is added.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Line(Vec<(Paint, String)>);

impl Line {
    /// The line with one more piece.
    #[must_use]
    pub(crate) fn and(mut self, paint: Paint, text: &str) -> Self {
        match self.0.last_mut() {
            Some((last, piece)) if *last == paint => piece.push_str(&clean(text)),
            Some(_) | None => self.0.push((paint, clean(text))),
        }
        self
    }

    /// A line of plain text.
    #[must_use]
    pub(crate) fn plain(text: &str) -> Self {
        Self::default().and(Paint::Plain, text)
    }

    /// The line as it is written, without its end. A cut is marked by `>`.
    #[must_use]
    pub(crate) fn shown(&self, style: Style) -> String {
        // Space at the end is nothing to show, and nothing to cut.
        let text: String = self.0.iter().map(|(_, text)| text.as_str()).collect();
        let length = text.trim_end().chars().count();
        let mut left = if length > style.width { style.width.saturating_sub(1) } else { length };
        let mut shown = String::new();
        for (paint, text) in &self.0 {
            let piece: String = text.chars().take(left).collect();
            left -= piece.chars().count();
            match paint.code().filter(|_| style.colour && !piece.is_empty()) {
                Some(code) => {
                    shown.push_str("\x1b[");
                    shown.push_str(code);
                    shown.push('m');
                    shown.push_str(&piece);
                    shown.push_str("\x1b[0m");
                }
                None => shown.push_str(&piece),
            }
        }
        if length > style.width && style.width > 0 {
            shown.push('>');
        }
        shown
    }
}

/// The text without control characters, and without the invisible ones that turn the reading direction around.
#[must_use]
pub(crate) fn clean(text: &str) -> String {
    let harmful = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().filter(|c| !harmful(*c)).collect()
}

/// JSON with every control character escaped: serde leaves DEL and the C1 set (which some terminals obey) as they are.
#[must_use]
pub(crate) fn clean_json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        // Below DEL, JSON text holds no control characters but the white space between its tokens.
        if c.is_control() && c >= '\u{7f}' {
            safe.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            safe.push(c);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Style = Style { colour: false, width: usize::MAX };

    #[test]
    fn a_stranger_cannot_steer_the_terminal() {
        let hostile = "\u{1b}]0;owned\u{7}\r\nBach\u{9b}2J\u{202e}\u{7f}";
        assert_eq!(Line::plain(hostile).shown(WIDE), "]0;ownedBach2J");
        let json = clean_json("{\"title\":\"a\u{9b}b\u{7f}\"}\n");
        assert_eq!(json, "{\"title\":\"a\\u009bb\\u007f\"}\n");
    }

    #[test]
    fn cutting_counts_characters_not_paint() {
        let line = Line::default().and(Paint::Bad, "größer").and(Paint::Plain, " als");
        assert_eq!(line.shown(WIDE), "größer als");
        assert_eq!(line.shown(Style { colour: false, width: 8 }), "größer >");
        assert_eq!(line.shown(Style { colour: true, width: 4 }), "\x1b[1;31mgrö\x1b[0m>");
        assert_eq!(line.shown(Style { colour: false, width: 0 }), "");
        assert_eq!(line.shown(Style { colour: false, width: 10 }), "größer als");
    }
}
