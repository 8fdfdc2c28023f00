//! What the kernel says of one uplink's interface: the path out of the box, as far as the box itself can see.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::event::{CheckKind, Interface, Prefix, Route};
use super::why::Why;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Path {
    /// The interface's name.
    name: String,
    interface: Option<Interface>,
    /// It was there once.
    existed: bool,
    /// The names of all interfaces there are.
    exist: Vec<String>,
}

impl Path {
    pub(crate) const fn new(name: String) -> Self {
        Self { name, interface: None, existed: false, exist: Vec::new() }
    }

    /// The kernel's interfaces are these now. In words what ended every connection made before, if anything did.
    pub(crate) fn observe(&mut self, interfaces: &[Interface]) -> Option<String> {
        let now = interfaces.iter().find(|interface| interface.name == self.name).cloned();
        // Nobody means the loopback.
        let names = interfaces.iter().map(|interface| interface.name.clone());
        self.exist = names.filter(|name| name != "lo").collect();
        self.existed |= now.is_some();
        let before = core::mem::replace(&mut self.interface, now);
        before.zip(self.interface.as_ref()).and_then(|(old, new)| renewal(&old, new))
    }

    /// Whether the kernel was asked about it at all.
    pub(crate) const fn is_known(&self) -> bool {
        self.interface.is_some()
    }

    /// Why packets cannot even leave, for somebody who wants to reach `targets`.
    pub(crate) fn fault(&self, mut targets: impl Iterator<Item = IpAddr>) -> Option<Why> {
        let Some(interface) = &self.interface else {
            let name = self.name.clone();
            return Some(if self.existed {
                Why::Vanished { name }
            } else {
                Why::NoSuchInterface { name, exist: self.exist.clone() }
            });
        };
        if !interface.switched_on {
            Some(Why::SwitchedOff)
        } else if !interface.carrier {
            Some(Why::NoCarrier)
        } else if self.addresses().next().is_none() {
            Some(Why::NoAddress)
        } else if self.defaults().next().is_none() && !targets.any(|target| self.leads_to(target)) {
            Some(Why::NoRoute)
        } else {
            None
        }
    }

    /// Whether there is a way to `address`, and one of our own addresses to come from.
    pub(crate) fn leads_to(&self, address: IpAddr) -> bool {
        self.has_family(address) && self.routes().any(|route| route.to.covers(address))
    }

    /// Its own addresses, but for those that it gave itself.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &Prefix> {
        self.interface.iter().flat_map(|interface| &interface.addresses).filter(|own| is_more_than_local(own))
    }

    /// The best default gateway of each family that it has an address of.
    pub(crate) fn gateways(&self) -> impl Iterator<Item = IpAddr> {
        let first = |v4: bool| {
            let mut gateways = self.defaults().filter_map(|route| route.gateway);
            gateways.find(|gateway| gateway.is_ipv4() == v4)
        };
        first(true).into_iter().chain(first(false))
    }

    /// How a gateway is best asked.
    pub(crate) fn gateway_kind(&self, gateway: IpAddr) -> CheckKind {
        let neighbours = self.interface.as_ref().is_some_and(|interface| interface.arp);
        match gateway {
            IpAddr::V4(address) if neighbours => CheckKind::Arp(address),
            IpAddr::V4(_) | IpAddr::V6(_) => CheckKind::Icmp(gateway),
        }
    }

    /// What in the kernel's settings will hinder it.
    pub(crate) fn hindrances(&self) -> impl Iterator<Item = &String> {
        self.interface.iter().flat_map(|interface| &interface.hindrances)
    }

    fn routes(&self) -> impl Iterator<Item = &Route> {
        self.interface.iter().flat_map(|interface| &interface.routes)
    }

    fn defaults(&self) -> impl Iterator<Item = &Route> {
        self.routes().filter(|route| route.to.length == 0 && self.has_family(route.to.address))
    }

    fn has_family(&self, address: IpAddr) -> bool {
        self.addresses().any(|own| own.address.is_ipv4() == address.is_ipv4())
    }
}

/// Addresses that a router may know: not those an interface gives itself (RFC 3927, RFC 4291).
fn is_more_than_local(prefix: &Prefix) -> bool {
    match prefix.address {
        IpAddr::V4(address) => {
            !address.is_link_local() && !address.is_loopback() && !address.is_unspecified()
        }
        IpAddr::V6(address) => {
            !address.is_unicast_link_local() && !address.is_loopback() && !address.is_unspecified()
        }
    }
}

/// Another interface under the same name, or all addresses of a family replaced. One address of several may go (IPv6 changes
/// its temporary ones by the day) without that.
fn renewal(old: &Interface, new: &Interface) -> Option<String> {
    if old.index != new.index {
        return Some("the interface was created anew".to_string());
    }
    let own = |interface: &Interface, v4: bool| -> Vec<IpAddr> {
        let more = interface.addresses.iter().filter(|prefix| is_more_than_local(prefix));
        more.map(|prefix| prefix.address).filter(|address| address.is_ipv4() == v4).collect()
    };
    for v4 in [true, false] {
        let (before, after) = (own(old, v4), own(new, v4));
        if let Some(first) = before.first()
            && !before.iter().any(|address| after.contains(address))
        {
            let now = after.first().map_or_else(|| "none".to_string(), IpAddr::to_string);
            return Some(alloc::format!("its address changed from {first} to {now}"));
        }
    }
    None
}
