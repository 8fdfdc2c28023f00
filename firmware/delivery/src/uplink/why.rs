//! Why an uplink is not simply up: in words, with what to do about it.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// A reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Why {
    /// There never was an interface of that name.
    NoSuchInterface {
        /// What was asked for.
        name: String,
        /// Those that there are.
        exist: Vec<String>,
    },
    /// The interface was there and has gone (adapter pulled out, modem reset).
    Vanished {
        /// Its name.
        name: String,
    },
    /// The interface is switched off.
    SwitchedOff,
    /// No cable, no cell, no access point.
    NoCarrier,
    /// No address but link-local ones.
    NoAddress,
    /// No way to anywhere that matters.
    NoRoute,
    /// The gateway does not answer, nor anything behind it.
    GatewaySilent(IpAddr),
    /// The gateway is there (or there is none to ask); none of the targets behind it answers.
    NothingBeyond {
        /// The gateway, if it answered.
        gateway: Option<IpAddr>,
    },
    /// Metered, an address is there, and nothing at all answers.
    SpentSim,
    /// Somebody else answers in the place of who was asked.
    Portal {
        /// Where it sends us.
        login: Option<String>,
    },
    /// Only a foreign certificate is shown.
    WrongCertificate(SocketAddr),
    /// Delivery misses acknowledgements, or an answer to its attempt to connect.
    IngestSilent(SocketAddr),
    /// Checks go unanswered, not often enough yet for a verdict.
    Unanswered,
}

impl Why {
    /// Whether packets cannot even leave: nothing needs to be tried.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        match self {
            Self::NoSuchInterface { .. }
            | Self::Vanished { .. }
            | Self::SwitchedOff
            | Self::NoCarrier
            | Self::NoAddress
            | Self::NoRoute => true,
            Self::GatewaySilent(_)
            | Self::NothingBeyond { .. }
            | Self::SpentSim
            | Self::Portal { .. }
            | Self::WrongCertificate(_)
            | Self::IngestSilent(_)
            | Self::Unanswered => false,
        }
    }

    /// What a person can do about it; `None` where waiting is all.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::NoSuchInterface { exist, .. } if exist.is_empty() => "plug a network adapter in".to_string(),
            Self::NoSuchInterface { exist, .. } => {
                alloc::format!("set uplink.interface to one of: {}", exist.join(", "))
            }
            Self::Vanished { .. } => "plug the adapter or modem back in".to_string(),
            Self::SwitchedOff => "switch the interface on in NetworkManager (nmcli device)".to_string(),
            Self::NoCarrier => "check the cable and the switch, or the modem's reception".to_string(),
            Self::NoAddress => "check that the router hands out addresses (DHCP), or set one by hand".to_string(),
            Self::NoRoute => "give the interface a gateway (DHCP does, or set it by hand)".to_string(),
            Self::GatewaySilent(_) => "check the router and what lies between it and the box".to_string(),
            Self::NothingBeyond { .. } => {
                "check the router's own internet line, and whether the server is up".to_string()
            }
            Self::SpentSim => {
                "check the SIM's data volume, its balance and the APN; if no uplink reaches the server, the server"
                    .to_string()
            },
            Self::Portal { login: Some(login) } => alloc::format!(
                "log in at {login} from another device on this network, or have the box let through by its hardware address"
            ),
            Self::Portal { login: None } => {
                "log in from another device on this network, or have the box let through by its hardware address"
                    .to_string()
            }
            Self::WrongCertificate(_) => {
                "if other uplinks reach the server, log in to this network; if none does, renew the server's certificate"
                    .to_string()
            }
            Self::IngestSilent(_) | Self::Unanswered => return None,
        })
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchInterface { name, .. } => write!(f, "there is no network interface {name:?}"),
            Self::Vanished { name } => write!(f, "the network interface {name:?} has gone"),
            Self::SwitchedOff => f.write_str("the interface is switched off"),
            Self::NoCarrier => f.write_str("there is no link (cable, cell or access point)"),
            Self::NoAddress => f.write_str("the interface has no address"),
            Self::NoRoute => f.write_str("no route leads anywhere"),
            Self::GatewaySilent(gateway) => {
                write!(f, "the gateway {gateway} does not answer, nor anything behind it")
            }
            Self::NothingBeyond { gateway: Some(gateway) } => {
                write!(f, "the gateway {gateway} answers, but nothing behind it does")
            }
            Self::NothingBeyond { gateway: None } => f.write_str("nothing answers"),
            Self::SpentSim => f.write_str(
                "there is an address, but nothing answers, as when a SIM's data volume is used up",
            ),
            Self::Portal { login: Some(login) } => {
                write!(f, "a captive portal answers in the place of everybody else and points to {login}")
            }
            Self::Portal { login: None } => {
                f.write_str("a captive portal (login page) answers in the place of everybody else")
            }
            Self::WrongCertificate(ingest) => write!(
                f,
                "at {ingest} somebody shows a certificate that is not the server's, as captive portals do"
            ),
            Self::IngestSilent(ingest) => write!(f, "{ingest} has gone silent"),
            Self::Unanswered => f.write_str("checks go unanswered"),
        }
    }
}
