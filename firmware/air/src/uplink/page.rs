//! An HTTP answer, read for one question only: is this a captive portal?

use delivery::uplink::Page;

/// Whether the bytes so far are all that can be learned: a whole head whose body does not matter, or a form.
pub(super) fn is_clear(bytes: &[u8]) -> bool {
    head(bytes).is_some_and(|(status, _, body)| status != 200 || is_form(body))
}

/// What the answer is, having asked `host`.
pub(super) fn read(host: &str, bytes: &[u8]) -> Page {
    let Some((status, location, body)) = head(bytes) else { return Page::default() };
    let elsewhere = location.as_deref().and_then(host_of).filter(|other| !same(other, host));
    Page { status, elsewhere: elsewhere.map(str::to_string), form: is_form(body) }
}

/// Status, `Location` and what follows the head.
fn head(bytes: &[u8]) -> Option<(u16, Option<String>, &[u8])> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(end) = response.parse(bytes).ok()? else { return None };
    let location = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("location"));
    let location = location.map(|header| String::from_utf8_lossy(header.value).into_owned());
    Some((response.code?, location, bytes.get(end..)?))
}

/// The host of an absolute URL; a relative one stays where it is.
fn host_of(location: &str) -> Option<&str> {
    let rest = location.split_once("://").map(|(_, rest)| rest).or_else(|| location.strip_prefix("//"))?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit('@').next()?;
    let host = match authority.strip_prefix('[') {
        Some(six) => six.split(']').next()?,
        None => authority.split(':').next()?,
    };
    let fit = host.len() <= LONGEST_HOST && host.bytes().all(|byte| byte.is_ascii_graphic());
    (fit && !host.is_empty()).then_some(host)
}

fn same(a: &str, b: &str) -> bool {
    a.trim_start_matches("www.").eq_ignore_ascii_case(b.trim_start_matches("www."))
}

/// A field for a password is what portals have and status pages have not.
fn is_form(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    ["type=\"password\"", "type='password'", "type=password"].iter().any(|field| text.contains(field))
}

/// RFC 1035 section 2.3.4.
const LONGEST_HOST: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_elsewhere_are_told_from_those_at_home() {
        let to = |location: &str| {
            let answer = format!("HTTP/1.1 302 Found\r\nServer: x\r\nLocation: {location}\r\n\r\n");
            assert!(is_clear(answer.as_bytes()));
            read("192.0.2.80", answer.as_bytes()).elsewhere
        };
        assert_eq!(to("http://login.hotel.example/?u=http://a.b/").as_deref(), Some("login.hotel.example"));
        assert_eq!(to("//10.0.0.1:8080/x").as_deref(), Some("10.0.0.1"));
        assert_eq!(to("https://[2001:db8::1]/").as_deref(), Some("2001:db8::1"));
        for home in [
            "/status.xsl",
            "http://192.0.2.80/y",
            "https://192.0.2.80:443",
            "http:///",
            "http://\u{e9}/",
            "x",
        ] {
            assert_eq!(to(home), None, "{home}");
        }
    }

    #[test]
    fn pages_and_nonsense_are_read() {
        let page = b"HTTP/1.0 200 OK\r\n\r\n<form><input type='password' name=p></form>";
        let found = read("a", page);
        assert_eq!((found.status, found.form), (200, true));
        assert!(!is_clear(&page[..40]) && is_clear(page));
        assert!(!read("a", b"HTTP/1.0 200 OK\r\nServer: Icecast 2.4.4\r\n\r\n<h1>Icecast</h1>").form);
        for nonsense in [&b"ICY 200 OK\r\n\r\n"[..], b"HTTP/1.1 20", b"\xff\x00", b""] {
            assert_eq!(read("a", nonsense), Page::default());
            assert!(!is_clear(nonsense));
        }
    }
}
