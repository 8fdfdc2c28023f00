//! What is wrong with a settings file, one line per fault: where, what was found, what would be right.

use std::fmt;

/// One fault in one of the two files. Its text never holds anything read from the secrets file, nor a password from
/// an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The file, as its reader named it.
    pub file: String,
    /// Line in it, from 1; `None` where the whole file is at fault (missing, unreadable, too large).
    pub line: Option<u32>,
    /// The key with its tables: `output.primary.bitrate`; empty where no key is at fault.
    pub key: String,
    /// What is there.
    pub found: String,
    /// What would be right.
    pub remedy: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": found {}; {}", self.found, self.remedy)
    }
}

/// Every fault that was found, settings file first, each file from top to bottom. Never empty.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", self.0.iter().map(Refusal::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Refusals(pub Vec<Refusal>);

/// Untrusted text made fit for a message: quoted, control characters escaped, at most 60 characters of it.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_says_it_all() {
        let refusal = Refusal {
            file: "settings.toml".into(),
            line: Some(12),
            key: "output.primary.bitrate".into(),
            found: quoted("320"),
            remedy: "write \"320 kbit/s\"".into(),
        };
        let line = r#"settings.toml:12: output.primary.bitrate: found "320"; write "320 kbit/s""#;
        assert_eq!(refusal.to_string(), line);
        assert_eq!(Refusals(vec![refusal.clone(), refusal]).to_string(), format!("{line}\n{line}"));
    }

    #[test]
    fn foreign_text_stays_on_its_line() {
        assert_eq!(quoted("a\n\u{1b}[2J"), r#""a\n\u{1b}[2J""#);
        assert_eq!(quoted(&"x".repeat(99)).chars().count(), 63);
    }
}
