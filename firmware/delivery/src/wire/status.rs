//! The public status list of Icecast: is a mount there, and since when?

use alloc::string::String;
use alloc::vec::Vec;

use serde_json::Value;

use super::date::iso8601;

/// What the list says of one mount.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// When its source started, by the server's clock, in seconds since 1970.
    pub started: Option<i64>,
}

/// Looks for the mount at `path` in a status list: `None` if the text is no such list, `Some(None)` if the mount is not in it.
///
/// Icecast 2.4 gives `icestats.source` as nothing, an object or an array, and names the mount only in `listenurl`; 2.5's
/// `publicstats.json` is an array and keys sources by their path. 2.4 also writes broken JSON for some titles, so a text search stands in where parsing fails.
#[must_use]
pub fn status_entry(text: &str, path: &str) -> Option<Option<Entry>> {
    match serde_json::from_str::<Value>(text) {
        Ok(list) => is_list(&list).then(|| in_value(&list, path, MAX_DEPTH)),
        Err(_) => in_text(text, path),
    }
}

/// 2.4's list is an object; 2.5's `publicstats.json` an array whose parts name what they are.
fn is_list(value: &Value) -> bool {
    match value {
        Value::Object(_) => true,
        Value::Array(parts) => parts.iter().any(Value::is_object),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Deeper than any list of a real server; keeps a hostile one off the stack.
const MAX_DEPTH: u8 = 8;

fn in_value(value: &Value, path: &str, depth: u8) -> Option<Entry> {
    let depth = depth.checked_sub(1)?;
    match value {
        Value::Object(fields) => {
            let named = fields
                .get("listenurl")
                .and_then(Value::as_str)
                .is_some_and(|url| url_path(url) == Some(path));
            if named {
                return Some(entry(value));
            }
            fields.iter().find_map(|(key, inner)| {
                if key == path && inner.is_object() {
                    Some(entry(inner))
                } else {
                    in_value(inner, path, depth)
                }
            })
        }
        Value::Array(items) => items.iter().find_map(|item| in_value(item, path, depth)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn entry(fields: &Value) -> Entry {
    let started = fields.get("stream_start_iso8601").or_else(|| fields.get("connected_iso8601"));
    Entry { started: started.and_then(Value::as_str).and_then(iso8601) }
}

fn in_text(text: &str, path: &str) -> Option<Option<Entry>> {
    if !text.contains("\"icestats\"") {
        return None;
    }
    let sources: Vec<&str> = text.split("\"listenurl\"").skip(1).collect();
    Some(sources.into_iter().find_map(|source| {
        let url = quoted(source.trim_start().strip_prefix(':')?)?;
        (url_path(&url) == Some(path)).then(|| {
            let started = source
                .split_once("\"stream_start_iso8601\"")
                .and_then(|(_, rest)| quoted(rest.trim_start().strip_prefix(':')?))
                .and_then(|date| iso8601(&date));
            Entry { started }
        })
    }))
}

fn quoted(text: &str) -> Option<String> {
    let text = text.trim_start().strip_prefix('"')?;
    let end = text.find('"')?;
    Some(text[..end].replace("\\/", "/"))
}

fn url_path(url: &str) -> Option<&str> {
    let rest = url.split_once("://")?.1;
    rest.find('/').map(|at| &rest[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"{"icestats":{"admin":"a","source":{"listenurl":"http://h:8000/live","stream_start_iso8601":"2026-11-20T08:00:00+0000","dummy":null}}}"#;
    const TWO: &str = r#"{"icestats":{"source":[{"listenurl":"http://h:8000/a","dummy":null},{"listenurl":"http://h:8000/live"}]}}"#;
    const PUBLIC: &str = r#"[{"name":"icestats","ns":"x"},{"server_id":"Icecast 2.5.0","source":{"/live":{"listeners":0,"listenurl":"http://h/live","stream_start_iso8601":"2026-11-20T08:00:00+0000"}}}]"#;
    const BROKEN: &str = r#"{"icestats":{"source":[{"listenurl":"http://h:8000/live","stream_start_iso8601":"2026-11-20T08:00:00+0000","title": - ,"dummy":null}]}}"#;

    #[test]
    fn finds_a_mount_in_each_shape() {
        let started = Some(1_795_161_600);
        assert_eq!(status_entry(ONE, "/live"), Some(Some(Entry { started })));
        assert_eq!(status_entry(TWO, "/live"), Some(Some(Entry { started: None })));
        assert_eq!(status_entry(BROKEN, "/live"), Some(Some(Entry { started })));
        assert_eq!(status_entry(r#"{"icestats":{"source":{}}}"#, "/live"), Some(None));
        assert_eq!(status_entry(PUBLIC, "/live"), Some(Some(Entry { started })));
        assert_eq!(status_entry(PUBLIC, "/other"), Some(None));
        assert_eq!(status_entry(TWO, "/liv"), Some(None));
        assert_eq!(status_entry(BROKEN, "/b"), Some(None));
    }

    #[test]
    fn what_is_no_list_is_none() {
        for text in ["", "<html>login</html>", "[]", "null", "12", "\"icestats"] {
            assert_eq!(status_entry(text, "/live"), None, "{text}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(status_entry(&deep, "/live"), None);
    }
}
