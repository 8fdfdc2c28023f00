//! `tls = { ca = "authority.pem" }` or `tls = { pin = "sha256:..." }`: whose word about a server counts.

use delivery::config::Trust;

use crate::document::{Table, Value};
use crate::output::Surroundings;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
const EXAMPLE: &str = "tls = { ca = \"authority.pem\" } or { pin = \"sha256:64 hex digits\" }";

/// Reads `tls`; the system's roots where an `https` mount says nothing. `known` tells whether the address could be
/// read at all: without it nobody knows whether `tls` fits.
pub(crate) fn read(
    mount: &Table<'_>,
    known: bool,
    secure: bool,
    around: &mut Surroundings<'_>,
) -> Option<Trust> {
    let system = secure.then_some(Trust::System);
    let Some(value) = mount.get("tls") else { return system };
    let Some(table) = value.table(EXAMPLE) else { return system };
    if known && !secure {
        value.refuse("tls beside an http address", "write https:// in url, or leave tls out");
    }
    let (ca, pin) = (table.get("ca"), table.get("pin"));
    let trust = match (ca, pin) {
        (Some(ca), None) => authority(&ca, around),
        (None, Some(pin)) => pin.parsed("sha256:64 hex digits", pinned).map(Trust::Pinned),
        (Some(_), Some(_)) => {
            table.refuse(
                "ca and pin together",
                "keep one: a pin trusts one certificate, an authority all it signed",
            );
            None
        }
        (None, None) => {
            table.refuse(
                "neither ca nor pin",
                format!("write {EXAMPLE}, or leave tls out for the system's roots"),
            );
            None
        }
    };
    table.done();
    trust.or(system)
}

fn authority(value: &Value<'_>, around: &mut Surroundings<'_>) -> Option<Trust> {
    let path = around.places.base.join(value.some_text("authority.pem")?);
    let shown = path.display().to_string();
    let text = match (around.read)(&path) {
        Ok(text) => text,
        Err(error) => {
            value.refuse(
                format!("{shown}, which cannot be read ({error})"),
                "put the authority's certificate there (PEM)",
            );
            return None;
        }
    };
    let pem = certificates(&text);
    if pem.is_empty() {
        let remedy = format!("put the authority's certificate there: PEM, with the line {BEGIN}");
        value.refuse(format!("{shown}, which holds no certificate"), remedy);
        return None;
    }
    Some(Trust::Authority { path: shown, pem })
}

/// The certificate blocks alone: a private key that lies in the same file stays there.
fn certificates(text: &str) -> String {
    let mut pem = String::new();
    let mut rest = text;
    while let Some(begin) = rest.find(BEGIN) {
        let block = &rest[begin..];
        let Some(end) = block.find(END).map(|end| end + END.len()) else { break };
        let body = &block[BEGIN.len()..end - END.len()];
        let base64 =
            |c: char| c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || matches!(c, '+' | '/' | '=');
        if !body.trim().is_empty() && body.chars().all(base64) {
            pem.push_str(&block[..end]);
            pem.push('\n');
        }
        rest = &block[end..];
    }
    pem
}

/// `sha256:` and 64 hex digits; the colons that `openssl x509 -fingerprint -sha256` prints may stay.
fn pinned(text: &str) -> Result<[u8; 32], String> {
    let wrong = || {
        "write \"sha256:\" and the 64 hex digits that `openssl x509 -noout -fingerprint -sha256` prints"
            .to_owned()
    };
    let digits: String =
        text.strip_prefix("sha256:").ok_or_else(wrong)?.chars().filter(|c| *c != ':').collect();
    if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut pin = [0; 32];
    for (byte, pair) in pin.iter_mut().zip(digits.as_bytes().chunks(2)) {
        let pair = str::from_utf8(pair).map_err(|_| wrong())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    Ok(pin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_may_be_pasted_from_openssl() {
        let plain = format!("sha256:{}", "0a".repeat(32));
        let colons = format!("sha256:{}", vec!["0A"; 32].join(":"));
        assert_eq!(pinned(&plain), Ok([10; 32]));
        assert_eq!(pinned(&colons), Ok([10; 32]));
        for text in ["", "0a", "sha1:0a", "sha256:", "sha256:zz", &format!("{plain}0"), &plain[7..]] {
            assert!(pinned(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_certificates_are_taken_from_a_file() {
        let text = format!(
            "notes\n-----BEGIN PRIVATE KEY-----\nhackme\n-----END PRIVATE KEY-----\n{BEGIN}\nTUlJ\n{END}\n"
        );
        assert_eq!(certificates(&text), format!("{BEGIN}\nTUlJ\n{END}\n"));
        for text in [
            "",
            BEGIN,
            &format!("{END}\n{BEGIN}"),
            &format!("{BEGIN}\n{END}"),
            &format!("{BEGIN}\nb!\n{END}"),
        ] {
            assert_eq!(certificates(text), "", "{text}");
        }
    }
}
