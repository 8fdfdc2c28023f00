//! A cursor over a parsed TOML document that knows where everything stands, so that each refusal names line and key.
//!
//! A value that is wrong is noted and read as absent; reading goes on, and the reader learns of all faults at once.
//! [`Sheet::verdict`] is asked at the end.

use std::cell::RefCell;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::refusal::{Refusal, quoted};

/// Nobody reads more at once.
const MOST_REFUSALS: usize = 100;

/// One file being read: its name, its lines, and the faults found so far.
#[derive(Debug)]
pub(crate) struct Sheet<'a> {
    file: &'a str,
    text: &'a str,
    /// Where each line begins.
    starts: Vec<usize>,
    manner: Manner,
    refusals: RefCell<Vec<Refusal>>,
}

/// Whether a message may show what stands in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Manner {
    /// Settings: values are shown.
    Open,
    /// Secrets: nothing of the file is shown, not even its keys (a password may stand where a key belongs).
    Secret,
}

/// A table of the document; remembers which keys were asked for.
#[derive(Debug)]
pub(crate) struct Table<'a> {
    sheet: &'a Sheet<'a>,
    path: String,
    line: u32,
    entries: &'a DeTable<'a>,
    known: RefCell<Vec<&'static str>>,
}

/// A value of the document with its place.
#[derive(Clone, Debug)]
pub(crate) struct Value<'a> {
    sheet: &'a Sheet<'a>,
    /// Key with its tables.
    pub(crate) key: String,
    /// Line of the value, from 1.
    pub(crate) line: u32,
    value: &'a DeValue<'a>,
}

impl<'a> Sheet<'a> {
    pub(crate) fn new(file: &'a str, text: &'a str, manner: Manner) -> Self {
        let starts = text.match_indices('\n').map(|(end, _)| end + 1);
        let starts = std::iter::once(0).chain(starts).collect();
        Self { file, text, starts, manner, refusals: RefCell::new(Vec::new()) }
    }

    /// Parses the document. Syntax errors (duplicate keys among them) are noted and give `None`: what stands after
    /// one cannot be trusted.
    pub(crate) fn document(&self) -> Option<Spanned<DeTable<'a>>> {
        let (document, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            // toml gives no place for nesting that is too deep; the file as a whole is meant.
            let line = Some(error.span().map_or(1, |span| self.line_of(span.start)));
            // Only the message: the error's own `Display` quotes the line, which may hold a password.
            let (found, remedy) = match self.manner {
                Manner::Secret if error.message().contains("duplicate key") => {
                    ("a key for the second time (not shown)".into(), "keep one of them".into())
                }
                Manner::Secret => (
                    "text that is not TOML (not shown)".into(),
                    "write [output-name], then primary = \"...\"".into(),
                ),
                Manner::Open if error.message().contains("duplicate key") => {
                    let key = error.span().and_then(|span| self.text.get(span)).unwrap_or_default();
                    (format!("the key {} for the second time", quoted(key)), "keep one of them".into())
                }
                Manner::Open => (
                    format!("text that is not TOML ({})", error.message()),
                    "correct this line (strings stand in quotes, one key = value a line)".into(),
                ),
            };
            self.refuse(line, "", found, remedy);
        }
        errors.is_empty().then_some(document)
    }

    pub(crate) fn root(&'a self, document: &'a Spanned<DeTable<'a>>) -> Table<'a> {
        Table {
            sheet: self,
            path: String::new(),
            line: 1,
            entries: document.get_ref(),
            known: RefCell::new(Vec::new()),
        }
    }

    pub(crate) fn refuse(&self, line: Option<u32>, key: &str, found: String, remedy: String) {
        let refusal = Refusal { file: self.file.to_owned(), line, key: key.to_owned(), found, remedy };
        self.refusals.borrow_mut().push(refusal);
    }

    /// The faults found, from top to bottom.
    pub(crate) fn verdict(self) -> Vec<Refusal> {
        let mut refusals = self.refusals.into_inner();
        refusals.sort_by_key(|refusal| refusal.line);
        refusals.dedup();
        if refusals.len() > MOST_REFUSALS {
            let found = format!("{} more faults", refusals.len() - MOST_REFUSALS);
            refusals.truncate(MOST_REFUSALS);
            let (file, remedy) = (self.file.to_owned(), "correct these first".into());
            refusals.push(Refusal { file, line: None, key: String::new(), found, remedy });
        }
        refusals
    }

    fn line_of(&self, offset: usize) -> u32 {
        self.starts.partition_point(|start| *start <= offset) as u32
    }
}

impl<'a> Table<'a> {
    /// The value of `key`, and a note that such a key exists.
    pub(crate) fn get(&self, key: &'static str) -> Option<Value<'a>> {
        self.known.borrow_mut().push(key);
        self.entries.get(key).map(|value| self.value(key, value))
    }

    /// The value of `key`; its absence is a fault, `remedy` says what to write.
    pub(crate) fn need(&self, key: &'static str, remedy: &str) -> Option<Value<'a>> {
        let value = self.get(key);
        if value.is_none() {
            let key = self.key(key);
            self.sheet.refuse(Some(self.line), &key, "nothing".into(), remedy.into());
        }
        value
    }

    /// All values, by key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'a str, Value<'a>)> {
        self.entries.iter().map(|(key, value)| (key.get_ref().as_ref(), self.value(key.get_ref(), value)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A fault of the table as a whole.
    pub(crate) fn refuse(&self, found: impl Into<String>, remedy: impl Into<String>) {
        self.sheet.refuse(Some(self.line), &self.path, found.into(), remedy.into());
    }

    /// Notes every key that was not asked for. Called once all were.
    pub(crate) fn done(self) {
        let known = self.known.borrow();
        for (key, _) in self.entries.iter() {
            let (line, key) = (self.sheet.line_of(key.span().start), key.get_ref().as_ref());
            if known.contains(&key) {
                continue;
            }
            match self.sheet.manner {
                Manner::Secret => {
                    let found = "a key that means nothing here (not shown)".into();
                    self.sheet.refuse(
                        Some(line),
                        &self.path,
                        found,
                        format!("known here: {}", known.join(", ")),
                    );
                }
                Manner::Open => {
                    let remedy = if key.to_ascii_lowercase().contains("pass") {
                        "passwords stand in the secrets file: [output-name], then primary = \"...\"".into()
                    } else if let Some(near) = nearest(key, &known) {
                        format!("did you mean {near}?")
                    } else {
                        format!("known here: {}", known.join(", "))
                    };
                    self.sheet.refuse(
                        Some(line),
                        &self.key(&shown_key(key)),
                        "an unknown key".into(),
                        remedy,
                    );
                }
            }
        }
    }

    fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn value(&self, key: &str, value: &'a Spanned<DeValue<'a>>) -> Value<'a> {
        let key = match self.sheet.manner {
            Manner::Open => self.key(key),
            Manner::Secret => self.path.clone(),
        };
        Value { sheet: self.sheet, key, line: self.sheet.line_of(value.span().start), value: value.get_ref() }
    }
}

impl<'a> Value<'a> {
    /// Notes a fault of this value.
    pub(crate) fn refuse(&self, found: impl Into<String>, remedy: impl Into<String>) {
        let found = match self.sheet.manner {
            Manner::Open => found.into(),
            Manner::Secret => "a value that does not fit (not shown)".into(),
        };
        self.sheet.refuse(Some(self.line), &self.key, found, remedy.into());
    }

    /// Notes that this text does not fit; `remedy` says what would.
    pub(crate) fn refuse_text(&self, text: &str, remedy: impl Into<String>) {
        self.refuse(quoted(text), remedy);
    }

    /// A string, or a fault with `example`, which is what a right value looks like.
    pub(crate) fn text(&self, example: &str) -> Option<&'a str> {
        if let DeValue::String(text) = self.value {
            return Some(text.as_ref());
        }
        self.refuse(self.shown(), format!("write {}", example_of(example)));
        None
    }

    /// A string without control characters, which would break a header, a title or a line of the log.
    pub(crate) fn line_of_text(&self, example: &str) -> Option<&'a str> {
        let text = self.text(example)?;
        if text.chars().any(char::is_control) {
            self.refuse_text(text, "remove the control characters");
            return None;
        }
        Some(text)
    }

    /// Like [`Value::line_of_text`], and not empty.
    pub(crate) fn some_text(&self, example: &str) -> Option<&'a str> {
        let text = self.line_of_text(example)?;
        if text.is_empty() {
            self.refuse_text(text, format!("write {}, or leave the key out", example_of(example)));
            return None;
        }
        Some(text)
    }

    /// Whether it is a string, where something else may stand as well.
    pub(crate) const fn is_text(&self) -> bool {
        matches!(self.value, DeValue::String(_))
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self) -> Option<bool> {
        let DeValue::Boolean(flag) = self.value else {
            self.refuse(self.shown(), "write true or false, without quotes");
            return None;
        };
        Some(*flag)
    }

    /// A whole number from `least` to `most`.
    pub(crate) fn whole(&self, least: u32, most: u32) -> Option<u32> {
        let number = match self.value {
            DeValue::Integer(number) => u32::from_str_radix(number.as_str(), number.radix()).ok(),
            DeValue::String(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => None,
        };
        let number = number.filter(|number| (least..=most).contains(number));
        if number.is_none() {
            self.refuse(self.shown(), format!("write a whole number from {least} to {most}, without quotes"));
        }
        number
    }

    /// One of a few words.
    pub(crate) fn one_of<T: Copy>(&self, words: &[(&'static str, T)]) -> Option<T> {
        let names: Vec<&'static str> = words.iter().map(|(name, _)| *name).collect();
        let text = self.text(names[0])?;
        if let Some((_, meaning)) = words.iter().find(|(name, _)| *name == text) {
            return Some(*meaning);
        }
        let all = names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        match nearest(text, &names) {
            Some(near) if names.len() > 2 => {
                self.refuse_text(text, format!("did you mean {near:?}? One of {all}"))
            }
            Some(_) | None => self.refuse_text(text, format!("write one of {all}")),
        }
        None
    }

    /// A string that `read` understands; its error is the remedy.
    pub(crate) fn parsed<T>(&self, example: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(example)?;
        match read(text) {
            Ok(value) => Some(value),
            Err(remedy) => {
                self.refuse_text(text, remedy);
                None
            }
        }
    }

    /// A table.
    pub(crate) fn table(&self, example: &str) -> Option<Table<'a>> {
        let DeValue::Table(entries) = self.value else {
            self.refuse(self.shown(), format!("write {example}"));
            return None;
        };
        let known = RefCell::new(Vec::new());
        Some(Table { sheet: self.sheet, path: self.key.clone(), line: self.line, entries, known })
    }

    /// The elements of an array.
    pub(crate) fn list(&self, example: &str) -> Option<Vec<Value<'a>>> {
        let DeValue::Array(elements) = self.value else {
            self.refuse(self.shown(), format!("write {example}"));
            return None;
        };
        let element = |value: &'a Spanned<DeValue<'a>>| Value {
            sheet: self.sheet,
            key: self.key.clone(),
            line: self.sheet.line_of(value.span().start),
            value: value.get_ref(),
        };
        Some(elements.iter().map(element).collect())
    }

    /// What stands there, for a value of the wrong type.
    fn shown(&self) -> String {
        match self.value {
            DeValue::String(text) => quoted(text),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(flag) => flag.to_string(),
            DeValue::Datetime(_) => "a date or time".into(),
            DeValue::Array(_) => "an array".into(),
            DeValue::Table(_) => "a table".into(),
        }
    }
}

fn example_of(example: &str) -> String {
    format!("{example:?}")
}

fn shown_key(key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if bare && key.len() <= 60 { key.to_owned() } else { quoted(key) }
}

/// The known word that a typing error may have meant: at most a third of its letters differ.
fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    // Far longer words cannot be near, and the distance costs the product of both lengths.
    if word.len() > 40 {
        return None;
    }
    let word = word.to_ascii_lowercase().replace('_', "-");
    let (distance, near) = known
        .iter()
        .map(|name| (distance(&word, &name.replace('_', "-")), *name))
        .min_by_key(|(distance, _)| *distance)?;
    (distance <= (near.len() / 3).max(1)).then_some(near)
}

/// Levenshtein distance: insertions, deletions and replacements between two words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_its_word() {
        let known = ["bitrate", "codec", "url", "longest_lag"];
        assert_eq!(nearest("bitrat", &known), Some("bitrate"));
        assert_eq!(nearest("Codec", &known), Some("codec"));
        assert_eq!(nearest("longest-lag", &known), Some("longest_lag"));
        assert_eq!(nearest("volume", &known), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn faults_carry_their_lines() {
        let text = "a = 1\n\n[b]\nc = \"x\"\nd = 2\n";
        let sheet = Sheet::new("f", text, Manner::Open);
        let document = sheet.document().unwrap();
        let root = sheet.root(&document);
        assert_eq!(root.get("a").unwrap().whole(0, 9), Some(1));
        let b = root.get("b").unwrap().table("[b]").unwrap();
        assert_eq!(b.get("c").unwrap().flag(), None);
        assert!(b.need("e", "write it").is_none());
        b.done();
        root.done();
        drop(document);
        let lines: Vec<String> = sheet.verdict().iter().map(Refusal::to_string).collect();
        assert_eq!(
            lines,
            [
                "f:3: b.e: found nothing; write it",
                "f:4: b.c: found \"x\"; write true or false, without quotes",
                "f:5: b.d: found an unknown key; did you mean c?",
            ]
        );
    }
}
