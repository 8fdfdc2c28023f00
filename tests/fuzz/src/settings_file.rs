//! The settings file and its secrets.
//!
//! Input: the settings, a line `%%`, then the secrets; after a second `%%`, what every authority's file holds.

use std::collections::BTreeSet;
use std::io;

use settings::{MountChange, Places, Refusals, Settings, interrupted, parse};
use units::snapshot::Role;

/// The password that no message may show.
const PASSWORD: &str = "hackme-7Qz";
const SETTINGS: &str = "settings.toml";
const SECRETS: &str = "secrets.toml";
/// 32 outputs of two mounts.
const MOST_MOUNTS: usize = 64;

/// Parses both files; understood if nothing is wrong with them.
pub fn target(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.splitn(3, "\n%%\n");
    let settings = parts.next().unwrap_or_default();
    let (secrets, authority) = (parts.next().unwrap_or_default(), parts.next());
    let parsed = read(settings, secrets, authority);
    match &parsed {
        Ok(settings) => check(settings),
        Err(refusals) => check_refusals(refusals, settings, secrets),
    }
    if !settings.contains(PASSWORD) {
        let shown = match &parsed {
            Ok(settings) => format!("{settings:?}"),
            Err(refusals) => format!("{refusals} {refusals:?}"),
        };
        assert!(!shown.contains(PASSWORD), "a secret in {shown}");
    }
    password_in_address(settings);
    parsed.is_ok()
}

fn read(settings: &str, secrets: &str, authority: Option<&str>) -> Result<Settings, Refusals> {
    let places = Places { settings: SETTINGS.into(), secrets: SECRETS.into(), base: "/etc/mainstay".into() };
    parse(settings, secrets, &places, &mut |_| {
        authority.map(str::to_owned).ok_or_else(|| io::ErrorKind::NotFound.into())
    })
}

fn check(settings: &Settings) {
    assert!(settings.mounts.len() <= MOST_MOUNTS);
    let ids: BTreeSet<_> = settings.mounts.iter().map(|mount| &mount.id).collect();
    assert_eq!(ids.len(), settings.mounts.len(), "two mounts of one name");
    for mount in &settings.mounts {
        assert!(!mount.password.reveal().is_empty(), "{}: no password", mount.id);
        assert!(mount.path.starts_with('/') && mount.server.port != 0 && !mount.server.host.is_empty());
        assert!(
            !(mount.station.public && mount.id.role == Role::Fallback),
            "{}: a public fallback",
            mount.id
        );
        let encoders =
            settings.encoders.iter().filter(|(rendition, _)| *rendition == mount.rendition).count();
        assert_eq!(encoders, 1, "{}: one encoder a rendition", mount.id);
        for other in settings.mounts.iter().filter(|other| other.id.output == mount.id.output) {
            assert_eq!(mount.rendition.matches(&other.rendition), Ok(()), "{} and {}", mount.id, other.id);
        }
    }
    let interruptions = interrupted(settings, settings);
    assert!(interruptions.is_none() && !interruptions.control, "the same file again interrupts");
    assert!(interruptions.mounts.iter().all(|(_, change)| *change == MountChange::Left));
}

fn check_refusals(refusals: &Refusals, settings: &str, secrets: &str) {
    assert!(!refusals.0.is_empty(), "refused without a reason");
    for refusal in &refusals.0 {
        let lines = match refusal.file.as_str() {
            SETTINGS => settings,
            SECRETS => secrets,
            other => panic!("a fault in {other:?}, which nobody named"),
        };
        let lines = 1 + lines.bytes().filter(|byte| *byte == b'\n').count();
        match refusal.line {
            Some(line) => assert!((1..=lines).contains(&(line as usize)), "{refusal:?} of {lines} lines"),
            // What is absent from the secrets has no line (the key says where it belongs), nor has a count of further faults.
            None => {
                let absent = refusal.file == SECRETS && !refusal.key.is_empty();
                assert!(absent || refusal.found.ends_with("more faults"), "{refusal:?} names no line");
            }
        }
        let text = refusal.to_string();
        assert!(!refusal.found.is_empty() && !refusal.remedy.is_empty(), "{text:?} says too little");
        assert!(!text.chars().any(char::is_control), "foreign control characters in {text:?}");
    }
}

/// A password in an address is refused and not shown, whatever stands around it.
fn password_in_address(foreign: &str) {
    // A basic TOML string: these are the characters that it takes only escaped.
    let escaped: String = foreign
        .chars()
        .take(200)
        .filter(|c| !c.is_control())
        .flat_map(|c| if matches!(c, '"' | '\\') { vec!['\\', c] } else { vec![c] })
        .collect();
    if escaped.contains(PASSWORD) {
        return;
    }
    let texts =
        [format!("http://source:{PASSWORD}@{escaped}"), format!("{escaped}{PASSWORD}@h.example:8000/live")];
    for address in texts {
        let settings = format!(
            "version = 1\n[[output]]\nname = \"main\"\n[output.primary]\nurl = \"{address}\"\ncodec = \"mp3\"\nbitrate = \"320 kbit/s\"\n"
        );
        let refusals =
            read(&settings, "[main]\nprimary = \"x\"\n", None).expect_err("an address with a password");
        let shown = format!("{refusals} {refusals:?}");
        assert!(!shown.contains(PASSWORD), "a secret in {shown}");
    }
}
