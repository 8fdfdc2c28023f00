//! Uplinks.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// An uplink's place in [`crate::Config::uplinks`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UplinkId(pub u8);

/// One way out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UplinkConfig {
    /// What people call it.
    pub name: String,
    /// The network interface.
    pub interface: String,
    /// Bytes cost money there.
    pub metered: bool,
    /// Its name servers; empty: the system's.
    pub dns: Vec<IpAddr>,
    /// Further addresses to check it by.
    pub targets: Vec<SocketAddr>,
}
