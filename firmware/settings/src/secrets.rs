//! The second file: one table per output, with the password of each of its mounts.

use std::collections::BTreeMap;

use units::Secret;
use units::snapshot::Role;

use crate::document::{Manner, Sheet, Table};
use crate::refusal::Refusal;

/// The text of the secrets file, or why there is none.
#[derive(Debug)]
pub(crate) enum SecretsText<'a> {
    /// It could be read.
    Text(&'a str),
    /// There is no such file: a fault only once an output needs it.
    Missing(Refusal),
    /// It may not be used as it is.
    Refused(Refusal),
}

/// The passwords by output and role.
#[derive(Debug)]
pub(crate) struct Secrets<'a> {
    file: &'a str,
    passwords: BTreeMap<(String, Role), Secret>,
    refusals: Vec<Refusal>,
    state: State,
}

#[derive(Debug)]
enum State {
    Read,
    /// Unreadable; the fault is noted, so single passwords are not reported as absent.
    Unread,
    Missing(Refusal),
}

impl<'a> Secrets<'a> {
    pub(crate) fn read(file: &'a str, text: SecretsText<'_>) -> Self {
        let mut secrets = Self { file, passwords: BTreeMap::new(), refusals: Vec::new(), state: State::Read };
        match text {
            SecretsText::Text(text) => {
                let sheet = Sheet::new(file, text, Manner::Secret);
                if let Some(document) = sheet.document() {
                    secrets.take_all(&sheet.root(&document));
                } else {
                    secrets.state = State::Unread;
                }
                secrets.refusals = sheet.verdict();
            }
            SecretsText::Missing(refusal) => secrets.state = State::Missing(refusal),
            SecretsText::Refused(refusal) => {
                secrets.refusals.push(refusal);
                secrets.state = State::Unread;
            }
        }
        secrets
    }

    fn take_all(&mut self, root: &Table<'_>) {
        for (output, value) in root.iter() {
            let Some(table) = value.table("[output-name], then primary = \"...\"") else { continue };
            for (key, role) in [("primary", Role::Primary), ("fallback", Role::Fallback)] {
                // An empty string is what a reader of a wrong value gets: its fault is noted, and it is not absent.
                let password =
                    table.get(key).map(|value| value.some_text("the password").unwrap_or_default());
                if let Some(password) = password {
                    self.passwords.insert((output.to_owned(), role), Secret::new(password.to_owned()));
                }
            }
            table.done();
        }
    }

    /// The password of a mount. Its absence is noted.
    pub(crate) fn password(&mut self, output: &str, role: Role) -> Secret {
        if let Some(secret) = self.passwords.get(&(output.to_owned(), role)) {
            return secret.clone();
        }
        match &self.state {
            State::Read => self.refusals.push(Refusal {
                file: self.file.to_owned(),
                line: None,
                key: format!("{output}.{role}"),
                found: "no password".into(),
                remedy: format!("write [{output}], then {role} = \"...\""),
            }),
            State::Unread => {}
            State::Missing(refusal) => {
                self.refusals.push(refusal.clone());
                self.state = State::Unread;
            }
        }
        Secret::default()
    }

    /// The faults found.
    pub(crate) fn verdict(self) -> Vec<Refusal> {
        self.refusals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let mut secrets = Secrets::read("secrets.toml", SecretsText::Text(text));
        secrets.password("main", Role::Primary);
        secrets.verdict().iter().map(Refusal::to_string).collect()
    }

    #[test]
    fn each_mount_has_its_password() {
        let text = "[main]\nprimary = \"one\"\nfallback = \"two\"\n[gone]\nprimary = \"left over\"\n";
        let mut secrets = Secrets::read("secrets.toml", SecretsText::Text(text));
        assert_eq!(secrets.password("main", Role::Primary).reveal(), "one");
        assert_eq!(secrets.password("main", Role::Fallback).reveal(), "two");
        assert_eq!(secrets.verdict(), []);
        assert_eq!(
            faults(""),
            ["secrets.toml: main.primary: found no password; write [main], then primary = \"...\""]
        );
    }

    #[test]
    fn no_fault_shows_anything_of_the_file() {
        for text in [
            "[main]\nprimary = hackme\n",
            "[main]\nprimary = \"hackme\n",
            "hackme\n",
            "hackme = 1\n",
            "hackme = \"hackme\"\n",
            "[main]\nhackme = \"x\"\n",
            "[main]\nprimary = [\"hackme\"]\n",
            "[main]\nprimary = { hackme = 1 }\n",
            "[main]\nprimary = \"hackme\\u0007\"\n",
            "[main]\nprimary = \"x\"\nprimary = \"hackme\"\n",
            "[main]\nprimary = 'x'\n'hackme' = 1\n'hackme' = 2\n",
            "[hackme]\nhackme = 3\n[main]\nprimary = \"\"\n",
            "main = \"hackme\"\n",
            "main.primary.hackme = 5\n",
        ] {
            let faults = faults(text);
            assert!(!faults.is_empty(), "{text:?}");
            assert!(!faults.concat().contains("hackme"), "{faults:?}");
        }
    }
}
