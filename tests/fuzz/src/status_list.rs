//! The public status list of Icecast, as it comes and as it would be with foreign text in a title.
//!
//! Input: the mount's path in the first line, then the list. The list is read as it is; then its text is put into the title
//! of a list made here, where it must neither hide a mount nor pretend one.

use delivery::wire::status_entry;
use serde_json::json;

/// Reads a status list; understood if it shows the mount.
pub fn target(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let Some((path, list)) = text.split_once('\n') else { return false };
    let found = status_entry(list, path);
    if let Some(Some(entry)) = found {
        // Four digits of years and as many of hours, either way.
        assert!(entry.started.is_none_or(|at| at.unsigned_abs() < 400_000_000_000), "{entry:?}");
    }
    if found.is_some() {
        assert!(list.contains('{') || list.contains("\"icestats\""), "{list:?} is no list");
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-~".contains(c);
    if path.starts_with('/') && path.chars().all(plain) {
        beside_foreign_text(path, list);
    }
    matches!(found, Some(Some(_)))
}

fn beside_foreign_text(path: &str, foreign: &str) {
    let mount = |path: &str| json!({ "listenurl": format!("http://h.example:8000{path}"), "title": foreign });
    let other = format!("{path}-other");
    let list =
        json!({ "icestats": { "admin": foreign, "source": [mount(&other), mount(path)] } }).to_string();
    let absent = format!("{path}-absent");
    // 2.4 writes a lone dash for some titles: then a search of the text stands in.
    let broken = list.replacen("\"listenurl\"", "\"artist\": - ,\"listenurl\"", 1);
    for (list, how) in [(list, "whole"), (broken, "broken")] {
        assert!(
            matches!(status_entry(&list, path), Some(Some(_))),
            "{path} is hidden in the {how} list {list}"
        );
        assert_eq!(
            status_entry(&list, &absent),
            Some(None),
            "{absent} is pretended in the {how} list {list}"
        );
    }
}
