//! A mount's address: `http://stream.example.org:8000/live` (RFC 3986, the parts a source client needs).
//!
//! Passwords do not belong in addresses: they would end up in logs, titles of windows and process lists. An address
//! that holds one is refused, and no message here shows any part of an address in which one could hide.

use std::net::{IpAddr, Ipv6Addr};

/// An address taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Address {
    /// `https`.
    pub(crate) secure: bool,
    /// Name in lower case, or literal address without brackets.
    pub(crate) host: String,
    /// TCP port; never zero.
    pub(crate) port: u16,
    /// With its leading `/`; empty if the address ends before it.
    pub(crate) path: String,
}

/// What is wrong with an address: what was found (fit to be shown), and the remedy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Wrong {
    pub(crate) found: String,
    pub(crate) remedy: String,
}

/// Takes an address apart.
pub(crate) fn parse(text: &str) -> Result<Address, Wrong> {
    let wrong = |remedy: &str| Wrong { found: redacted(text), remedy: remedy.to_owned() };
    if text.contains('@') {
        return Err(Wrong {
            found: format!("{}, with a user name or password in it", redacted(text)),
            remedy: "write the address without them: the name as user = \"source\", the password in the secrets file".into(),
        });
    }
    let (secure, rest) = if let Some(rest) = text.strip_prefix("http://") {
        (false, rest)
    } else if let Some(rest) = text.strip_prefix("https://") {
        (true, rest)
    } else {
        return Err(wrong(
            "write an address such as \"http://stream.example.org:8000/live\" (http or https)",
        ));
    };
    if let Some(mark) = rest.find(['?', '#']) {
        let what = if rest[mark..].starts_with('?') { "a query (?...)" } else { "a fragment (#...)" };
        return Err(Wrong {
            found: format!("{}, with {what}", redacted(text)),
            remedy: "write only server, port and mount".into(),
        });
    }
    if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong(
            "write it in ASCII without spaces or control characters (mounts percent-encoded, names as xn--)",
        ));
    }
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let (host, port) = if let Some(inner) = authority.strip_prefix('[') {
        let (host, port) =
            inner.split_once(']').ok_or_else(|| wrong("close the bracket after the IPv6 address"))?;
        let literal: Ipv6Addr =
            host.parse().map_err(|_| wrong("write an IPv6 address between the brackets"))?;
        let port = match port {
            "" => None,
            _ => Some(
                port.strip_prefix(':').ok_or_else(|| wrong("write the port after a colon: [::1]:8000"))?,
            ),
        };
        (literal.to_string(), port)
    } else {
        let (host, port) =
            authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
        if !is_host(host) {
            return Err(wrong("write the server's name or address after the ://"));
        }
        (host.to_ascii_lowercase(), port)
    };
    let port = match port {
        None if secure => 443,
        None => 80,
        Some(digits) => digits
            .parse()
            .ok()
            .filter(|port| *port != 0 && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .ok_or_else(|| wrong("write a port from 1 to 65535"))?,
    };
    if path.contains(['"', '<', '>', '\\', '^', '`', '{', '|', '}']) {
        return Err(wrong("write the mount without \" < > \\ ^ ` { | }"));
    }
    Ok(Address { secure, host, port, path: path.to_owned() })
}

impl Address {
    /// The address with its path replaced: for a remedy.
    pub(crate) fn with_path(&self, path: &str) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        if self.host.contains(':') {
            format!("{scheme}://[{}]:{}{path}", self.host, self.port)
        } else {
            format!("{scheme}://{}:{}{path}", self.host, self.port)
        }
    }
}

/// RFC 1123 name (underscores as found in the field) or dotted IPv4 address.
fn is_host(host: &str) -> bool {
    if host.parse::<IpAddr>().is_ok() {
        return true;
    }
    // All digits and dots, but no address: a name cannot look like this.
    if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return false;
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= 253 && host.strip_suffix('.').unwrap_or(host).split('.').all(label)
}

/// The address as it may be shown: everything before the last `@` and after the first `?` or `#` could be a secret.
fn redacted(text: &str) -> String {
    let scheme =
        ["http://", "https://"].into_iter().find(|scheme| text.starts_with(scheme)).unwrap_or_default();
    let rest = &text[scheme.len()..];
    let (hidden, rest) = rest.rsplit_once('@').map_or(("", rest), |(_, after)| ("***@", after));
    let mut shown = rest.split(['?', '#']).next().unwrap_or_default();
    // What follows the first colon is a port, or else perhaps a password whose `@` was forgotten.
    let authority = shown.split('/').next().unwrap_or_default();
    if let Some((host, port)) = authority.split_once(':')
        && !authority.starts_with('[')
        && !port.bytes().all(|byte| byte.is_ascii_digit())
    {
        shown = &shown[..=host.len()];
    }
    let tail = if shown.len() < rest.len() { "***" } else { "" };
    crate::refusal::quoted(&format!("{scheme}{hidden}{shown}{tail}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_apart() {
        let address = parse("http://Stream.Example.org:8000/live").unwrap();
        assert_eq!((address.secure, address.port), (false, 8000));
        assert_eq!((address.host.as_str(), address.path.as_str()), ("stream.example.org", "/live"));
        assert_eq!(parse("https://a.b/x").unwrap().port, 443);
        assert_eq!(parse("http://a.b").unwrap().path, "");
        let six = parse("http://[2001:db8::1]:8001/a/b").unwrap();
        assert_eq!((six.host.as_str(), six.port), ("2001:db8::1", 8001));
        assert_eq!(six.with_path("/live"), "http://[2001:db8::1]:8001/live");
        assert_eq!(parse("http://127.0.0.1:8000/live").unwrap().host, "127.0.0.1");
    }

    #[test]
    fn odd_addresses_are_refused() {
        for text in [
            "",
            "live",
            "ftp://a/b",
            "HTTP://a/b",
            "http://",
            "http:///live",
            "http://a:0/x",
            "http://a:65536/x",
            "http://a:/x",
            "http://a:+1/x",
            "http://a:80:90/x",
            "http://-a/x",
            "http://a..b/x",
            "http://1.2.3/x",
            "http://[::1/x",
            "http://[x]/x",
            "http://[::1]80/x",
            "http://a/ö",
            "http://a/b c",
            "http://a/b\r\nX: y",
            "http://a/x?y",
            "http://a/x#y",
            "http://a/\"",
            "http://é.fr/x",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn no_message_shows_a_password() {
        for text in [
            "http://source:hackme@a:8000/live",
            "source:hackme@a/live",
            "http://source:hack/hackme@a/live",
            "http://source:hack?hackme@a/live",
            "http://source:hackme@@a/live",
            "http://a/live?pass=hackme",
            "http://a/live#hackme",
            "http://a:x/live?hackme",
            "http://source:hackme",
            "source:hackme",
            "ftp://u:hackme@a/b",
            "https://x@hackme?hackme@a/é",
        ] {
            let wrong = parse(text).unwrap_err();
            assert!(!format!("{wrong:?}").contains("hackme"), "{wrong:?}");
        }
    }
}
