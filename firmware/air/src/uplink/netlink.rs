//! The machine's interfaces, addresses and routes, from the kernel (rtnetlink(7)).
//!
//! An event only says that something is new: what is told is always a whole picture, read afresh. So nothing is lost when the
//! kernel drops events (ENOBUFS reaches us as one more event), and nothing needs to be pieced together.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use delivery::uplink::{Interface, Prefix, Route};
use futures_util::{Stream, StreamExt as _};
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage, State};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteNextHopFlags, RouteType, RouteVia,
};
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder};
use tokio::task::JoinHandle;

/// An interface with what only the edge needs of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Link {
    pub interface: Interface,
    /// Ethernet address.
    pub hardware: Option<[u8; 6]>,
}

/// What the kernel knows of a neighbour on a link (`ip neighbour`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Neighbour {
    /// It answered lately.
    Reachable,
    /// It was asked, and did not.
    Failed,
    /// Nobody has asked, or the answer is old or under way.
    Unknown,
}

/// Hands over the machine's picture, now and after each change, for ever.
pub(super) async fn watch(mut see: impl AsyncFnMut(Vec<Link>)) {
    let mut said = String::new();
    loop {
        if let Err(error) = session(&mut see).await {
            let error = error.to_string();
            if error != said {
                tracing::warn!("reading network interfaces: {error}; trying again every second");
                said = error;
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// What the kernel knows of `address` on interface `index`.
pub(super) async fn neighbour(index: u32, address: IpAddr) -> io::Result<Neighbour> {
    let (connection, handle, _news) = rtnetlink::new_connection()?;
    let _running = Running(tokio::task::spawn_local(connection));
    let all = collect(handle.neighbours().get().execute()).await?;
    let found = all.iter().find(|message| message.header.ifindex == index && is_for(message, address));
    Ok(match found.map(|message| message.header.state) {
        Some(NeighbourState::Reachable | NeighbourState::Permanent | NeighbourState::Noarp) => {
            Neighbour::Reachable
        }
        Some(NeighbourState::Failed | NeighbourState::Incomplete) => Neighbour::Failed,
        Some(
            NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::None
            | NeighbourState::Other(_),
        )
        | None => Neighbour::Unknown,
        // The library's enum may grow.
        Some(_) => Neighbour::Unknown,
    })
}

/// One netlink socket's life.
async fn session(see: &mut impl AsyncFnMut(Vec<Link>)) -> io::Result<()> {
    let (connection, handle, mut news) = rtnetlink::new_multicast_connection(&GROUPS)?;
    let _running = Running(tokio::task::spawn_local(connection));
    let mut last = None;
    loop {
        // An answer may have fallen to the same overflow as the events around it.
        let picture = tokio::time::timeout(PATIENCE, picture(&handle))
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the kernel's list did not end"))??;
        if last.as_ref() != Some(&picture) {
            see(picture.clone()).await;
            last = Some(picture);
        }
        if news.next().await.is_none() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        // What belongs together (an address and its routes) comes within moments; one look is enough for it.
        tokio::time::sleep(SETTLE).await;
        for _ in 0..MOST_EVENTS {
            if news.try_recv().is_err() {
                break;
            }
        }
    }
}

const GROUPS: [MulticastGroup; 5] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
];
const RETRY: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(3);
const SETTLE: Duration = Duration::from_millis(10);
const MOST_EVENTS: usize = 10_000;

/// Of one interface. A box has a handful; what has thousands (a router) has a default route too.
const MOST_ROUTES: usize = 64;

/// A connection's task ends with who uses it.
struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn picture(handle: &Handle) -> io::Result<Vec<Link>> {
    let links = collect(handle.link().get().execute()).await?;
    let addresses = collect(handle.address().get().execute()).await?;
    let four = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let six = RouteMessageBuilder::<Ipv6Addr>::new().build();
    let mut routes = collect(handle.route().get(four).execute()).await?;
    routes.extend(collect(handle.route().get(six).execute()).await?);

    let mut found: HashMap<u32, Link> =
        links.iter().filter_map(|message| Some((message.header.index, link(message)?))).collect();
    for message in &addresses {
        if let (Some(link), Some(own)) = (found.get_mut(&message.header.index), own_address(message)) {
            link.interface.addresses.push(own);
        }
    }
    // The core asks for default routes most, and for the best one first.
    routes.sort_by_key(|message| (message.header.destination_prefix_length, metric(message)));
    for message in &routes {
        for (index, route) in ways(message) {
            if let Some(link) = found.get_mut(&index)
                && link.interface.routes.len() < MOST_ROUTES
                && !link.interface.routes.contains(&route)
            {
                link.interface.routes.push(route);
            }
        }
    }
    let mut picture: Vec<Link> = found.into_values().collect();
    picture.sort_by_key(|link| link.interface.index);
    Ok(picture)
}

async fn collect<T>(answers: impl Stream<Item = Result<T, rtnetlink::Error>>) -> io::Result<Vec<T>> {
    let mut answers = std::pin::pin!(answers);
    let mut all = Vec::new();
    while let Some(answer) = answers.next().await {
        all.push(answer.map_err(io::Error::other)?);
    }
    Ok(all)
}

fn link(message: &LinkMessage) -> Option<Link> {
    let flags = message.header.flags;
    let mut link = Link { interface: Interface::default(), hardware: None };
    let mut operational = State::Unknown;
    for attribute in &message.attributes {
        if let LinkAttribute::IfName(name) = attribute {
            link.interface.name.clone_from(name);
        } else if let LinkAttribute::OperState(state) = attribute {
            operational = *state;
        } else if let LinkAttribute::Address(address) = attribute {
            link.hardware = address.as_slice().try_into().ok();
        }
    }
    let ethernet = message.header.link_layer_type == LinkLayerType::Ether;
    // Modems and tunnels have no operational state of their own (`Unknown`).
    let halted =
        matches!(operational, State::Down | State::LowerLayerDown | State::NotPresent | State::Dormant);
    link.interface.index = message.header.index;
    link.interface.switched_on = flags.contains(LinkFlags::Up);
    link.interface.carrier = flags.contains(LinkFlags::LowerUp) && !halted;
    link.interface.arp = ethernet && !flags.contains(LinkFlags::Noarp);
    (!link.interface.name.is_empty()).then_some(link)
}

fn own_address(message: &AddressMessage) -> Option<Prefix> {
    let header = &message.header;
    // Not yet, or not at all, ours to use (RFC 4862).
    if header.flags.intersects(AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed) {
        return None;
    }
    let (mut own, mut peer) = (None, None);
    for attribute in &message.attributes {
        // On a point-to-point link `Address` is the other end.
        if let AddressAttribute::Local(address) = attribute {
            own = Some(*address);
        } else if let AddressAttribute::Address(address) = attribute {
            peer = Some(*address);
        }
    }
    own.or(peer).map(|address| Prefix { address, length: header.prefix_len })
}

fn metric(message: &RouteMessage) -> u32 {
    let metric = message.attributes.iter().find_map(|attribute| {
        if let RouteAttribute::Priority(metric) = attribute { Some(*metric) } else { None }
    });
    metric.unwrap_or(0)
}

/// A route's interfaces: several, if it is a multipath route.
fn ways(message: &RouteMessage) -> Vec<(u32, Route)> {
    let header = &message.header;
    let gone = RouteFlags::Dead | RouteFlags::Linkdown;
    if header.kind != RouteType::Unicast || header.flags.intersects(gone) {
        return Vec::new();
    }
    let (mut to, mut gateway, mut interface, mut ways) = (None, None, None, Vec::new());
    for attribute in &message.attributes {
        if let RouteAttribute::Destination(address) = attribute {
            to = ip(address);
        } else if let RouteAttribute::Oif(index) = attribute {
            interface = Some(*index);
        } else if let RouteAttribute::MultiPath(hops) = attribute {
            ways = hops.iter().collect();
        } else if let Some(address) = next_hop(attribute) {
            gateway = Some(address);
        }
    }
    let any = if header.address_family == rtnetlink::packet_route::AddressFamily::Inet6 {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    } else {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    };
    let to = Prefix { address: to.unwrap_or(any), length: header.destination_prefix_length };
    let mut routes: Vec<(u32, Route)> =
        interface.map(|index| (index, Route { to, gateway })).into_iter().collect();
    for hop in ways {
        if !hop.flags.intersects(RouteNextHopFlags::Dead | RouteNextHopFlags::Linkdown) {
            let gateway = hop.attributes.iter().find_map(next_hop);
            routes.push((hop.interface_index, Route { to, gateway }));
        }
    }
    routes
}

fn next_hop(attribute: &RouteAttribute) -> Option<IpAddr> {
    if let RouteAttribute::Gateway(address) = attribute {
        ip(address)
    } else if let RouteAttribute::Via(RouteVia::Inet(address)) = attribute {
        Some(IpAddr::V4(*address))
    } else if let RouteAttribute::Via(RouteVia::Inet6(address)) = attribute {
        Some(IpAddr::V6(*address))
    } else {
        None
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    if let RouteAddress::Inet(address) = address {
        Some(IpAddr::V4(*address))
    } else if let RouteAddress::Inet6(address) = address {
        Some(IpAddr::V6(*address))
    } else {
        None
    }
}

fn is_for(message: &NeighbourMessage, address: IpAddr) -> bool {
    let four = |its| IpAddr::V4(its) == address;
    let six = |its| IpAddr::V6(its) == address;
    message.attributes.iter().any(|attribute| {
        matches!(attribute, NeighbourAttribute::Destination(NeighbourAddress::Inet(its)) if four(*its))
            || matches!(attribute, NeighbourAttribute::Destination(NeighbourAddress::Inet6(its)) if six(*its))
    })
}
