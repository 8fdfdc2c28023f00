//! A lane: three network namespaces of its own for one run. The box's two uplinks lead through a provider's namespace, where
//! all faults are made, into the world, where servers and listeners are.
//!
//! ```text
//! box   up0 10.10.0.2 ---- b0 provider w0 ---- 10.20.0.2 world (10.99.0.1 and 10.99.0.2 by either way)
//!       up1 10.11.0.2 ---- b1          w1 ---- 10.21.0.2
//! ```
//! Every lane has the same addresses: no lane sees another. Nothing has a name outside, so nothing is left behind.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::Build;
use crate::daemon::Daemon;
use crate::ears::{Ear, Ears, Manner};
use crate::icecast::{Headend, Icecast};
use crate::listener::Listener;
use crate::netns::Namespace;
use crate::settings::Settings;

/// The servers' address that both uplinks reach.
pub const INGEST: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
/// A second one, as if of another region.
pub const SECOND_INGEST: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);

/// One of the two uplinks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Uplink {
    /// `up0`, the preferred one.
    Preferred,
    /// `up1`.
    Spare,
}

impl Uplink {
    /// Both, the preferred one first.
    pub const BOTH: [Self; 2] = [Self::Preferred, Self::Spare];

    const fn number(self) -> u8 {
        match self {
            Self::Preferred => 0,
            Self::Spare => 1,
        }
    }

    /// The box's interface.
    #[must_use]
    pub const fn interface(self) -> &'static str {
        match self {
            Self::Preferred => "up0",
            Self::Spare => "up1",
        }
    }

    /// The box's address.
    #[must_use]
    pub const fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 10 + self.number(), 0, 2)
    }
}

/// The three namespaces. Their processes are the caller's to end.
#[derive(Debug)]
pub struct Lane {
    /// Servers and listeners.
    pub world: Namespace,
    /// The box.
    pub home: Namespace,
    provider: Namespace,
}

/// What a connection cost so far, in bytes on the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flow {
    /// The box's end.
    pub local: String,
    /// Both ways, headers included.
    pub bytes: u64,
}

impl Lane {
    /// Lays the wires.
    ///
    /// # Errors
    /// No right to network namespaces, or a refusal of `ip` or `nft`.
    pub fn lay() -> Result<Self> {
        let lane = Self { world: Namespace::new()?, home: Namespace::new()?, provider: Namespace::new()? };
        for namespace in [&lane.world, &lane.home, &lane.provider] {
            namespace.knob("ipv4/conf/all/rp_filter", "0")?;
            namespace.knob("ipv4/conf/default/rp_filter", "0")?;
        }
        lane.provider.knob("ipv4/ip_forward", "1")?;
        let (mut provider, mut home, mut world) = (String::new(), String::new(), String::new());
        for uplink in Uplink::BOTH {
            let (n, up, metric) = (uplink.number(), uplink.interface(), 100 + u32::from(uplink.number()));
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
                 route add default via 10.1{n}.0.1 dev {up} table 10{n}\nrule add from 10.1{n}.0.2 lookup 10{n}\n"
            );
            world += &format!(
                "address add 10.2{n}.0.2/24 dev s{n}\nlink set s{n} up\nroute add 10.1{n}.0.0/24 via 10.2{n}.0.1 dev s{n}\n"
            );
        }
        world += &format!("address add {INGEST}/32 dev lo\naddress add {SECOND_INGEST}/32 dev lo\n");
        lane.provider.batch(&provider)?;
        lane.home.batch(&home)?;
        lane.world.batch(&world)?;
        lane.provider.nft(HOOKS)?;
        Ok(lane)
    }

    /// Starts a server in the world, at all its addresses.
    ///
    /// # Errors
    /// It does not come up.
    pub fn server(&self, headend: &Headend) -> Result<Icecast> {
        let headend = Headend { bind: Ipv4Addr::UNSPECIFIED, ..headend.clone() };
        self.world.inside(|| headend.start())?
    }

    /// Starts a box with these uplinks, `more` being lines for each one's table.
    ///
    /// # Errors
    /// It is not built, or does not come up.
    pub fn start(&self, build: Build, settings: &Settings, uplinks: &[Uplink], more: &str) -> Result<Daemon> {
        let folder = tempfile::Builder::new().prefix("mainstay-box-").tempdir()?;
        let path = settings.write(folder.path())?;
        let mut text = std::fs::read_to_string(&path)?;
        for uplink in uplinks {
            let name = uplink.interface();
            text += &format!("\n[[uplink]]\nname = \"{name}\"\ninterface = \"{name}\"\n{more}");
        }
        std::fs::write(&path, text)?;
        self.home.inside(|| Daemon::start_in(build, settings, folder))?
    }

    /// Lets a listener in the world join a mount.
    ///
    /// # Errors
    /// The server does not let it in.
    pub fn listen(&self, server: &Icecast, mount: &str) -> Result<Listener> {
        self.world.inside(|| Listener::join(&server.url(mount)))?
    }

    /// The same with an ear.
    ///
    /// # Errors
    /// The server does not let it in.
    pub fn join(&self, ears: &Ears, server: &Icecast, mount: &str) -> Result<Ear> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
        self.world.inside(|| ears.join(address, mount, Manner::default()))?
    }

    /// Cuts an uplink, silently: both directions drop everything, the carrier stays.
    ///
    /// # Errors
    /// The kernel does not take it.
    pub fn cut(&self, uplink: Uplink) -> Result<()> {
        let n = uplink.number();
        // In one transaction, so that nothing slips through between two rules.
        self.provider.nft(&format!(
            "add rule inet faults forward iifname b{n} drop\nadd rule inet faults forward oifname b{n} drop\n\
             add rule inet faults input iifname b{n} drop\nadd rule inet faults output oifname b{n} drop\n"
        ))
    }

    /// Cuts one address off an uplink, silently; all others stay reachable.
    ///
    /// # Errors
    /// The kernel does not take it.
    pub fn sever(&self, uplink: Uplink, address: Ipv4Addr) -> Result<()> {
        let n = uplink.number();
        self.provider.nft(&format!(
            "add rule inet faults forward iifname b{n} ip daddr {address} drop\n\
             add rule inet faults forward oifname b{n} ip saddr {address} drop\n"
        ))
    }

    /// Makes everything whole again.
    ///
    /// # Errors
    /// The kernel does not take it.
    pub fn heal(&self) -> Result<()> {
        self.provider.nft("flush table inet faults\n")
    }

    /// Bytes that the box's interface sent and received.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn bytes_over(&self, uplink: Uplink) -> Result<u64> {
        let table = self.home.inside(|| std::fs::read_to_string("/proc/thread-self/net/dev"))??;
        let line = table
            .lines()
            .find_map(|line| line.trim().strip_prefix(uplink.interface())?.strip_prefix(':'))
            .with_context(|| format!("{} is not in {table}", uplink.interface()))?;
        let fields: Vec<u64> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        ensure!(fields.len() == 16, "{line}");
        Ok(fields[0] + fields[8])
    }

    /// The box's connections to a server over an uplink.
    ///
    /// # Errors
    /// `ss` is not there.
    pub fn flows(&self, uplink: Uplink, server: &Icecast) -> Result<Vec<Flow>> {
        let (source, port) = (uplink.address().to_string(), format!(":{}", server.port()));
        let output = self.home.inside(|| {
            Command::new("ss")
                .args(["-HtinO", "state", "established", "src", &source, "dport", "=", &port])
                .output()
                .context("running ss")
        })??;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let field = |line: &str, name: &str| -> u64 {
            let found = line.split_whitespace().find_map(|word| word.strip_prefix(name));
            found.and_then(|count| count.parse().ok()).unwrap_or(0)
        };
        Ok(text
            .lines()
            .map(|line| Flow {
                local: line.split_whitespace().nth(2).unwrap_or_default().to_owned(),
                bytes: field(line, "bytes_sent:")
                    + field(line, "bytes_received:")
                    + (field(line, "segs_out:") + field(line, "segs_in:")) * HEADERS,
            })
            .collect())
    }
}

/// Address of a mount as the box is given it.
#[must_use]
pub fn url(ingest: Ipv4Addr, server: &Icecast, mount: &str) -> String {
    format!("http://{ingest}:{}{mount}", server.port())
}

/// Ethernet, IPv4 and TCP with timestamps.
const HEADERS: u64 = 14 + 20 + 32;

/// Where rules can be hung.
const HOOKS: &str = "table inet faults {
    chain forward { type filter hook forward priority 0; }
    chain input { type filter hook input priority 0; }
    chain output { type filter hook output priority 0; }
}
";
