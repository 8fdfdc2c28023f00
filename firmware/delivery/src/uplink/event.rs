//! What uplinks are told and what they ask for.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use serde::{Deserialize, Serialize};
use units::snapshot::UplinkState;

use super::UplinkId;

/// One check; never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CheckId(pub u32);

/// Something happened to the uplinks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Input {
    /// Every interface of this machine, as the kernel shows them now.
    Interfaces(Vec<Interface>),
    /// What came of an [`Output::Check`].
    Checked {
        /// The check.
        check: CheckId,
        /// What came of it.
        outcome: Outcome,
    },
    /// What delivery's own connections through an uplink see of an ingest. Better evidence than any check: a busy uplink
    /// needs none.
    Ingest {
        /// Through which uplink.
        uplink: UplinkId,
        /// The ingest's address, as resolved through it.
        ingest: SocketAddr,
        /// What was seen.
        sight: Sight,
    },
    /// The address under which the world sees this uplink, where somebody told it.
    Public {
        /// Which uplink.
        uplink: UplinkId,
        /// Its public address.
        address: IpAddr,
    },
    /// Nothing but time.
    Tick,
}

/// Something is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Look whether something answers through an uplink; reply with [`Input::Checked`] within `patience`.
    Check {
        /// The check.
        check: CheckId,
        /// Through which uplink; the socket is bound to it.
        uplink: UplinkId,
        /// What is asked, and of whom.
        kind: CheckKind,
        /// How long an answer may take.
        patience: Duration,
    },
    /// The answer does not matter any more.
    Drop {
        /// The check.
        check: CheckId,
    },
    /// Tell people: one transition.
    Log(Transition),
}

/// What a check asks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum CheckKind {
    /// ARP request to the gateway (RFC 826): every IPv4 gateway answers, whatever its firewall says.
    Arp(Ipv4Addr),
    /// ICMP or ICMPv6 echo to the gateway (RFC 792, RFC 4443).
    Icmp(IpAddr),
    /// TCP connect, closed at once.
    Tcp(SocketAddr),
    /// `GET /` with this `Host`: tells a captive portal from the real thing.
    Http(SocketAddr, String),
}

/// What came of a check.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// It answered: ARP or echo reply, or TCP connected.
    Answered {
        /// The hardware address of whoever answered an ARP request.
        hardware: Option<[u8; 6]>,
    },
    /// The connection was refused: somebody is there.
    Refused,
    /// It answered over HTTP.
    Page(Page),
    /// Nothing came within the patience.
    Silent,
    /// The kernel or a router said that there is no way.
    Unreachable,
    /// This machine could not ask (no right to raw sockets, no such interface): says nothing about the uplink.
    Impossible(String),
}

/// As much of an HTTP answer as tells a captive portal.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Page {
    /// HTTP status; 0 for an answer that is not HTTP.
    pub status: u16,
    /// The host that a redirect points to, if it is another than was asked.
    pub elsewhere: Option<String>,
    /// The page asks for a password or has a form to log in with.
    pub form: bool,
}

impl Page {
    /// Whether somebody else answers in the place of who was asked.
    pub(crate) fn is_portal(&self) -> bool {
        /// Network Authentication Required (RFC 6585 section 6).
        const AUTHENTICATION_REQUIRED: u16 = 511;
        let redirect = (300..400).contains(&self.status) && self.elsewhere.is_some();
        self.status == AUTHENTICATION_REQUIRED || redirect || (self.form && self.status == 200)
    }
}

/// What delivery saw of an ingest through an uplink.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Sight {
    /// A mount wants to reach it: from now on it is a target of checks.
    Wanted,
    /// No mount wants it any more.
    Gone,
    /// A connection, secured where it should be, came about.
    Connected,
    /// The server acknowledged bytes.
    Acknowledged,
    /// Bytes are owed, and no acknowledgement came in time.
    Silent,
    /// The connection that was silent is given up; whether the way is good again is for checks to find.
    Abandoned,
    /// An attempt to connect got no answer.
    Unreached,
    /// It refused the connection: somebody is there.
    Refused,
    /// What answered is no streaming server: a login page or a redirect, to this host if it is known.
    Stranger {
        /// Where the redirect points to.
        login: Option<String>,
    },
    /// The certificate is not the ingest's (another name, an unknown authority, another pin).
    WrongCertificate,
}

/// One network interface as the kernel shows it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// The kernel's index. A re-created interface has another one under the same name.
    pub index: u32,
    /// Somebody switched it on (`IFF_UP`).
    pub switched_on: bool,
    /// There is a link: a cable with somebody at its end, a cell, an access point (`IFF_LOWER_UP`, or an operational state
    /// that does not say otherwise).
    pub carrier: bool,
    /// Ethernet-like: its neighbours answer ARP.
    pub arp: bool,
    /// Its addresses, both families.
    pub addresses: Vec<Prefix>,
    /// Unicast routes that leave by it, of every table but the local one; default routes first, the best (lowest metric)
    /// first of all.
    pub routes: Vec<Route>,
    /// Settings of the kernel that will hinder it, in words with the remedy.
    pub hindrances: Vec<String>,
}

/// An address or network with the length of its prefix.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Prefix {
    /// The address.
    pub address: IpAddr,
    /// Bits of its network.
    pub length: u8,
}

/// One route.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Route {
    /// Where it leads; length 0 is a default route.
    pub to: Prefix,
    /// The next hop; `None` for what is on the link itself.
    pub gateway: Option<IpAddr>,
}

impl Prefix {
    /// Whether `address` lies in this network.
    #[must_use]
    pub fn covers(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let spare = 32_u32.saturating_sub(u32::from(self.length));
                (u32::from(network) ^ u32::from(address)).checked_shr(spare).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let spare = 128_u32.saturating_sub(u32::from(self.length));
                (u128::from(network) ^ u128::from(address)).checked_shr(spare).unwrap_or(0) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// One change of an uplink's state, said once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Transition {
    /// Which uplink.
    pub uplink: UplinkId,
    /// Its name in the settings.
    pub name: String,
    /// State before.
    pub from: UplinkState,
    /// State after.
    pub to: UplinkState,
    /// What happened, and where it helps the remedy.
    pub why: String,
    /// Whether somebody should be woken: said at most once for one trouble.
    pub alarm: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_cover_their_addresses() {
        let prefix = |address: &str, length| Prefix { address: address.parse().unwrap(), length };
        for (network, length, address, covered) in [
            ("10.0.0.0", 8, "10.9.9.9", true),
            ("10.0.0.0", 8, "11.0.0.1", false),
            ("0.0.0.0", 0, "203.0.113.1", true),
            ("0.0.0.0", 0, "2001:db8::1", false),
            ("::", 0, "2001:db8::1", true),
            ("2001:db8::", 64, "2001:db8::ffff", true),
            ("2001:db8::", 64, "2001:db8:1::1", false),
            ("192.0.2.7", 32, "192.0.2.7", true),
            ("192.0.2.7", 32, "192.0.2.6", false),
        ] {
            let covers = prefix(network, length).covers(address.parse().unwrap());
            assert_eq!(covers, covered, "{network}/{length} {address}");
        }
    }

    #[test]
    fn only_somebody_else_is_a_portal() {
        let page = |status, elsewhere: Option<&str>, form| Page {
            status,
            elsewhere: elsewhere.map(String::from),
            form,
        };
        for (page, portal) in [
            (page(200, None, false), false),
            (page(200, None, true), true),
            (page(302, None, false), false),
            (page(302, Some("login.hotel.example"), false), true),
            (page(511, None, false), true),
            (page(404, None, false), false),
            // A server's own "who are you" is no portal.
            (page(401, None, true), false),
            (page(0, None, false), false),
        ] {
            assert_eq!(page.is_portal(), portal, "{page:?}");
        }
    }
}
