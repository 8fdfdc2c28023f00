//! `[[uplink]]`: which network interfaces the box may use, best first.

use std::net::{IpAddr, SocketAddr};

use delivery::uplink::UplinkConfig;

use crate::document::{Table, Value};
use crate::output::is_name;

/// Two network cards, a modem and one to spare; every one costs checks.
const MOST_UPLINKS: usize = 4;

/// As many as resolv.conf(5) takes, and one.
const MOST_SERVERS: usize = 4;

/// More would not tell more: one that answers is enough.
const MOST_TARGETS: usize = 8;

/// The kernel's IFNAMSIZ, less its closing zero byte (linux/if.h).
const LONGEST_INTERFACE: usize = 15;

pub(crate) fn read(root: &Table<'_>) -> Vec<UplinkConfig> {
    let mut tables = root
        .get("uplink")
        .and_then(|value| value.list("[[uplink]], once per network interface"))
        .unwrap_or_default();
    if let Some(first_beyond) = tables.get(MOST_UPLINKS) {
        first_beyond.refuse(format!("{} uplinks", tables.len()), format!("keep at most {MOST_UPLINKS}"));
        tables.truncate(MOST_UPLINKS);
    }
    let mut names: Vec<(&str, u32)> = Vec::new();
    let mut interfaces: Vec<(&str, u32)> = Vec::new();
    let mut uplinks = Vec::new();
    for value in &tables {
        let Some(table) = value.table("[[uplink]], once per network interface") else { continue };
        let name = table.need("name", "write name = \"studio\"").and_then(|value| {
            let name = value.text("studio").filter(|name| is_name(&value, name))?;
            is_new(&value, name, &mut names).then_some(name)
        });
        let interface = table.need("interface", "write interface = \"eth0\"").and_then(|value| {
            let interface = value.text("eth0").filter(|interface| is_interface(&value, interface))?;
            is_new(&value, interface, &mut interfaces).then_some(interface)
        });
        let metered = table.get("metered").and_then(|value| value.flag()).unwrap_or_default();
        let dns = table.get("dns").map(|value| several(&value, MOST_SERVERS, "dns", "192.0.2.53", server));
        let targets =
            table.get("check").map(|value| several(&value, MOST_TARGETS, "check", "192.0.2.1:443", target));
        if let (Some(name), Some(interface)) = (name, interface) {
            uplinks.push(UplinkConfig {
                name: name.to_owned(),
                interface: interface.to_owned(),
                metered,
                dns: dns.unwrap_or_default(),
                targets: targets.unwrap_or_default(),
            });
        }
        table.done();
    }
    uplinks
}

/// Whether no uplink above says the same.
fn is_new<'a>(value: &Value<'_>, text: &'a str, seen: &mut Vec<(&'a str, u32)>) -> bool {
    if let Some((_, line)) = seen.iter().find(|(other, _)| *other == text) {
        value.refuse_text(text, format!("choose another: the uplink in line {line} has this one"));
        return false;
    }
    seen.push((text, value.line));
    true
}

/// Whether the kernel would take such a name (`dev_valid_name`).
fn is_interface(value: &Value<'_>, name: &str) -> bool {
    let fits = (1..=LONGEST_INTERFACE).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':'))
        && name != "."
        && name != "..";
    if !fits {
        let remedy = format!(
            "write the interface's name, such as \"eth0\": 1 to {LONGEST_INTERFACE} letters (ip link shows them)"
        );
        value.refuse_text(name, remedy);
    }
    fits
}

/// A list of addresses, each said once.
fn several<T: PartialEq>(
    value: &Value<'_>,
    most: usize,
    key: &str,
    example: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Vec<T> {
    let entries = value.list(&format!("{key} = [\"{example}\"]")).unwrap_or_default();
    if entries.len() > most {
        value.refuse(format!("{} entries", entries.len()), format!("keep at most {most}"));
        return Vec::new();
    }
    let mut found = Vec::new();
    for entry in &entries {
        if let Some(address) = entry.parsed(example, &read)
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

fn server(text: &str) -> Result<IpAddr, String> {
    text.parse()
        .ok()
        .filter(is_host)
        .ok_or_else(|| "write a name server's address, such as \"192.0.2.53\"".to_owned())
}

fn target(text: &str) -> Result<SocketAddr, String> {
    text.parse().ok().filter(|target: &SocketAddr| target.port() != 0 && is_host(&target.ip())).ok_or_else(
        || "write an address and a TCP port, such as \"192.0.2.1:443\" or \"[2001:db8::1]:443\"".to_owned(),
    )
}

/// One machine's address.
fn is_host(address: &IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !address.is_unspecified() && !address.is_multicast() && !broadcast
}
