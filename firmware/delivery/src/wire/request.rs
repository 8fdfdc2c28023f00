//! Request heads: source, title, status, listener.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::config::{Method, MountConfig};

/// The head of an HTTP source (Icecast's protocol; never chunked). Holds the password.
#[must_use]
pub fn source(config: &MountConfig, agent: &str) -> Vec<u8> {
    let mut head = match config.server.method {
        Method::Put => format!("PUT {} HTTP/1.1\r\n", config.path),
        Method::Source => format!("SOURCE {} HTTP/1.0\r\n", config.path),
    };
    header(&mut head, "Host", &host(config));
    header(&mut head, "Authorization", &authorization(config));
    header(&mut head, "User-Agent", agent);
    header(&mut head, "Content-Type", config.rendition.codec.content_type());
    let station = &config.station;
    for (name, value) in [
        ("Ice-Name", &station.name),
        ("Ice-Description", &station.description),
        ("Ice-Genre", &station.genre),
        ("Ice-URL", &station.homepage),
    ] {
        if !value.is_empty() {
            header(&mut head, name, value);
        }
    }
    header(&mut head, "Ice-Public", if station.public { "1" } else { "0" });
    let kbit = config.rendition.bitrate.kbit();
    header(&mut head, "Ice-Bitrate", &format!("{kbit}"));
    let (hz, channels) = (config.rendition.rate.hz(), config.rendition.channels.count());
    header(&mut head, "Ice-Audio-Info", &format!("samplerate={hz};channels={channels};bitrate={kbit}"));
    match config.server.method {
        Method::Put => header(&mut head, "Expect", "100-continue"),
        Method::Source => {}
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// The first line of a Shoutcast v1 source: its password alone.
#[must_use]
pub fn shoutcast_password(config: &MountConfig) -> Vec<u8> {
    format!("{}\r\n", one_line(config.password.reveal())).into_bytes()
}

/// The headers of a Shoutcast v1 source, sent after `OK2`.
#[must_use]
pub fn shoutcast_headers(config: &MountConfig) -> Vec<u8> {
    let station = &config.station;
    let mut head = String::new();
    for (name, value) in
        [("icy-name", &station.name), ("icy-genre", &station.genre), ("icy-url", &station.homepage)]
    {
        head.push_str(&format!("{name}:{}\r\n", one_line(value)));
    }
    head.push_str(&format!("icy-pub:{}\r\n", u8::from(station.public)));
    head.push_str(&format!("icy-br:{}\r\n", config.rendition.bitrate.kbit()));
    head.push_str(&format!("content-type:{}\r\n\r\n", config.rendition.codec.content_type()));
    head.into_bytes()
}

/// Sets a title on an Icecast-like server (`/admin/metadata`), as UTF-8.
#[must_use]
pub fn admin_metadata(config: &MountConfig, agent: &str, title: &str) -> Vec<u8> {
    let target = format!(
        "/admin/metadata?mount={}&mode=updinfo&charset=UTF-8&song={}",
        utf8_percent_encode(&config.path, QUERY),
        utf8_percent_encode(title, QUERY)
    );
    get(config, agent, &target, true)
}

/// Sets a title on a Shoutcast v1 server. The protocol wants the password in the query.
#[must_use]
pub fn admin_cgi(config: &MountConfig, agent: &str, title: &str) -> Vec<u8> {
    let target = format!(
        "/admin.cgi?pass={}&mode=updinfo&song={}",
        utf8_percent_encode(config.password.reveal(), QUERY),
        utf8_percent_encode(title, QUERY)
    );
    get(config, agent, &target, false)
}

/// Asks who the mount's source is (`/admin/stats?mount=`, Icecast 2.4, 2.5 and kh; source credentials will do).
#[must_use]
pub fn admin_stats(config: &MountConfig, agent: &str) -> Vec<u8> {
    let target = format!("/admin/stats?mount={}", utf8_percent_encode(&config.path, QUERY));
    get(config, agent, &target, true)
}

/// Asks who listens to the mount at this moment (`/admin/listclients?mount=`, Icecast 2.4, 2.5 and kh; source credentials will do).
/// What `/admin/stats` says of that may be 0.3 s old.
#[must_use]
pub fn admin_clients(config: &MountConfig, agent: &str) -> Vec<u8> {
    let target = format!("/admin/listclients?mount={}", utf8_percent_encode(&config.path, QUERY));
    get(config, agent, &target, true)
}

/// Ends the mount's source (`/admin/killsource`). GET: 2.4 refuses anything else.
#[must_use]
pub fn evict(config: &MountConfig, agent: &str) -> Vec<u8> {
    let target = format!("/admin/killsource?mount={}", utf8_percent_encode(&config.path, QUERY));
    get(config, agent, &target, true)
}

/// Asks for a public page, or listens to a mount.
#[must_use]
pub fn page(config: &MountConfig, agent: &str, path: &str) -> Vec<u8> {
    get(config, agent, path, false)
}

/// HTTP/1.0: so that no server chunks its answer.
fn get(config: &MountConfig, agent: &str, target: &str, login: bool) -> Vec<u8> {
    let mut head = format!("GET {target} HTTP/1.0\r\n");
    header(&mut head, "Host", &host(config));
    header(&mut head, "User-Agent", agent);
    if login {
        header(&mut head, "Authorization", &authorization(config));
    }
    header(&mut head, "Connection", "close");
    head.push_str("\r\n");
    head.into_bytes()
}

fn header(head: &mut String, name: &str, value: &str) {
    head.push_str(name);
    head.push_str(": ");
    head.push_str(&one_line(value));
    head.push_str("\r\n");
}

/// A header ends at a line's end: a value must not bring one along.
fn one_line(value: &str) -> String {
    value.chars().filter(|c| !c.is_control()).collect()
}

fn host(config: &MountConfig) -> String {
    let server = &config.server;
    if server.host.contains(':') {
        format!("[{}]:{}", server.host, server.port)
    } else {
        format!("{}:{}", server.host, server.port)
    }
}

fn authorization(config: &MountConfig) -> String {
    format!("Basic {}", STANDARD.encode(format!("{}:{}", config.user, config.password.reveal())))
}

/// RFC 3986 unreserved characters stay.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::mount;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_put_expects_and_never_chunks() {
        let mut config = mount("main");
        config.station.name = "Caf\u{e9}\r\nX-Evil: 1".into();
        let head = text(source(&config, "Mainstay/0"));
        assert!(head.starts_with("PUT /live HTTP/1.1\r\nHost: stream.example.org:8000\r\n"));
        assert!(head.contains("Expect: 100-continue\r\n") && !head.contains("Transfer-Encoding"));
        assert!(head.contains("Ice-Name: Caf\u{e9}X-Evil: 1\r\n") && head.ends_with("\r\n\r\n"));
        assert!(head.contains("Authorization: Basic c291cmNlOmhhY2ttZQ==\r\n"));
    }

    #[test]
    fn a_source_request_is_http_1_0() {
        let mut config = mount("main");
        config.server.method = Method::Source;
        let head = text(source(&config, "Mainstay/0"));
        assert!(head.starts_with("SOURCE /live HTTP/1.0\r\n") && !head.contains("Expect"));
    }

    #[test]
    fn titles_are_utf_8_and_escaped() {
        let head = text(admin_metadata(&mount("main"), "Mainstay/0", "Bj\u{f6}rk & co = 100%"));
        let line = head.lines().next().unwrap();
        assert_eq!(
            line,
            "GET /admin/metadata?mount=%2Flive&mode=updinfo&charset=UTF-8&song=Bj%C3%B6rk%20%26%20co%20%3D%20100%25 HTTP/1.0"
        );
    }

    #[test]
    fn shoutcast_sends_its_password_alone() {
        assert_eq!(shoutcast_password(&mount("main")), b"hackme\r\n");
        assert!(text(shoutcast_headers(&mount("main"))).ends_with("content-type:audio/mpeg\r\n\r\n"));
    }
}
