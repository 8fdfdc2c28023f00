//! Kernel settings that make two interfaces hinder each other (ip-sysctl): the image sets them right, other machines may not.

use std::path::Path;

use delivery::uplink::Interface;

/// What will hinder `interface`, with the remedy.
pub(super) fn hindrances(interface: &Interface, all: &[Interface]) -> Vec<String> {
    hindered(interface, all, |setting, name| {
        // The kernel takes the larger one of both.
        let read = |name: &str| {
            let path = Path::new("/proc/sys/net/ipv4/conf").join(name).join(setting);
            std::fs::read_to_string(path).ok()?.trim().parse().ok()
        };
        read("all").max(read(name)).unwrap_or(0)
    })
}

fn hindered(interface: &Interface, all: &[Interface], effective: impl Fn(&str, &str) -> u8) -> Vec<String> {
    let mut found = Vec::new();
    let name = interface.name.as_str();
    if effective("rp_filter", name) == STRICT {
        found.push(format!(
            "the kernel drops answers that come by {name} while another interface is preferred (strict reverse path \
             filter): sysctl net.ipv4.conf.all.rp_filter=2"
        ));
    }
    let neighbour =
        all.iter().find(|other| other.index != interface.index && share_network(interface, other));
    if let Some(neighbour) = neighbour
        && effective("arp_ignore", name) == 0
    {
        found.push(format!(
            "{name} lies in the same network as {}, and each answers ARP for the other: sysctl \
             net.ipv4.conf.all.arp_ignore=1 and net.ipv4.conf.all.arp_announce=2",
            neighbour.name
        ));
    }
    found
}

fn share_network(one: &Interface, other: &Interface) -> bool {
    let (mut mine, theirs) = (one.addresses.iter(), &other.addresses);
    mine.any(|own| own.address.is_ipv4() && theirs.iter().any(|its| own.covers(its.address)))
}

/// RFC 3704 section 2.2.
const STRICT: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use delivery::uplink::Prefix;

    fn interface(name: &str, index: u32, address: &str) -> Interface {
        let address = Prefix { address: address.parse().unwrap(), length: 24 };
        Interface { name: name.into(), index, addresses: vec![address], ..Interface::default() }
    }

    #[test]
    fn only_what_hinders_is_told() {
        let (a, b, c) =
            (interface("a", 1, "10.1.0.2"), interface("b", 2, "10.1.0.3"), interface("c", 3, "10.2.0.2"));
        let all = [a.clone(), b, c.clone()];
        let told = |interface: &Interface, rp_filter: u8, arp_ignore: u8| {
            hindered(
                interface,
                &all,
                |setting, _| if setting == "rp_filter" { rp_filter } else { arp_ignore },
            )
        };
        assert!(told(&a, 2, 1).is_empty() && told(&a, 0, 2).is_empty() && told(&c, 2, 0).is_empty());
        assert!(told(&a, 2, 0)[0].contains("arp_ignore=1") && told(&a, 2, 0)[0].contains("as b"));
        assert!(told(&c, 1, 0)[0].contains("rp_filter=2"));
        assert_eq!(told(&a, 1, 0).len(), 2);
    }
}
