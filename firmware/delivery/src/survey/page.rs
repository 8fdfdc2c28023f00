//! Pages as they come from a stranger: bounded, perhaps broken, perhaps a lie.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::Value;

use crate::wire::plain;

/// Bytes of an answer, and how they ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Raw {
    /// From the first byte of the head on.
    pub bytes: Vec<u8>,
    /// Why there are no more.
    pub until: Until,
}

/// Why reading stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// [`is_whole`] said so.
    Whole,
    /// The server closed, or broke off.
    Closed,
    /// Patience was over.
    Patience,
}

/// Whether a page needs no further byte: it is as long as it says it is, or is sound and `most` bytes of
/// it are here, or is longer than anything that is read here.
#[must_use]
pub fn is_whole(bytes: &[u8], most: usize) -> bool {
    if bytes.len() >= MOST {
        return true;
    }
    match head_end(bytes) {
        None => bytes.len() >= LONGEST_HEAD,
        Some(head) => {
            let page = Page::read(&Raw { bytes: bytes.to_vec(), until: Until::Whole });
            page.length.is_some_and(|length| bytes.len() - head >= length)
                || (page.is_sound() && bytes.len() - head >= most)
        }
    }
}

/// An answer, understood as far as it can be.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Page {
    /// 0: it is no HTTP.
    pub(super) status: u16,
    pub(super) server: Option<String>,
    pub(super) kind: String,
    pub(super) location: Option<String>,
    pub(super) length: Option<usize>,
    pub(super) body: Vec<u8>,
    /// It was greeted as Shoutcast greets.
    pub(super) icy: bool,
    /// What is wrong with it.
    pub(super) odd: Option<String>,
}

impl Page {
    pub(super) fn read(raw: &Raw) -> Self {
        // Shoutcast greets listeners, and refuses them, with `ICY 200 OK`.
        let icy = raw.bytes.starts_with(b"ICY ").then(|| [b"HTTP/1.0 ", &raw.bytes[4..]].concat());
        let bytes = icy.as_deref().unwrap_or(&raw.bytes);
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let head = match response.parse(bytes) {
            Ok(httparse::Status::Complete(head)) => head,
            Ok(httparse::Status::Partial) | Err(_) => {
                let odd = if bytes.is_empty() {
                    "it took the connection and said nothing".to_string()
                } else if bytes.len() >= LONGEST_HEAD && bytes.starts_with(b"HTTP/") {
                    format!("its headers do not end within {LONGEST_HEAD} bytes")
                } else {
                    "what it says is no HTTP".to_string()
                };
                return Self { odd: Some(odd), ..Self::default() };
            }
        };
        let find = |name: &str| {
            let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
            Some(plain(&String::from_utf8_lossy(found.value), 200)).filter(|value| !value.is_empty())
        };
        let body = bytes[head..].to_vec();
        let length = find("Content-Length").and_then(|length| length.parse::<usize>().ok());
        let odd = length
            .filter(|_| raw.until == Until::Closed || body.len() > length.unwrap_or(usize::MAX))
            .and_then(|length| {
                (length != body.len())
                    .then(|| format!("a page says that it is {length} bytes long, and is {}", body.len()))
            });
        Self {
            status: response.code.unwrap_or(0),
            server: find("Server"),
            kind: find("Content-Type").unwrap_or_default().to_ascii_lowercase(),
            location: find("Location"),
            length,
            body,
            icy: icy.is_some(),
            odd,
        }
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn is_html(&self) -> bool {
        self.kind.starts_with("text/html")
    }

    /// Whether it is a listener's stream.
    pub(super) fn is_sound(&self) -> bool {
        self.status == 200 && (self.kind.starts_with("audio/") || self.kind.starts_with("application/ogg"))
    }
}

/// A mount on the status list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Listed {
    pub(super) path: String,
    pub(super) listeners: Option<u64>,
}

/// The mounts with a source on a status list; `None` if the text is none. Icecast 2.4 also lists mounts without one while their
/// fallback is live (`source_recheck_mounts`): those lack a start. Icecast 2.4 writes broken JSON for some titles, so a search of the
/// text stands in where parsing fails.
pub(super) fn list(text: &str) -> Option<Vec<Listed>> {
    let mut mounts = Vec::new();
    match serde_json::from_str::<Value>(text) {
        Ok(value) => {
            if !text.contains("icestats") || !(value.is_object() || value.is_array()) {
                return None;
            }
            collect(&value, &mut mounts, DEEPEST);
        }
        Err(_) if text.contains("\"icestats\"") => {
            for source in text.split("\"listenurl\"").skip(1).filter(|source| source.contains(STARTED)) {
                let url = source.split('"').nth(1).unwrap_or_default().replace("\\/", "/");
                mounts.extend(path_of(&url).map(|path| Listed { path, listeners: None }));
            }
        }
        Err(_) => return None,
    }
    mounts.truncate(MOST_MOUNTS);
    Some(mounts)
}

fn collect(value: &Value, mounts: &mut Vec<Listed>, depth: u8) {
    let Some(depth) = depth.checked_sub(1) else { return };
    match value {
        Value::Object(fields) => {
            let url = fields.get("listenurl").and_then(Value::as_str);
            if let Some(path) = url.and_then(path_of) {
                if !fields.keys().any(|key| key.starts_with(STARTED)) {
                    return;
                }
                mounts.push(Listed { path, listeners: fields.get("listeners").and_then(Value::as_u64) });
                return;
            }
            fields.values().for_each(|inner| collect(inner, mounts, depth));
        }
        Value::Array(items) => items.iter().for_each(|inner| collect(inner, mounts, depth)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The path of an address; a redirection may give the path alone.
pub(super) fn path_of(url: &str) -> Option<String> {
    if url.starts_with('/') {
        return Some(plain(url, 200));
    }
    let rest = url.split_once("://")?.1;
    rest.find('/').map(|at| plain(&rest[at..], 200))
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

/// `stream_start` and `stream_start_iso8601`: what only a mount with a source has.
const STARTED: &str = "stream_start";
const LONGEST_HEAD: usize = 16 * 1024;
/// A status list longer than this is not read further (a server with some 300 mounts).
const MOST: usize = 256 * 1024;
const MOST_MOUNTS: usize = 512;
const DEEPEST: u8 = 8;
