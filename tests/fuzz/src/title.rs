//! A title file's way to the air: bytes to text, text to title.
//!
//! Input: four lines (pattern; ignore list with `|` between entries; default text; encoding `a`, `u`, `l`, `c` and line `f`,
//! `l`, `a`), then the file. An empty line leaves its setting out.

use std::time::Duration;

use programme::{Encoding, Line, TextError, TitleConfig, Titles, decode};
use units::Instant;

/// Makes a title; understood if there is one.
pub fn target(data: &[u8]) -> bool {
    let mut lines = data.splitn(5, |byte| *byte == b'\n');
    let mut line = || lines.next().map(|line| String::from_utf8_lossy(line).into_owned()).unwrap_or_default();
    let (pattern, ignore, default, choice) = (line(), line(), line(), line());
    let file = lines.next().unwrap_or_default();
    let mut choice = choice.bytes();
    let encoding = match choice.next() {
        Some(b'u') => Encoding::Utf8,
        Some(b'l') => Encoding::Latin1,
        Some(b'c') => Encoding::Cp1252,
        _ => Encoding::Auto,
    };
    let line = match choice.next() {
        Some(b'l') => Line::Last,
        Some(b'a') => Line::All,
        _ => Line::First,
    };
    let text = match decode(file, encoding) {
        Ok(text) => text,
        Err(TextError::NotUtf8 { at }) => {
            assert!(encoding == Encoding::Utf8 && at < file.len() && std::str::from_utf8(file).is_err());
            return false;
        }
    };
    let delay = Duration::from_millis(choice.next().map_or(0, u64::from));
    let config = TitleConfig {
        pattern: Some(pattern).filter(|pattern| !pattern.is_empty()),
        line,
        ignore: ignore.split('|').filter(|rule| !rule.is_empty()).map(str::to_owned).collect(),
        default: Some(default).filter(|default| !default.is_empty()),
        delay,
    };
    let Ok(mut titles) = Titles::new(config) else { return false };
    let now = Instant::from_millis(1);
    titles.offer(now, &text);
    let Some(due) = titles.next_wakeup() else {
        assert_eq!(titles.poll(now + delay), None, "a title that nobody was told of");
        return false;
    };
    assert_eq!(due, now + delay);
    let title = titles.poll(due).expect("what is due is there");
    check(&title);
    assert_eq!((titles.poll(due), titles.on_air()), (None, Some(title.as_str())), "a title goes out once");
    titles.offer(due, &text);
    assert_eq!(titles.next_wakeup(), None, "the same text is no new title");
    titles.set(due, &text);
    if let Some(said) = titles.poll(due + delay) {
        check(&said);
    }
    true
}

fn check(title: &str) {
    assert!(!title.is_empty() && title.len() <= Titles::LONGEST, "{title:?}");
    assert!(title.trim() == title && !title.contains("  "), "{title:?}");
    assert!(!title.chars().any(|c| c.is_control() || (c.is_whitespace() && c != ' ')), "{title:?}");
}
