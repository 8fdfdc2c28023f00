//! Answers to questions beside the stream: titles, status lists, probes.

use alloc::string::String;
use alloc::vec::Vec;

use super::date::http_date;
use super::status_entry;
use crate::Backlog;
use crate::event::{Answer, Question};

/// Collects one HTTP answer.
#[derive(Debug)]
pub struct AnswerReader {
    question: Question,
    seen: Vec<u8>,
}

impl AnswerReader {
    /// A reader for the answer to `question`.
    #[must_use]
    pub const fn new(question: Question) -> Self {
        Self { question, seen: Vec::new() }
    }

    /// Takes bytes in; true once enough are here and the connection may be closed.
    pub fn feed(&mut self, bytes: &[u8]) -> bool {
        self.seen.extend_from_slice(&bytes[..bytes.len().min(MOST - self.seen.len().min(MOST))]);
        let enough = match self.question {
            Question::Title | Question::Evict => HEAD_ENOUGH,
            Question::Status { .. } | Question::Source { .. } => MOST,
            Question::Probe { .. } => PROBE_ENOUGH,
        };
        self.seen.len() >= enough || self.is_whole()
    }

    /// Whether the answer says its length and is all here: 2.5 keeps connections open even under HTTP/1.0.
    fn is_whole(&self) -> bool {
        let mut headers = [httparse::EMPTY_HEADER; 48];
        let mut response = httparse::Response::new(&mut headers);
        let Ok(httparse::Status::Complete(head)) = response.parse(&self.seen) else { return false };
        let length = response
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case("Content-Length"))
            .and_then(|header| core::str::from_utf8(header.value).ok())
            .and_then(|length| length.trim().parse::<usize>().ok());
        length.is_some_and(|length| self.seen.len() - head >= length)
    }

    /// Whether anything came at all.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        !self.seen.is_empty()
    }

    /// What the bytes so far mean. A probe is looked for in `backlog`, the bytes of its rendition.
    #[must_use]
    pub fn answer(&self, backlog: Option<&Backlog>) -> Answer {
        let mut headers = [httparse::EMPTY_HEADER; 48];
        let mut response = httparse::Response::new(&mut headers);
        // Shoutcast listeners are greeted with `ICY 200 OK`.
        let icy = self.seen.starts_with(b"ICY ").then(|| [b"HTTP/1.0 ", &self.seen[4..]].concat());
        let bytes = icy.as_deref().unwrap_or(&self.seen);
        let (status, head) = match response.parse(bytes) {
            Ok(httparse::Status::Complete(head)) => (response.code.unwrap_or(0), head),
            Ok(httparse::Status::Partial) | Err(_) => (0, bytes.len()),
        };
        let body = &bytes[head..];
        match &self.question {
            // Icecast says whether it took a title in its page, with 200 in either case for some refusals.
            Question::Title => {
                let page = String::from_utf8_lossy(body).to_ascii_lowercase();
                let refused = page.contains("<return>0") || page.contains("will not accept");
                if status == 200 && !refused { Answer::TitleTaken } else { Answer::TitleRefused { status } }
            }
            Question::Status { path } => {
                let text = String::from_utf8_lossy(body);
                match if status == 200 { status_entry(&text, path) } else { None } {
                    None => Answer::NoStatus { status },
                    Some(None) => Answer::NotListed,
                    // Icecast 2.4 lists a mount that only its fallback feeds, without a start.
                    Some(Some(entry)) if entry.started.is_none() => Answer::NotListed,
                    Some(Some(entry)) => {
                        let date = response
                            .headers
                            .iter()
                            .find(|header| header.name.eq_ignore_ascii_case("Date"))
                            .and_then(|header| core::str::from_utf8(header.value).ok())
                            .and_then(http_date);
                        let age = date
                            .zip(entry.started)
                            .map(|(now, started)| now.saturating_sub(started).max(0) as u64);
                        Answer::Listed { age }
                    }
                }
            }
            Question::Source { path } => match status {
                200 => source_of(&String::from_utf8_lossy(body), path),
                // 2.4 says 400 of a mount that is not there, 2.5 says 404.
                400 | 404 => Answer::NoSource,
                _ => Answer::Forbidden { status },
            },
            Question::Evict => match status {
                200 => Answer::Evicted,
                400 | 404 => Answer::NoSource,
                _ => Answer::Forbidden { status },
            },
            Question::Probe { .. } => {
                if status != 200 || body.len() < 2 * NEEDLE {
                    return Answer::HeardNothing { status };
                }
                // The newest bytes, cut at both ends: with a page or another programme there, nothing is found.
                let needle = &body[body.len() - NEEDLE..];
                match backlog.and_then(|backlog| backlog.find(needle)) {
                    Some(upto) => Answer::Heard { upto },
                    None => Answer::HeardForeign,
                }
            }
        }
    }
}

/// What `/admin/stats` says of one mount: an element `source` whose attribute names it, with one element for each figure.
fn source_of(text: &str, path: &str) -> Answer {
    let named = ["<source mount=\"", &escaped(path), "\">"].concat();
    let Some(begin) = text.find(&named).map(|at| at + named.len()) else { return Answer::NoSource };
    let entry = &text[begin..];
    let entry = &entry[..entry.find("</source>").unwrap_or(entry.len())];
    let figure = |name: &str| element(entry, name).and_then(|text| text.trim().parse().ok());
    Answer::Source {
        read: figure("total_bytes_read"),
        agent: element(entry, "user_agent").map(|agent| agent.chars().take(64).collect()),
        // 2.4's list of clients has a capital there.
        listeners: figure("listeners").or_else(|| figure("Listeners")),
        address: element(entry, "source_ip").and_then(|text| text.trim().parse().ok()),
    }
}

fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (open, close) = (["<", name, ">"].concat(), ["</", name, ">"].concat());
    let begin = text.find(&open)? + open.len();
    let end = text[begin..].find(&close)?;
    Some(&text[begin..begin + end])
}

/// As XML writes an attribute.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A status list longer than this is not read further (a server with some 300 mounts).
const MOST: usize = 256 * 1024;

const HEAD_ENOUGH: usize = 16 * 1024;

/// A probe listens to so many bytes: eight of the server's blocks.
const PROBE_ENOUGH: usize = 12 * 1024;

/// So many bytes in a row are ours or they are not. Coded silence, which repeats itself, proves nothing: [`Backlog::find`].
const NEEDLE: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::RenditionId;
    use crate::testing::rendition;

    fn answer(question: Question, text: &[u8], backlog: Option<&Backlog>) -> Answer {
        let mut reader = AnswerReader::new(question);
        reader.feed(text);
        reader.answer(backlog)
    }

    #[test]
    fn a_status_entry_gets_its_age_from_the_servers_own_clock() {
        let text = b"HTTP/1.0 200 OK\r\nDate: Fri, 20 Nov 2026 08:00:30 GMT\r\n\r\n{\"icestats\":{\"source\":{\"listenurl\":\"http://h/live\",\"stream_start_iso8601\":\"2026-11-20T08:00:00+0000\"}}}";
        assert_eq!(
            answer(Question::Status { path: "/live".into() }, text, None),
            Answer::Listed { age: Some(30) }
        );
        assert_eq!(answer(Question::Status { path: "/other".into() }, text, None), Answer::NotListed);
        let missing = b"HTTP/1.0 404 Not Found\r\n\r\n";
        assert_eq!(
            answer(Question::Status { path: "/live".into() }, missing, None),
            Answer::NoStatus { status: 404 }
        );
    }

    #[test]
    fn a_probe_tells_our_bytes_from_others() {
        let mut backlog = Backlog::new(&rendition(128));
        let sound: Vec<u8> = (0..20_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        backlog.push(&sound);
        let question = || Question::Probe { rendition: RenditionId(0) };
        let heard = [b"HTTP/1.0 200 OK\r\n\r\n".as_slice(), &sound[1000..9000]].concat();
        assert_eq!(answer(question(), &heard, Some(&backlog)), Answer::Heard { upto: units::BytePos(9000) });
        let icy = [b"ICY 200 OK\r\n\r\n".as_slice(), &sound[1000..9000]].concat();
        assert_eq!(answer(question(), &icy, Some(&backlog)), Answer::Heard { upto: units::BytePos(9000) });
        let foreign = [b"HTTP/1.0 200 OK\r\n\r\n".as_slice(), &[7; 9000]].concat();
        assert_eq!(answer(question(), &foreign, Some(&backlog)), Answer::HeardForeign);
        assert_eq!(
            answer(question(), b"HTTP/1.0 404 no\r\n\r\n", Some(&backlog)),
            Answer::HeardNothing { status: 404 }
        );
    }

    #[test]
    fn an_answer_that_says_its_length_is_not_waited_past_it() {
        let mut reader = AnswerReader::new(Question::Title);
        assert!(!reader.feed(b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\n<a>"));
        assert!(reader.feed(b"!"));
    }

    #[test]
    fn a_title_is_refused_by_page_or_status() {
        let taken = b"HTTP/1.0 200 OK\r\n\r\n<?xml?><iceresponse><message>Metadata update successful</message><return>1</return>";
        let refused = b"HTTP/1.0 200 OK\r\n\r\n<iceresponse><message>Mountpoint will not accept URL updates</message><return>1</return>";
        assert_eq!(answer(Question::Title, taken, None), Answer::TitleTaken);
        assert_eq!(answer(Question::Title, refused, None), Answer::TitleRefused { status: 200 });
        assert_eq!(answer(Question::Title, b"nonsense", None), Answer::TitleRefused { status: 0 });
    }
}
