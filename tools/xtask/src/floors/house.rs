//! House rules that a machine can hold: every file says what it is, none grows without end, nothing is left undone.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Lines above the tests; beyond, a file is to be split by state or by duty.
const LONGEST: usize = 800;
/// Folders with Rust of our own.
const FOLDERS: [&str; 4] = ["firmware", "board", "tools", "tests"];

/// Every breach of the rules, as `file:line: what`.
pub(super) fn violations() -> Result<Vec<String>> {
    let top = e2e::repository();
    let mut files = Vec::new();
    for folder in FOLDERS {
        // Not every folder of the plan exists yet.
        if top.join(folder).is_dir() {
            collect(&top.join(folder), &mut files)?;
        }
    }
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let name = file.strip_prefix(top).unwrap_or(&file).display().to_string();
        found.extend(breaches(&name, &text).into_iter().map(|breach| format!("{name}:{breach}")));
    }
    Ok(found)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The breaches of one file, as `line: what`.
fn breaches(name: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if !text.starts_with("//!") {
        found.push("1: does not begin with a //! line that says what the file is for".to_owned());
    }
    let lines: Vec<&str> = text.lines().collect();
    let is_test = name.starts_with("tests/")
        || name.contains("/tests/")
        || ["/tests.rs", "/testing.rs"].iter().any(|end| name.ends_with(end));
    let tests_from = if is_test { 0 } else { tests_start(&lines) };
    if !is_test && tests_from > LONGEST {
        found
            .push(format!("{tests_from}: {tests_from} lines without tests, {LONGEST} are the end: split it"));
    }
    // Written apart, so that this file does not accuse itself.
    let undone =
        [concat!("to", "do!("), concat!("un", "implemented!("), concat!("FIX", "ME"), concat!("XX", "X")];
    let unwrapping = concat!(".un", "wrap()");
    for (index, line) in lines.iter().enumerate() {
        let at = index + 1;
        if let Some(word) = undone.iter().find(|word| line.contains(**word)) {
            found.push(format!("{at}: {word}"));
        }
        let comment = line.trim_start().starts_with("//");
        if index < tests_from && !comment && line.contains(unwrapping) {
            found.push(format!("{at}: {unwrapping} outside tests"));
        }
    }
    found
}

/// Index of the line at which the inline tests begin; the number of lines if there are none.
fn tests_start(lines: &[&str]) -> usize {
    lines.iter().position(|line| line.trim() == "#[cfg(test)]").unwrap_or(lines.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_file_passes() {
        let good = "//! Why.\nfn f() {}\n#[cfg(test)]\nmod tests { fn t() { g().unwrap() } }\n";
        assert!(breaches("firmware/units/src/a.rs", good).is_empty());
    }

    #[test]
    fn each_breach_is_found_where_it_is() {
        let bad = concat!("fn f() {}\nfn g() { h().unwrap() }\n// FIX", "ME later\n");
        let found = breaches("firmware/units/src/a.rs", bad);
        assert_eq!(found.len(), 3, "{found:?}");
        for line in ["1:", "2:", "3:"] {
            assert!(found.iter().any(|breach| breach.starts_with(line)), "{line} in {found:?}");
        }
        let long = format!("//! Why.\n{}", "//\n".repeat(LONGEST));
        assert_eq!(breaches("tools/a.rs", &long).len(), 1);
        assert!(breaches("tests/sim/src/a.rs", &long).is_empty());
    }
}
