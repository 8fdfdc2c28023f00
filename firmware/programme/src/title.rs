//! Which title goes on air, and when.

use std::collections::VecDeque;
use std::time::Duration;

use regex_lite::Regex;
use units::Instant;

use crate::text::clean;

/// How offered text becomes a title.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TitleConfig {
    /// A regular expression that finds the title in the text. Groups named `artist` and `title` give
    /// "artist - title"; without these, group 1 is the title; without groups, the whole match is. Text that does not
    /// match is ignored, as if it were on the list below: a pattern says what titles look like, and what looks
    /// otherwise (a log line, an advert's number) should not be read out to listeners. Default none: all of it.
    pub pattern: Option<String>,
    /// Which line of the text counts. Default the first.
    pub line: Line,
    /// Titles that are not shown, compared without regard to case; `*` at either end stands for anything.
    pub ignore: Vec<String>,
    /// What is shown in place of empty or ignored text. Default none: the title before stays.
    pub default: Option<String>,
    /// How long a title waits, so that it does not overtake the sound it belongs to. Default none.
    pub delay: Duration,
}

/// Which line of a text counts. Empty lines never do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Line {
    /// The first.
    #[default]
    First,
    /// The last: for files that grow.
    Last,
    /// All of them, joined by spaces; the pattern sees them as they are.
    All,
}

/// Why titles cannot be made this way.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TitleError {
    /// The pattern is no regular expression.
    #[error("the title pattern {pattern:?} is no regular expression")]
    Pattern {
        /// As set.
        pattern: String,
        /// What is wrong with it.
        #[source]
        source: regex_lite::Error,
    },
}

/// The way of titles from a source to the air. Sans-IO: told the time, asked for what is due.
#[derive(Debug)]
pub struct Titles {
    pattern: Option<Regex>,
    line: Line,
    ignore: Vec<Ignored>,
    default: Option<String>,
    delay: Duration,
    /// In the order of their time; the times never fall.
    waiting: VecDeque<(Instant, String)>,
    on_air: Option<String>,
}

impl Titles {
    /// Most titles that wait out their delay at once; further ones replace the newest.
    pub const MOST_WAITING: usize = 32;

    /// Longest title in bytes of UTF-8; longer ones are cut between two characters.
    pub const LONGEST: usize = crate::text::LONGEST;

    /// Titles by these rules; nothing is on air yet.
    ///
    /// # Errors
    /// [`TitleError::Pattern`] with what the pattern's compiler said.
    pub fn new(config: TitleConfig) -> Result<Self, TitleError> {
        let pattern = match config.pattern {
            Some(pattern) => match Regex::new(&pattern) {
                Ok(regex) => Some(regex),
                Err(source) => return Err(TitleError::Pattern { pattern, source }),
            },
            None => None,
        };
        Ok(Self {
            pattern,
            line: config.line,
            ignore: config.ignore.iter().map(|rule| Ignored::new(rule)).collect(),
            default: config.default.map(|text| clean(&text)).filter(|text| !text.is_empty()),
            delay: config.delay,
            waiting: VecDeque::new(),
            on_air: None,
        })
    }

    /// Takes text from a source: line, pattern, ignore list and default apply, then the delay.
    pub fn offer(&mut self, now: Instant, text: &str) {
        let title = self
            .extract(text)
            .map(|found| clean(&found))
            .filter(|title| !title.is_empty() && !self.ignore.iter().any(|rule| rule.covers(title)))
            .or_else(|| self.default.clone());
        if let Some(title) = title {
            self.queue(now, title);
        }
    }

    /// Takes a title from a person, who means what he writes: it is cleaned and delayed, nothing else. Empty text
    /// gives the default, if there is one.
    pub fn set(&mut self, now: Instant, text: &str) {
        let title = Some(clean(text)).filter(|title| !title.is_empty()).or_else(|| self.default.clone());
        if let Some(title) = title {
            self.queue(now, title);
        }
    }

    /// The title to put on air now, if it is another than before. Titles whose time passed unasked are left out.
    pub fn poll(&mut self, now: Instant) -> Option<String> {
        let mut due = None;
        while self.waiting.front().is_some_and(|(at, _)| *at <= now) {
            due = self.waiting.pop_front().map(|(_, title)| title);
        }
        let title = due.filter(|title| self.on_air.as_ref() != Some(title))?;
        self.on_air = Some(title.clone());
        Some(title)
    }

    /// When [`Titles::poll`] will have something; `None` if nothing waits.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Instant> {
        self.waiting.front().map(|(at, _)| *at)
    }

    /// The title that [`Titles::poll`] gave last.
    #[must_use]
    pub fn on_air(&self) -> Option<&str> {
        self.on_air.as_deref()
    }

    fn queue(&mut self, now: Instant, title: String) {
        let newest = self.waiting.back().map_or(self.on_air.as_ref(), |(_, newest)| Some(newest));
        if newest == Some(&title) {
            return;
        }
        if self.waiting.len() >= Self::MOST_WAITING {
            self.waiting.pop_back();
        }
        self.waiting.push_back((now + self.delay, title));
    }

    fn extract(&self, text: &str) -> Option<String> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let text = match self.line {
            Line::First => lines.next()?,
            Line::Last => lines.next_back()?,
            Line::All => text,
        };
        let Some(pattern) = &self.pattern else { return Some(text.to_owned()) };
        let found = pattern.captures(text)?;
        let group = |name| found.name(name).map(|part| part.as_str().trim()).filter(|part| !part.is_empty());
        let named = pattern.capture_names().flatten().any(|name| name == "artist" || name == "title");
        match (group("artist"), group("title")) {
            (Some(artist), Some(title)) => Some(format!("{artist} - {title}")),
            (Some(one), None) | (None, Some(one)) => Some(one.to_owned()),
            (None, None) if named => None,
            (None, None) => {
                let whole = usize::from(pattern.captures_len() > 1);
                found.get(whole).map(|part| part.as_str().to_owned())
            }
        }
    }
}

/// One entry of the ignore list, in lower case.
#[derive(Debug)]
enum Ignored {
    Is(String),
    Begins(String),
    Ends(String),
    Contains(String),
}

impl Ignored {
    fn new(rule: &str) -> Self {
        let rule = rule.trim().to_lowercase();
        match (rule.strip_prefix('*'), rule.strip_suffix('*')) {
            // A lone star is both its own beginning and its own end.
            (Some(rest), Some(_)) => Self::Contains(rest.strip_suffix('*').unwrap_or(rest).to_owned()),
            (Some(end), None) => Self::Ends(end.to_owned()),
            (None, Some(start)) => Self::Begins(start.to_owned()),
            (None, None) => Self::Is(rule),
        }
    }

    fn covers(&self, title: &str) -> bool {
        let title = title.to_lowercase();
        match self {
            Self::Is(text) => title == *text,
            Self::Begins(text) => title.starts_with(text),
            Self::Ends(text) => title.ends_with(text),
            Self::Contains(text) => title.contains(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn titles(config: TitleConfig) -> Titles {
        Titles::new(config).unwrap()
    }

    /// What one text becomes.
    fn made(config: TitleConfig, text: &str) -> Option<String> {
        let mut titles = titles(config);
        titles.offer(at(0), text);
        titles.poll(at(0))
    }

    #[test]
    fn a_title_goes_out_once() {
        let mut titles = titles(TitleConfig::default());
        assert_eq!((titles.poll(at(0)), titles.next_wakeup()), (None, None));
        titles.offer(at(0), "Bach - Air\n");
        assert_eq!(titles.next_wakeup(), Some(at(0)));
        assert_eq!(titles.poll(at(0)).as_deref(), Some("Bach - Air"));
        titles.offer(at(10), " Bach -  Air");
        assert_eq!((titles.poll(at(10)), titles.next_wakeup()), (None, None));
        assert_eq!(titles.on_air(), Some("Bach - Air"));
    }

    #[test]
    fn each_title_waits_out_its_delay() {
        let mut titles = titles(TitleConfig { delay: Duration::from_secs(5), ..TitleConfig::default() });
        titles.offer(at(0), "A");
        titles.offer(at(2000), "B");
        titles.offer(at(2500), "B");
        assert_eq!((titles.next_wakeup(), titles.poll(at(4999))), (Some(at(5000)), None));
        assert_eq!(titles.poll(at(5000)).as_deref(), Some("A"));
        assert_eq!(titles.next_wakeup(), Some(at(7000)));
        assert_eq!(titles.poll(at(60_000)).as_deref(), Some("B"));
        titles.offer(at(61_000), "C");
        titles.offer(at(61_001), "B");
        assert_eq!(
            (titles.poll(at(70_000)), titles.next_wakeup()),
            (None, None),
            "there and back unasked: no change"
        );
    }

    #[test]
    fn what_waits_is_bounded_and_the_newest_wins() {
        let mut titles = titles(TitleConfig { delay: Duration::from_secs(5), ..TitleConfig::default() });
        for n in 0..1000 {
            titles.offer(at(n), &format!("title {n}"));
        }
        assert_eq!(titles.waiting.len(), Titles::MOST_WAITING);
        assert_eq!(titles.poll(at(60_000)).as_deref(), Some("title 999"));
    }

    #[test]
    fn a_pattern_finds_the_title() {
        let with = |pattern: &str, text| {
            made(TitleConfig { pattern: Some(pattern.to_owned()), ..TitleConfig::default() }, text)
        };
        let fields = r"^(?<title>[^|]*)\|(?<artist>[^|]*)";
        assert_eq!(with(fields, "Air|Bach|3:20").as_deref(), Some("Bach - Air"));
        assert_eq!(with(fields, "Air||3:20").as_deref(), Some("Air"));
        assert_eq!(with(fields, "||3:20"), None);
        assert_eq!(with(r"<title>(.*?)</title>", "<x><title> Air </title>").as_deref(), Some("Air"));
        assert_eq!(with(r"Now: \w+", "## Now: Air ##").as_deref(), Some("Now: Air"));
        assert_eq!(with(r"^Now: (.*)", "Advert 17"), None, "what does not match is ignored");
        let refused = Titles::new(TitleConfig { pattern: Some("(".to_owned()), ..TitleConfig::default() });
        assert!(refused.unwrap_err().to_string().contains("\"(\""));
    }

    #[test]
    fn the_line_can_be_chosen() {
        let text = "\r\n  \r\nfirst\r\nmiddle\r\nlast\r\n\r\n";
        let line = |line| made(TitleConfig { line, ..TitleConfig::default() }, text).unwrap();
        assert_eq!(line(Line::First), "first");
        assert_eq!(line(Line::Last), "last");
        assert_eq!(line(Line::All), "first middle last");
    }

    #[test]
    fn ignored_and_empty_text_gives_the_default() {
        let config = TitleConfig {
            ignore: ["Jingle", "ad_*", "*(instrumental)", "*TEST*"].map(str::to_owned).to_vec(),
            default: Some("Radio Example".to_owned()),
            ..TitleConfig::default()
        };
        let shown = |text| made(config.clone(), text).unwrap();
        for ignored in ["JINGLE", "Ad_17", "Air (Instrumental)", "a test b", "", " \n", "\u{7}"] {
            assert_eq!(shown(ignored), "Radio Example", "{ignored:?}");
        }
        for kept in ["Jingle Bells", "Bad_17", "(Instrumental) Air", "Te st"] {
            assert_eq!(shown(kept), kept);
        }
        let none = TitleConfig { default: None, ..config.clone() };
        assert_eq!(made(none, "jingle"), None, "without a default the title before stays");
        let all = TitleConfig { ignore: vec!["*".to_owned()], ..config };
        assert_eq!(made(all, "anything").unwrap(), "Radio Example");
    }

    #[test]
    fn a_person_is_not_second_guessed() {
        let mut titles = titles(TitleConfig {
            pattern: Some("never".to_owned()),
            ignore: vec!["*".to_owned()],
            ..TitleConfig::default()
        });
        titles.set(at(0), " Tonight:\tBach\n");
        assert_eq!(titles.poll(at(0)).as_deref(), Some("Tonight: Bach"));
    }

    #[test]
    fn no_title_is_longer_than_a_metadata_block_takes() {
        let shown = made(TitleConfig::default(), &"ö".repeat(9000)).unwrap();
        assert_eq!(shown.len(), Titles::LONGEST);
    }
}
