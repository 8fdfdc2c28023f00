//! A server's answer to a source, read as it trickles in.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::event::{Reply, Talk, Verdict};

/// Collects bytes until they make a [`Reply`].
#[derive(Debug)]
pub struct ReplyReader {
    talk: Talk,
    seen: Vec<u8>,
}

impl ReplyReader {
    /// A reader for one connection.
    #[must_use]
    pub const fn new(talk: Talk) -> Self {
        Self { talk, seen: Vec::new() }
    }

    /// Takes bytes in and returns the next reply once it is whole. Call again with nothing to get a reply that was behind it
    /// (Icecast 2.4 sends `100` and `200` in one go).
    pub fn feed(&mut self, bytes: &[u8]) -> Option<Reply> {
        self.seen.extend_from_slice(&bytes[..bytes.len().min(MOST - self.seen.len().min(MOST))]);
        match self.talk {
            Talk::Http => self.http(false),
            Talk::Shoutcast => self.shoutcast(false),
        }
    }

    /// The connection ended: what was said by then has to do. `None` if nothing was.
    pub fn finish(&mut self) -> Option<Reply> {
        if self.seen.is_empty() {
            return None;
        }
        match self.talk {
            Talk::Http => self.http(true),
            Talk::Shoutcast => self.shoutcast(true),
        }
    }

    fn http(&mut self, ended: bool) -> Option<Reply> {
        if self.seen.is_empty() {
            return None;
        }
        let mut headers = [httparse::EMPTY_HEADER; 48];
        let mut response = httparse::Response::new(&mut headers);
        let head = match response.parse(&self.seen) {
            Ok(httparse::Status::Complete(head)) => head,
            Ok(httparse::Status::Partial) if self.seen.len() < MOST && !ended => return None,
            Ok(httparse::Status::Partial) | Err(_) => return Some(self.nonsense()),
        };
        let status = response.code.unwrap_or(0);
        let find = |name: &str| {
            response
                .headers
                .iter()
                .find(|header| header.name.eq_ignore_ascii_case(name))
                .and_then(|header| core::str::from_utf8(header.value).ok())
        };
        let server = find("Server").map(|name| plain(name, 64));
        let length: Option<usize> = find("Content-Length").and_then(|length| length.trim().parse().ok());
        let page = find("Content-Type").is_some_and(|kind| kind.trim_start().starts_with("text/html"));
        // 2.4 puts a stray `Content-Length: 0` on its 100; there is never a body to wait for on a yes.
        if matches!(status, 100 | 200) {
            let verdict = if status == 200 && page { Verdict::Nonsense } else { Verdict::Go };
            self.seen.drain(..head);
            return Some(Reply { status, verdict, server });
        }
        let body = &self.seen[head..];
        let telling = length.map_or(TELLING, |length| length.min(TELLING));
        if body.len() < telling && !ended {
            return None;
        }
        // No more of it, so that the verdict does not depend on how the bytes trickle in.
        let body = &body[..body.len().min(telling)];
        let verdict = verdict(status, &String::from_utf8_lossy(body));
        self.seen.clear();
        Some(Reply { status, verdict, server })
    }

    fn shoutcast(&mut self, ended: bool) -> Option<Reply> {
        while !self.seen.is_empty() {
            let end = match self.seen.iter().take(TELLING).position(|&byte| byte == b'\n') {
                Some(newline) => newline + 1,
                None if self.seen.len() >= TELLING => return Some(self.nonsense()),
                None if ended => self.seen.len(),
                None => return None,
            };
            let line = String::from_utf8_lossy(&self.seen[..end]).trim().to_ascii_lowercase();
            self.seen.drain(..end);
            // `OK2` is followed by headers and an empty line, perhaps in a segment of their own.
            if line.is_empty() || line.starts_with("icy-") {
                continue;
            }
            let verdict = if line.starts_with("ok") {
                Verdict::Go
            } else if line.contains("invalid password") || line.contains("denied") {
                Verdict::Unauthorised
            } else if line.contains("in use") {
                Verdict::InUse
            } else {
                return Some(self.nonsense());
            };
            return Some(Reply { status: 0, verdict, server: None });
        }
        None
    }

    fn nonsense(&mut self) -> Reply {
        self.seen.clear();
        Reply { status: 0, verdict: Verdict::Nonsense, server: None }
    }
}

/// A head longer than this is no answer of a streaming server.
const MOST: usize = 8 * 1024;

/// So much of a refusal's text tells what it is about.
const TELLING: usize = 512;

/// What a refusal means. 2.4 answers 403 to five different things and tells them apart by text (`connection.c`); 2.5 has a
/// status for each (`errors.c`); kh and harbor lie in between.
fn verdict(status: u16, body: &str) -> Verdict {
    let body = body.to_ascii_lowercase();
    match status {
        401 => Verdict::Unauthorised,
        403 if body.contains("in use") => Verdict::InUse,
        403 if body.contains("too many") => Verdict::TooManySources,
        403 if body.contains("content-type") || body.contains("content type") => Verdict::ContentType,
        403 if body.contains("limit") || body.contains("full") || body.contains("busy") => Verdict::Busy,
        // kh and proxies give no text; a mount in use is by far the most frequent reason.
        403 | 409 => Verdict::InUse,
        404 => Verdict::NoSuchMount,
        415 => Verdict::ContentType,
        400 if body.contains("content") => Verdict::ContentType,
        429 => Verdict::TooOften,
        503 if body.contains("source") => Verdict::TooManySources,
        300..=399 => Verdict::Redirected,
        // Harbor: the source was too slow.
        408 => Verdict::Busy,
        400..=499 => Verdict::Rejected,
        500..=599 => Verdict::Busy,
        _ => Verdict::Nonsense,
    }
}

/// Foreign text, cut and without control characters.
pub(crate) fn plain(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(most).collect::<String>().trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn http(text: &str) -> (Option<Reply>, Option<Reply>) {
        let mut reader = ReplyReader::new(Talk::Http);
        (reader.feed(text.as_bytes()), reader.feed(b""))
    }

    fn verdict_of(text: &str) -> Verdict {
        let mut reader = ReplyReader::new(Talk::Http);
        let early = reader.feed(text.as_bytes());
        early.or_else(|| reader.finish()).unwrap().verdict
    }

    #[test]
    fn icecast_2_4_says_100_and_200_at_once() {
        let (first, second) = http(
            "HTTP/1.1 100 Continue\r\nServer: Icecast 2.4.4\r\nContent-Length: 0\r\n\r\nHTTP/1.0 200 OK\r\n\r\n",
        );
        assert_eq!(first.as_ref().map(|reply| reply.status), Some(100));
        assert_eq!(first.and_then(|reply| reply.server).as_deref(), Some("Icecast 2.4.4"));
        assert_eq!(second.map(|reply| (reply.status, reply.verdict)), Some((200, Verdict::Go)));
    }

    #[test]
    fn every_refusal_has_its_verdict() {
        for (text, wanted) in [
            ("HTTP/1.0 401 Authentication Required\r\n\r\n", Verdict::Unauthorised),
            ("HTTP/1.0 403 Forbidden\r\nContent-Length: 17\r\n\r\nMountpoint in use", Verdict::InUse),
            ("HTTP/1.0 403 Forbidden\r\n\r\ntoo many sources connected", Verdict::TooManySources),
            ("HTTP/1.0 403 Forbidden\r\n\r\nNo Content-type given", Verdict::ContentType),
            ("HTTP/1.1 403 Forbidden\r\n\r\n", Verdict::InUse),
            ("HTTP/1.1 404 Not found\r\n\r\n", Verdict::NoSuchMount),
            ("HTTP/1.1 409 Conflict\r\n\r\n", Verdict::InUse),
            ("HTTP/1.1 415 Unsupported\r\n\r\n", Verdict::ContentType),
            ("HTTP/1.1 429 Too many\r\n\r\n", Verdict::TooOften),
            ("HTTP/1.1 503 Busy\r\n\r\nToo many sources", Verdict::TooManySources),
            ("HTTP/1.1 503 Busy\r\n\r\n", Verdict::Busy),
            ("HTTP/1.0 403 Forbidden\r\n\r\ntoo many streams", Verdict::TooManySources),
            ("HTTP/1.0 403 Forbidden\r\n\r\nserver limit reached", Verdict::Busy),
            ("HTTP/1.0 403 Forbidden\r\n\r\nauthentication is busy", Verdict::Busy),
            ("HTTP/1.1 400 Bad Request\r\n\r\nNo Content-Type given", Verdict::ContentType),
            ("HTTP/1.1 400 Bad Request\r\n\r\n", Verdict::Rejected),
            ("HTTP/1.1 408 Request Timeout\r\n\r\n", Verdict::Busy),
            ("HTTP/1.1 405 No\r\n\r\n", Verdict::Rejected),
            ("HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n", Verdict::Redirected),
            ("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>log in", Verdict::Nonsense),
            ("SSH-2.0-OpenSSH_9.2\r\n", Verdict::Nonsense),
        ] {
            assert_eq!(verdict_of(text), wanted, "{text}");
        }
    }

    #[test]
    fn byte_by_byte_is_the_same() {
        let mut reader = ReplyReader::new(Talk::Http);
        let text = b"HTTP/1.0 403 Forbidden\r\nContent-Length: 17\r\n\r\nMountpoint in use";
        let replies: Vec<Reply> = text.iter().filter_map(|&byte| reader.feed(&[byte])).collect();
        assert_eq!(replies.len(), 1);
        assert_eq!(replies[0].verdict, Verdict::InUse);
    }

    #[test]
    fn what_follows_a_body_does_not_count() {
        let text = "HTTP/1.0 403 Forbidden\r\nContent-Length: 2\r\n\r\nno too many sources";
        assert_eq!(verdict_of(text), Verdict::InUse);
    }

    #[test]
    fn an_endless_head_is_nonsense() {
        let mut reader = ReplyReader::new(Talk::Http);
        assert_eq!(reader.feed(b"HTTP/1.1 200 OK\r\n"), None);
        let line = vec![b'a'; 1000];
        let reply = (0..20).find_map(|_| reader.feed(&line)).unwrap();
        assert_eq!(reply.verdict, Verdict::Nonsense);
    }

    #[test]
    fn the_headers_behind_ok2_are_no_second_answer() {
        for size in 1..30 {
            let mut reader = ReplyReader::new(Talk::Shoutcast);
            let feed = |chunk: &[u8]| reader.feed(chunk).map(|reply| reply.verdict);
            let verdicts: Vec<_> = b"OK2\r\nicy-caps:11\r\n\r\n".chunks(size).filter_map(feed).collect();
            assert_eq!(verdicts, [Verdict::Go], "in chunks of {size}");
        }
    }

    #[test]
    fn shoutcast_answers_in_words() {
        let read = |text: &[u8]| ReplyReader::new(Talk::Shoutcast).feed(text).map(|reply| reply.verdict);
        assert_eq!(read(b"OK2\r\nicy-caps:11\r\n\r\n"), Some(Verdict::Go));
        assert_eq!(read(b"Invalid Password\r\n"), Some(Verdict::Unauthorised));
        assert_eq!(read(b"HTTP/1.0 400 Bad\r\n"), Some(Verdict::Nonsense));
        assert_eq!(read(b"OK"), None);
    }
}
