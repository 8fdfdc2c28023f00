//! Requests and answers of the model server, as text.

use super::super::net::SocketId;
use super::source::{Outlet, Reach, Source};
use super::{Icecast, Version};

/// A request's head.
pub(super) struct Request {
    method: String,
    target: String,
    authorization: String,
    agent: String,
    expects: bool,
    typed: bool,
}

impl Request {
    /// The head at the front of `bytes`, and what follows it; `None` until it is whole.
    pub(super) fn parse(bytes: &[u8]) -> Option<(Self, Vec<u8>)> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = text.split("\r\n");
        let mut first = lines.next().unwrap_or_default().split(' ');
        let (method, target) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
        let header = |name: &str| {
            text.split("\r\n")
                .filter_map(|line| line.split_once(": "))
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.to_string())
        };
        let request = Self {
            method: method.to_string(),
            target: target.to_string(),
            authorization: header("Authorization").unwrap_or_default(),
            agent: header("User-Agent").unwrap_or_default(),
            expects: header("Expect").is_some(),
            typed: header("Content-Type").is_some(),
        };
        Some((request, bytes[end..].to_vec()))
    }

    /// A value of the query, decoded.
    fn value(&self, key: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        query.split('&').find_map(|pair| Some(decoded(pair.strip_prefix(key)?.strip_prefix('=')?)))
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

impl Icecast {
    /// A request came whole; `rest` are body bytes behind it.
    pub(super) fn asked(&mut self, reach: &mut Reach<'_>, id: SocketId, request: &Request, rest: &[u8]) {
        let allowed = request.authorization == self.credentials;
        match request.method.as_str() {
            "PUT" | "SOURCE" if !allowed => self.say(reach, id, UNAUTHORISED),
            "PUT" | "SOURCE" => self.source_asks(reach, id, request, rest),
            "GET" => match request.path() {
                path if path == self.list_path() => {
                    let list = self.list(reach);
                    self.say(reach, id, &list);
                }
                path if path.starts_with("/admin/") && !allowed => self.say(reach, id, UNAUTHORISED),
                "/admin/killsource" => self.evict(reach, id, request),
                "/admin/metadata" => self.retitle(reach, id, request),
                "/admin/stats" | "/admin/listclients" => self.stats(reach, id, request),
                path => self.listener_asks(reach, id, path),
            },
            _ => self.say(reach, id, "HTTP/1.0 405 Method Not Allowed\r\n\r\n"),
        }
    }

    fn say(&self, reach: &mut Reach<'_>, id: SocketId, text: &str) {
        reach.net.write(reach.now, id, text.as_bytes());
        reach.net.close(reach.now, id, false);
    }

    fn source_asks(&mut self, reach: &mut Reach<'_>, id: SocketId, request: &Request, rest: &[u8]) {
        let path = request.path();
        if self.sources.contains_key(path) {
            let text = match self.settings.version {
                Version::V24 => page("403 Forbidden", "Mountpoint in use"),
                Version::V25 => page("409 Conflict", ""),
            };
            return self.say(reach, id, &text);
        }
        if request.method == "PUT" && !request.typed {
            let text = match self.settings.version {
                Version::V24 => page("403 Forbidden", "No Content-type given"),
                Version::V25 => page("400 Bad Request", ""),
            };
            return self.say(reach, id, &text);
        }
        let text = match (self.settings.version, request.expects, request.method.as_str()) {
            (Version::V24, true, _) => {
                "HTTP/1.1 100 Continue\r\nServer: Icecast 2.4.4\r\nContent-Length: 0\r\n\r\nHTTP/1.0 200 OK\r\n\r\n"
            }
            (Version::V24, false, _) | (Version::V25, false, "SOURCE") => "HTTP/1.0 200 OK\r\n\r\n",
            (Version::V25, true, _) => "HTTP/1.1 100 Continue\r\nServer: Icecast 2.5.0\r\n\r\n",
            (Version::V25, false, _) => "",
        };
        reach.net.write(reach.now, id, text.as_bytes());
        let address = reach.net.remote(id);
        self.open(reach, path, Some(id), address, request.agent.clone());
        if let Some(source) = self.sources.get_mut(path) {
            source.body(reach, &self.limits, rest);
        }
        self.feed(reach, path, id);
    }

    fn listener_asks(&mut self, reach: &mut Reach<'_>, id: SocketId, path: &str) {
        match self.served(path) {
            Some(mount) => {
                let head = b"HTTP/1.0 200 OK\r\nContent-Type: audio/mpeg\r\nServer: Icecast\r\n\r\n".to_vec();
                self.probes.insert(id);
                self.seat(&mount, Outlet::Socket(id), head);
            }
            None => {
                self.say(reach, id, &page("404 File Not Found", "The file you requested could not be found"))
            }
        }
    }

    /// The eviction: `/admin/killsource?mount=`.
    fn evict(&mut self, reach: &mut Reach<'_>, id: SocketId, request: &Request) {
        if !self.settings.source_may_evict {
            return self.say(reach, id, UNAUTHORISED);
        }
        let mount = request.value("mount").unwrap_or_default();
        match self.sources.get_mut(&mount) {
            Some(source) => {
                source.ending = true;
                match source.socket {
                    Some(_) => self.deeds.evicted += 1,
                    None => self.deeds.wronged += 1,
                }
                self.say(
                    reach,
                    id,
                    &xml("<iceresponse><message>Source Removed</message><return>1</return></iceresponse>"),
                );
            }
            None => self.say(reach, id, &page("400 Bad Request", "Source does not exist")),
        }
    }

    fn retitle(&mut self, reach: &mut Reach<'_>, id: SocketId, request: &Request) {
        let (mount, song) = (request.value("mount").unwrap_or_default(), request.value("song"));
        match self.sources.get_mut(&mount) {
            // 2.5 takes titles only from the address that the source comes from.
            Some(source)
                if self.settings.version == Version::V25 && source.address != reach.net.remote(id) =>
            {
                self.say(reach, id, &xml("<iceresponse><message>Mountpoint will not accept URL updates</message><return>1</return></iceresponse>"));
            }
            Some(source) => {
                source.title = song.unwrap_or_default();
                self.say(reach, id, &xml("<iceresponse><message>Metadata update successful</message><return>1</return></iceresponse>"));
            }
            None => self.say(reach, id, &page("400 Bad Request", "Source does not exist")),
        }
    }

    fn stats(&mut self, reach: &mut Reach<'_>, id: SocketId, request: &Request) {
        let mount = request.value("mount").unwrap_or_default();
        let text = match self.sources.get(&mount) {
            Some(source) => xml(&format!(
                "<icestats><source mount=\"{mount}\"><listeners>{}</listeners><source_ip>{}</source_ip>\
                 <stream_start_iso8601>{}</stream_start_iso8601><total_bytes_read>{}</total_bytes_read>\
                 <user_agent>{}</user_agent></source></icestats>",
                source.counted(),
                source.address,
                iso(Self::clock(source.since)),
                source.shown_bytes(),
                source.agent
            )),
            None => page("400 Bad Request", "Source does not exist"),
        };
        self.say(reach, id, &text);
    }

    const fn list_path(&self) -> &'static str {
        match self.settings.version {
            Version::V24 => "/status-json.xsl",
            Version::V25 => "/admin/publicstats.json",
        }
    }

    /// The public list: 2.4 gives an object for one source and an array for more, 2.5 an object keyed by paths.
    fn list(&self, reach: &Reach<'_>) -> String {
        let entry = |path: &str, source: &Source| {
            let (listeners, start) = (source.seats.len(), iso(Self::clock(source.since)));
            format!(
                r#"{{"listeners":{listeners},"listenurl":"http://localhost:8000{path}","stream_start_iso8601":"{start}","title":"","dummy":null}}"#
            )
        };
        let entries: Vec<(&String, String)> =
            self.sources.iter().map(|(path, source)| (path, entry(path, source))).collect();
        let list = match (self.settings.version, entries.as_slice()) {
            (Version::V25, entries) => {
                let keyed: Vec<String> =
                    entries.iter().map(|(path, entry)| format!(r#""{path}":{entry}"#)).collect();
                format!(r#"[{{"name":"icestats"}},{{"source":{{{}}}}}]"#, keyed.join(","))
            }
            (Version::V24, []) => r#"{"icestats":{"admin":"a","dummy":null}}"#.to_string(),
            (Version::V24, [(_, one)]) => format!(r#"{{"icestats":{{"source":{one}}}}}"#),
            (Version::V24, more) => {
                let all: Vec<&str> = more.iter().map(|(_, entry)| entry.as_str()).collect();
                format!(r#"{{"icestats":{{"source":[{}]}}}}"#, all.join(","))
            }
        };
        let (_, time) = day_and_time(Self::clock(reach.now));
        format!("HTTP/1.0 200 OK\r\nDate: Fri, 20 Nov 2026 {time} GMT\r\n\r\n{list}")
    }
}

const UNAUTHORISED: &str = "HTTP/1.0 401 Authentication Required\r\nWWW-Authenticate: Basic realm=\"Icecast2 Server\"\r\n\r\nYou need to authenticate\r\n";

fn page(status: &str, body: &str) -> String {
    format!("HTTP/1.0 {status}\r\nServer: Icecast\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn xml(body: &str) -> String {
    let body = format!("<?xml version=\"1.0\"?>\n{body}\n");
    format!("HTTP/1.0 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn iso(seconds: u64) -> String {
    let (day, time) = day_and_time(seconds);
    format!("2026-11-{day:02}T{time}+0000")
}

/// Runs are shorter than a day and begin in the morning of the 20th.
fn day_and_time(seconds: u64) -> (u64, String) {
    let within = seconds % 86_400;
    (20 + seconds / 86_400, format!("{:02}:{:02}:{:02}", within / 3600, within / 60 % 60, within % 60))
}

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
