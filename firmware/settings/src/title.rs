//! `[title]`: what listeners see as the title, and the file it is read from.

use std::path::PathBuf;
use std::time::Duration;

use programme::{Encoding, Line, TitleConfig, TitleError};

use crate::Places;
use crate::document::{Table, Value};
use crate::quantity;

/// `[title]`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TitleSettings {
    /// How text becomes a title. Its pattern is one that compiles.
    pub config: TitleConfig,
    /// The file that is watched, if any.
    pub file: Option<TitleFile>,
}

/// A file that another program writes titles to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TitleFile {
    /// Where it lies. It may be missing for now.
    pub path: PathBuf,
    /// How its bytes are read.
    pub encoding: Encoding,
}

/// No playout announces a title further ahead of its sound.
const MOST_DELAY: Duration = Duration::from_secs(300);

/// More would make every title cost time; nobody keeps such a list by hand.
const MOST_IGNORED: usize = 1000;

const PATTERN: &str = "^(?<artist>.+) - (?<title>.+)$";

pub(crate) fn read(root: &Table<'_>, places: &Places) -> TitleSettings {
    let mut titles = TitleSettings::default();
    let Some(table) = root.get("title").and_then(|value| value.table("[title]")) else { return titles };
    let config = &mut titles.config;
    let text = table.get("text").and_then(|value| value.line_of_text("Radio Example"));
    config.default = text.filter(|text| !text.is_empty()).map(str::to_owned);
    let lines = [("first", Line::First), ("last", Line::Last), ("all", Line::All)];
    config.line = table.get("line").and_then(|value| value.one_of(&lines)).unwrap_or_default();
    config.pattern = table.get("pattern").and_then(|value| pattern(&value));
    config.ignore = table.get("ignore").map(|value| ignored(&value)).unwrap_or_default();
    let delay = table
        .get("delay")
        .and_then(|value| value.parsed("0 s", |text| quantity::span(text, Duration::ZERO, MOST_DELAY)));
    config.delay = delay.unwrap_or_default();
    let encodings = [
        ("auto", Encoding::Auto),
        ("utf-8", Encoding::Utf8),
        ("latin-1", Encoding::Latin1),
        ("cp1252", Encoding::Cp1252),
    ];
    let encoding = table.get("encoding").and_then(|value| value.one_of(&encodings)).unwrap_or_default();
    let path = table.get("file").and_then(|value| value.some_text("/run/now-playing.txt"));
    titles.file = path.map(|path| TitleFile { path: places.base.join(path), encoding });
    table.done();
    titles
}

fn pattern(value: &Value<'_>) -> Option<String> {
    let text = value.some_text(PATTERN)?;
    let config = TitleConfig { pattern: Some(text.to_owned()), ..TitleConfig::default() };
    match programme::Titles::new(config) {
        Ok(_) => Some(text.to_owned()),
        Err(TitleError::Pattern { pattern: _, source }) => {
            // The compiler's message may quote the pattern over several lines; the last one is the reason.
            let reason = source.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim();
            value.refuse_text(text, format!("write a regular expression such as '{PATTERN}' ({reason})"));
            None
        }
    }
}

fn ignored(value: &Value<'_>) -> Vec<String> {
    let rules = value.list("ignore = [\"Jingle*\"]").unwrap_or_default();
    if rules.len() > MOST_IGNORED {
        value.refuse(
            format!("{} entries", rules.len()),
            format!("keep at most {MOST_IGNORED}; * covers many at once"),
        );
        return Vec::new();
    }
    let rule = |value: &Value<'_>| {
        let text = value.some_text("Jingle*")?;
        let inner = text.strip_prefix('*').unwrap_or(text);
        let inner = inner.strip_suffix('*').unwrap_or(inner);
        if inner.contains('*') {
            value.refuse_text(
                text,
                "put * at the beginning, the end or both: it stands for anything only there",
            );
            return None;
        }
        Some(text.to_owned())
    };
    rules.iter().filter_map(rule).collect()
}
