//! A lane: three network namespaces of its own for one run. The box's two uplinks lead through a provider's namespace, where
//! all faults are made, into the world, where server and listeners are.
//!
//! ```text
//! box   up0 10.10.0.2 ---- b0 provider w0 ---- 10.20.0.2 world (10.99.0.1 by either way)
//!       up1 10.11.0.2 ---- b1          w1 ---- 10.21.0.2
//! ```
//! Every lane has the same addresses: no lane sees another. Nothing has a name outside, so nothing is left behind.

use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use e2e::netns::Namespace;

/// The server's address that both uplinks reach.
pub(super) const INGEST: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

/// One of the two uplinks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Uplink {
    /// `up0`, the preferred one.
    Preferred,
    /// `up1`.
    Spare,
}

impl Uplink {
    /// Both, the preferred one first.
    pub(super) const BOTH: [Self; 2] = [Self::Preferred, Self::Spare];

    const fn number(self) -> u8 {
        match self {
            Self::Preferred => 0,
            Self::Spare => 1,
        }
    }

    /// The box's interface.
    pub(super) const fn interface(self) -> &'static str {
        match self {
            Self::Preferred => "up0",
            Self::Spare => "up1",
        }
    }

    /// The server's address in this uplink's own network: what a peer without bound sockets uses to keep two mounts apart.
    pub(super) const fn server(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 20 + self.number(), 0, 2)
    }
}

/// What is done to an uplink.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// Both directions drop everything; the carrier stays.
    SilentCut,
    /// The box's interface loses its carrier.
    CarrierOff,
    /// A middlebox forgets the connections there are: the box gets a RST for its next segment, the server hears nothing of
    /// them any more. New connections work.
    Reset,
    /// Nothing comes back from the server; what the box sends arrives.
    NothingBack,
    /// Nothing arrives at the server; what it sends comes back.
    NothingOut,
}

/// The three namespaces. Their processes are the caller's to end.
#[derive(Debug)]
pub(super) struct Lane {
    /// Server and listeners.
    pub(super) world: Namespace,
    /// The box.
    pub(super) home: Namespace,
    provider: Namespace,
}

impl Lane {
    /// Lays the wires.
    ///
    /// # Errors
    /// No right to network namespaces, or a refusal of `ip` or `nft`.
    pub(super) fn lay() -> Result<Self> {
        let lane = Self { world: Namespace::new()?, home: Namespace::new()?, provider: Namespace::new()? };
        for namespace in [&lane.world, &lane.home, &lane.provider] {
            namespace.knob("ipv4/conf/all/rp_filter", "0")?;
            namespace.knob("ipv4/conf/default/rp_filter", "0")?;
        }
        lane.provider.knob("ipv4/ip_forward", "1")?;
        // A wire without carrier is no way out, for peers that leave the choice to the kernel.
        lane.home.knob("ipv4/conf/all/ignore_routes_with_linkdown", "1")?;
        lane.home.knob("ipv4/conf/default/ignore_routes_with_linkdown", "1")?;
        let (mut provider, mut home, mut world) = (String::new(), String::new(), String::new());
        for uplink in Uplink::BOTH {
            let (n, up) = (uplink.number(), uplink.interface());
            let (box_, out) = (lane.home.path(), lane.world.path());
            provider += &format!(
                "link add b{n} type veth peer name {up} netns {box_}\nlink add w{n} type veth peer name s{n} netns {out}\n\
                 address add 10.1{n}.0.1/24 dev b{n}\naddress add 10.2{n}.0.1/24 dev w{n}\n\
                 link set b{n} up\nlink set w{n} up\n\
                 route add default via 10.2{n}.0.2 dev w{n} table 10{n}\nrule add iif b{n} lookup 10{n}\n"
            );
            home += &format!(
                "address add 10.1{n}.0.2/24 dev {up}\nlink set {up} up\n\
                 route add default via 10.1{n}.0.1 dev {up} metric {metric}\n\
                 route add 10.2{n}.0.0/24 via 10.1{n}.0.1 dev {up}\n\
                 route add default via 10.1{n}.0.1 dev {up} table 10{n}\nrule add from 10.1{n}.0.2 lookup 10{n}\n",
                metric = 100 * (u32::from(n) + 1),
            );
            world += &format!(
                "address add 10.2{n}.0.2/24 dev s{n}\nlink set s{n} up\nroute add 10.1{n}.0.0/24 via 10.2{n}.0.1 dev s{n}\n"
            );
        }
        world += &format!("address add {INGEST}/32 dev lo\n");
        lane.provider.batch(&provider)?;
        lane.home.batch(&home)?;
        lane.world.batch(&world)?;
        lane.provider.nft(HOOKS)?;
        Ok(lane)
    }

    /// Breaks an uplink. Whatever was broken before is whole again afterwards.
    ///
    /// # Errors
    /// The kernel does not take it, or there is no connection to reset.
    pub(super) fn strike(&self, fault: Fault, uplink: Uplink) -> Result<()> {
        let n = uplink.number();
        let rules = match fault {
            Fault::CarrierOff => {
                self.heal()?;
                return self.provider.batch(&format!("link set b{n} down\n"));
            }
            Fault::SilentCut => [dumb(uplink), deaf(uplink)].concat(),
            Fault::NothingBack => deaf(uplink),
            Fault::NothingOut => dumb(uplink),
            Fault::Reset => {
                let ports = self.connections(uplink)?;
                // The provider's own address is as deaf and dumb as what lies behind it; a middlebox has none.
                format!(
                    "add rule inet faults forward iifname b{n} tcp sport {{ {ports} }} reject with tcp reset\n\
                     add rule inet faults forward oifname b{n} tcp dport {{ {ports} }} drop\n"
                )
            }
        };
        self.provider.nft(&format!("{CLEAR}{rules}"))
    }

    /// Both uplinks drop everything at the same instant; their carriers stay.
    ///
    /// # Errors
    /// The kernel does not take it.
    pub(super) fn black_out(&self) -> Result<()> {
        let rules = Uplink::BOTH.map(|uplink| [dumb(uplink), deaf(uplink)].concat()).concat();
        // In one transaction, so that nothing slips through between two rules.
        self.provider.nft(&format!("{CLEAR}{rules}"))
    }

    /// Makes both uplinks whole again.
    ///
    /// # Errors
    /// The kernel does not take it.
    pub(super) fn heal(&self) -> Result<()> {
        self.provider.nft(CLEAR)?;
        self.provider.batch("link set b0 up\nlink set b1 up\n")
    }

    /// The box's ports of all connections over an uplink, with commas.
    fn connections(&self, uplink: Uplink) -> Result<String> {
        let source = format!("src 10.1{}.0.2", uplink.number());
        let output = self.home.inside(|| {
            Command::new("ss")
                .args(["-Htn", "state", "established"])
                .arg(source)
                .output()
                .context("running ss")
        })??;
        let text = String::from_utf8_lossy(&output.stdout);
        let ports: Vec<&str> = text
            .lines()
            .filter_map(|line| line.split_whitespace().nth(2))
            .filter_map(|local| local.rsplit_once(':').map(|(_, port)| port))
            .collect();
        ensure!(!ports.is_empty(), "nothing to reset: the box has no connection over {}", uplink.interface());
        Ok(ports.join(", "))
    }
}

/// Rules that drop what the box sends over an uplink.
fn dumb(uplink: Uplink) -> String {
    let n = uplink.number();
    format!("add rule inet faults forward iifname b{n} drop\nadd rule inet faults input iifname b{n} drop\n")
}

/// Rules that drop what is sent to the box over an uplink.
fn deaf(uplink: Uplink) -> String {
    let n = uplink.number();
    format!("add rule inet faults forward oifname b{n} drop\nadd rule inet faults output oifname b{n} drop\n")
}

/// Takes all rules away.
const CLEAR: &str = "flush table inet faults\n";

/// Where rules can be hung.
const HOOKS: &str = "table inet faults {
    chain forward { type filter hook forward priority 0; }
    chain input { type filter hook input priority 0; }
    chain output { type filter hook output priority 0; }
}
";
