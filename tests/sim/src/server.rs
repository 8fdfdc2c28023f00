//! Model servers: what Icecast 2.4 and 2.5 do with sources, titles and status lists, and what else may answer on their port.
//! They speak text, so that the core's own readers of answers are part of every run.
//!
//! Behaviour: `connection.c`, `source.c` and `admin.c` of both versions; a source is dropped 10 s after its last readable byte.

use std::time::Duration;

use delivery::LinkId;
use units::Instant;

use crate::faults::Refusal;

/// Which server it is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Version {
    /// 403 for nearly everything; `100` and `200` at once.
    V24,
    /// A status for each refusal; only `100`; the list has moved.
    V25,
}

/// How it behaves at the moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Manners {
    /// The process exists.
    pub up: bool,
    /// It is not stopped.
    pub runs: bool,
    pub greeting: Greeting,
    pub status: Status,
    pub takes_titles: bool,
}

/// How a source is greeted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Greeting {
    Proper,
    /// Takes it without a word.
    Mute,
    Refusing(Refusal),
    Nonsense,
    EndlessHead,
    HangsUp,
    Swallows,
    /// New sources are swallowed, pages and other sources are served: a worker that hangs.
    Aside,
    Liar,
}

impl Greeting {
    /// Whether it is the streaming server at all that answers.
    pub(crate) const fn is_server(self) -> bool {
        match self {
            Self::Proper | Self::Mute | Self::Refusing(_) | Self::Aside => true,
            Self::Nonsense | Self::EndlessHead | Self::HangsUp | Self::Swallows | Self::Liar => false,
        }
    }
}

/// How it answers for its status list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Status {
    Proper,
    Missing,
    Nonsense,
    NotListed,
    Stale,
    NoAges,
    Silent,
}

impl Manners {
    pub(crate) const GOOD: Self =
        Self { up: true, runs: true, greeting: Greeting::Proper, status: Status::Proper, takes_titles: true };
}

/// A source, as the server sees it.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub path: String,
    /// Our connection, or somebody else's.
    pub link: Option<LinkId>,
    pub since: Instant,
    /// For a connection that the box no longer has.
    pub last_read: Instant,
    pub title: String,
}

/// What a new source is told, and what becomes of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub text: String,
    pub then: Then,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// It is a source now.
    Take,
    /// Its bytes are read and go nowhere.
    Discard,
    /// The connection is closed.
    Close,
}

#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub version: Version,
    pub manners: Manners,
    pub sources: Vec<Source>,
    /// What its own clock shows at the start of the run, in seconds of the day: clocks of servers are wrong.
    clock: u64,
}

impl Server {
    pub(crate) const fn new(version: Version, clock: u64) -> Self {
        Self { version, manners: Manners::GOOD, sources: Vec::new(), clock }
    }

    pub(crate) fn source(&self, path: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.path == path)
    }

    /// Somebody else takes the mount, if it is free.
    pub(crate) fn intrude(&mut self, now: Instant, path: &str) {
        if self.source(path).is_none() {
            let title = "somebody else".to_string();
            self.sources.push(Source {
                path: path.to_string(),
                link: None,
                since: now,
                last_read: now,
                title,
            });
        }
    }

    /// A request head arrived.
    pub(crate) fn greet(&mut self, now: Instant, link: LinkId, path: &str) -> Word {
        let close = |text: String| Word { text, then: Then::Close };
        match self.manners.greeting {
            Greeting::Nonsense => close("SSH-2.0-OpenSSH_9.2p1\r\n".into()),
            Greeting::EndlessHead => {
                let line = format!("X-More: {}\r\n", "a".repeat(1000));
                Word { text: format!("HTTP/1.1 200 OK\r\n{}", line.repeat(10)), then: Then::Discard }
            }
            Greeting::HangsUp => close(String::new()),
            Greeting::Swallows | Greeting::Aside => Word { text: String::new(), then: Then::Discard },
            Greeting::Liar => {
                Word { text: "HTTP/1.0 200 OK\r\nServer: nginx\r\n\r\n".into(), then: Then::Discard }
            }
            Greeting::Refusing(refusal) => close(self.refusal(refusal)),
            Greeting::Proper | Greeting::Mute if self.source(path).is_some() => {
                close(self.refusal(Refusal::InUse))
            }
            Greeting::Proper | Greeting::Mute => {
                let title = String::new();
                self.sources.push(Source {
                    path: path.to_string(),
                    link: Some(link),
                    since: now,
                    last_read: now,
                    title,
                });
                let text = match (self.manners.greeting, self.version) {
                    (Greeting::Mute, _) => String::new(),
                    (_, Version::V24) => {
                        "HTTP/1.1 100 Continue\r\nServer: Icecast 2.4.4\r\nContent-Length: 0\r\n\r\n\
                                          HTTP/1.0 200 OK\r\n\r\n"
                            .into()
                    }
                    (_, Version::V25) => "HTTP/1.1 100 Continue\r\nServer: Icecast 2.5.0\r\n\r\n".into(),
                };
                Word { text, then: Then::Take }
            }
        }
    }

    fn refusal(&self, refusal: Refusal) -> String {
        let (status, body) = match (self.version, refusal) {
            (Version::V24, Refusal::InUse) => ("403 Forbidden", "Mountpoint in use"),
            (Version::V25, Refusal::InUse) => ("409 Conflict", ""),
            (Version::V24, Refusal::Limit) => ("403 Forbidden", "too many sources connected"),
            (Version::V25, Refusal::Limit) => ("503 Service Unavailable", "too many sources"),
            (_, Refusal::Password) => ("401 Authentication Required", "You need to authenticate\r\n"),
            (Version::V24, Refusal::ContentType) => ("403 Forbidden", "Content-type not supported"),
            (Version::V25, Refusal::ContentType) => ("415 Unsupported Media Type", ""),
            (_, Refusal::NoMount) => ("404 Not Found", "no such mount"),
            (_, Refusal::TooOften) => ("429 Too Many Requests", ""),
            (_, Refusal::Busy) => ("503 Service Unavailable", ""),
            (_, Refusal::Moved) => ("302 Found", ""),
            (_, Refusal::Method) => ("405 Method Not Allowed", ""),
        };
        format!("HTTP/1.0 {status}\r\nServer: Icecast\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    /// The answer to `GET target`, where it is not sound; `None` if none comes. A taken title is kept.
    pub(crate) fn page(&mut self, now: Instant, target: &str) -> Option<String> {
        match self.manners.greeting {
            Greeting::Nonsense => return Some("SSH-2.0-OpenSSH_9.2p1\r\n".into()),
            Greeting::EndlessHead => return Some(format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(20_000))),
            Greeting::HangsUp => return Some(String::new()),
            Greeting::Swallows => return None,
            Greeting::Liar => return Some(MISSING.into()),
            Greeting::Proper | Greeting::Mute | Greeting::Refusing(_) | Greeting::Aside => {}
        }
        if let Some(query) = target.strip_prefix("/admin/metadata?") {
            return Some(self.retitle(query));
        }
        let here = match self.version {
            Version::V24 => "/status-json.xsl",
            Version::V25 => "/admin/publicstats.json",
        };
        match self.manners.status {
            Status::Silent => None,
            Status::Missing => Some(MISSING.into()),
            Status::Nonsense => Some("HTTP/1.0 200 OK\r\n\r\n<html>please log in</html>".into()),
            Status::Proper | Status::NotListed | Status::Stale | Status::NoAges if target == here => {
                let date = self.date(now, Duration::ZERO);
                Some(format!(
                    "HTTP/1.0 200 OK\r\nDate: Fri, 20 Nov 2026 {date} GMT\r\n\r\n{}",
                    self.list(now)
                ))
            }
            Status::Proper | Status::NotListed | Status::Stale | Status::NoAges => Some(MISSING.into()),
        }
    }

    fn retitle(&mut self, query: &str) -> String {
        let value = |key: &str| {
            query
                .split('&')
                .find_map(|pair| pair.strip_prefix(key)?.strip_prefix('=').map(decoded))
                .unwrap_or_default()
        };
        if !self.manners.takes_titles {
            return "HTTP/1.0 200 OK\r\n\r\n<message>Mountpoint will not accept URL updates</message><return>1</return>".into();
        }
        let (mount, song) = (value("mount"), value("song"));
        match self.sources.iter_mut().find(|source| source.path == mount) {
            Some(source) => {
                source.title = song;
                "HTTP/1.0 200 OK\r\n\r\n<message>Metadata update successful</message><return>1</return>"
                    .into()
            }
            None => "HTTP/1.0 400 Source does not exist\r\n\r\n".into(),
        }
    }

    fn list(&self, now: Instant) -> String {
        let entry = |source: &Source| {
            let age = now.since(source.since);
            let start = match self.manners.status {
                Status::NoAges => String::new(),
                Status::Stale => self.date(now, age + STALE),
                Status::Proper | Status::Missing | Status::Nonsense | Status::NotListed | Status::Silent => {
                    self.date(now, age)
                }
            };
            let start = if start.is_empty() {
                start
            } else {
                format!(r#""stream_start_iso8601":"2026-11-20T{start}+0000","#)
            };
            format!(
                r#"{{"listenurl":"http://localhost:8000{}",{start}"title":"","dummy":null}}"#,
                source.path
            )
        };
        let entries: Vec<String> = match self.manners.status {
            Status::NotListed => Vec::new(),
            Status::Proper
            | Status::Missing
            | Status::Nonsense
            | Status::Stale
            | Status::NoAges
            | Status::Silent => self.sources.iter().map(entry).collect(),
        };
        match entries.as_slice() {
            [] => r#"{"icestats":{"admin":"a","dummy":null}}"#.into(),
            [one] => format!(r#"{{"icestats":{{"source":{one}}}}}"#),
            more => format!(r#"{{"icestats":{{"source":[{}]}}}}"#, more.join(",")),
        }
    }

    /// The server's own time of day, `ago` before now.
    fn date(&self, now: Instant, ago: Duration) -> String {
        let seconds =
            (self.clock + now.as_micros() / 1_000_000).saturating_sub(ago.as_secs_f64().ceil() as u64);
        format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    }
}

/// How long a server keeps a source that sends nothing.
pub(crate) const SOURCE_TIMEOUT: Duration = Duration::from_secs(10);

const STALE: Duration = Duration::from_secs(600);
const MISSING: &str = "HTTP/1.0 404 File Not Found\r\n\r\n";

/// Undoes percent-encoding (RFC 3986, 2.1).
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(value) if byte == b'%' => {
                bytes.push(value);
                rest = &after[2..];
            }
            Some(_) | None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_has_one_source_and_a_title() {
        let mut server = Server::new(Version::V24, 30_000);
        let now = Instant::from_millis(1000);
        assert_eq!(server.greet(now, LinkId(1), "/live").then, Then::Take);
        assert!(server.greet(now, LinkId(2), "/live").text.contains("Mountpoint in use"));
        server.page(now, "/admin/metadata?mount=%2Flive&mode=updinfo&song=N%C2%BA+1");
        assert_eq!(server.source("/live").map(|source| source.title.as_str()), Some("Nº+1"));
        let later = Instant::from_millis(61_000);
        let list = server.page(later, "/status-json.xsl").unwrap();
        assert!(
            list.contains("Date: Fri, 20 Nov 2026 08:21:01") && list.contains("T08:20:01+0000"),
            "{list}"
        );
    }
}
