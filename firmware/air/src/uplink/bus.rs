//! NetworkManager on the system's message bus: which name servers it has for one interface (its D-Bus API, 1.0 and later:
//! `GetDeviceByIpIface`, `Ip4Config`, `Ip6Config`). Where it is not, that is known at once.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use tokio::sync::Mutex;
use zbus::connection::Builder;
use zbus::proxy::{self, CacheProperties, MethodFlags};
use zbus::zvariant::{self, OwnedObjectPath, OwnedValue, Value};
use zbus::{Connection, Proxy};

/// The bus; connected at the first question, and again after it went away.
pub(super) struct Bus {
    /// Where it is, if not where the system has it.
    address: Option<String>,
    connection: Mutex<Option<Connection>>,
}

impl Bus {
    /// The system's.
    pub(super) const fn system() -> Self {
        Self { address: None, connection: Mutex::const_new(None) }
    }

    /// The one at a D-Bus address.
    #[cfg(test)]
    pub(super) fn at(address: &str) -> Self {
        Self { address: Some(address.to_string()), connection: Mutex::const_new(None) }
    }

    /// The name servers that NetworkManager has for an interface, IPv4's first; none if it does not manage it, is not there,
    /// or does not answer in time.
    pub(super) async fn name_servers(&self, interface: &str) -> Vec<IpAddr> {
        let asked = tokio::time::timeout(PATIENCE, self.ask(interface));
        if let Ok(Ok(servers)) = asked.await {
            return servers;
        }
        // Whatever it was, a new connection is a new start.
        self.connection.lock().await.take();
        Vec::new()
    }

    async fn ask(&self, interface: &str) -> zbus::Result<Vec<IpAddr>> {
        let bus = self.connected().await?;
        let manager = OwnedObjectPath::try_from("/org/freedesktop/NetworkManager")?;
        let device: OwnedObjectPath = call(&bus, &manager, NAME, "GetDeviceByIpIface", &(interface,)).await?;
        let mut servers: Vec<IpAddr> = Vec::new();
        if let Some(known) = of_family::<u32>(&bus, &device, "Ip4Config", "IP4Config").await? {
            // In network byte order, as they lie in memory.
            servers.extend(known.into_iter().map(|server| IpAddr::V4(Ipv4Addr::from(server.to_ne_bytes()))));
        }
        if let Some(known) = of_family::<Vec<u8>>(&bus, &device, "Ip6Config", "IP6Config").await? {
            let known = known.into_iter().filter_map(|server| <[u8; 16]>::try_from(server).ok());
            servers.extend(known.map(|server| IpAddr::V6(Ipv6Addr::from(server))));
        }
        Ok(servers)
    }

    async fn connected(&self) -> zbus::Result<Connection> {
        let mut connection = self.connection.lock().await;
        if let Some(connection) = &*connection {
            return Ok(connection.clone());
        }
        let builder = match &self.address {
            Some(address) => Builder::address(address.as_str())?,
            None => Builder::system()?,
        };
        Ok(connection.insert(builder.build().await?).clone())
    }
}

/// The name servers of one family; `None` for an interface without it, whose configuration is at `/`.
async fn of_family<T: for<'v> TryFrom<Value<'v>, Error = zvariant::Error>>(
    bus: &Connection,
    device: &OwnedObjectPath,
    family: &str,
    kind: &str,
) -> zbus::Result<Option<Vec<T>>> {
    let config = property(bus, device, "org.freedesktop.NetworkManager.Device", family).await?;
    let config = OwnedObjectPath::try_from(Value::from(config))?;
    if config.as_str() == "/" {
        return Ok(None);
    }
    let known = property(bus, &config, &format!("{NAME}.{kind}"), "Nameservers").await?;
    Ok(Some(Vec::try_from(known)?))
}

async fn property(
    bus: &Connection,
    object: &OwnedObjectPath,
    interface: &str,
    name: &str,
) -> zbus::Result<OwnedValue> {
    call(bus, object, "org.freedesktop.DBus.Properties", "Get", &(interface, name)).await
}

/// Asks whoever is there: a question must not start a NetworkManager that somebody has switched off.
async fn call<B, R>(
    bus: &Connection,
    object: &OwnedObjectPath,
    interface: &str,
    method: &str,
    body: &B,
) -> zbus::Result<R>
where
    B: serde::Serialize + zvariant::DynamicType,
    R: for<'d> zvariant::DynamicDeserialize<'d>,
{
    let proxy: Proxy<'_> = proxy::Builder::new(bus)
        .destination(NAME)?
        .path(object)?
        .interface(interface)?
        .cache_properties(CacheProperties::No)
        .build()
        .await?;
    let answer = proxy.call_with_flags(method, MethodFlags::NoAutoStart.into(), body).await?;
    answer.ok_or(zbus::Error::InvalidReply)
}

const NAME: &str = "org.freedesktop.NetworkManager";
/// It is on this machine, and a name waits for it.
const PATIENCE: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Child, Command, Stdio};

    use zbus::zvariant::ObjectPath;
    use zbus::{fdo, interface};

    use super::*;

    /// A message bus of its own, which ends with the test.
    struct Daemon {
        child: Child,
        address: String,
        /// Where its socket lies.
        _folder: tempfile::TempDir,
    }

    impl Daemon {
        fn start() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let address = format!("--address=unix:path={}/bus", folder.path().display());
            let mut child = Command::new("dbus-daemon")
                .args(["--session", "--nofork", "--nopidfile", "--print-address", &address])
                .stdout(Stdio::piped())
                .spawn()
                .expect("dbus-daemon is installed");
            let mut said = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
            Self { child, address: said.trim().to_string(), _folder: folder }
        }
    }

    impl Drop for Daemon {
        fn drop(&mut self) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }

    struct Manager;
    struct Device;
    struct Four;
    struct Six;

    #[interface(name = "org.freedesktop.NetworkManager")]
    impl Manager {
        async fn get_device_by_ip_iface(&self, iface: &str) -> fdo::Result<ObjectPath<'static>> {
            match iface {
                "wwan0" => Ok(ObjectPath::from_static_str_unchecked("/device/4")),
                "stuck0" => {
                    std::future::pending::<()>().await;
                    Err(fdo::Error::NoReply(String::new()))
                }
                _ => Err(fdo::Error::Failed(format!("no device found for the requested iface {iface}"))),
            }
        }
    }

    #[interface(name = "org.freedesktop.NetworkManager.Device")]
    impl Device {
        #[zbus(property)]
        fn ip4_config(&self) -> ObjectPath<'static> {
            ObjectPath::from_static_str_unchecked("/ip4/9")
        }
        #[zbus(property)]
        fn ip6_config(&self) -> ObjectPath<'static> {
            ObjectPath::from_static_str_unchecked("/ip6/9")
        }
    }

    #[interface(name = "org.freedesktop.NetworkManager.IP4Config")]
    impl Four {
        #[zbus(property)]
        fn nameservers(&self) -> Vec<u32> {
            vec![u32::from_ne_bytes([192, 0, 2, 53]), u32::from_ne_bytes([192, 0, 2, 54])]
        }
    }

    #[interface(name = "org.freedesktop.NetworkManager.IP6Config")]
    impl Six {
        #[zbus(property)]
        fn nameservers(&self) -> Vec<Vec<u8>> {
            vec!["2001:db8::53".parse::<Ipv6Addr>().unwrap().octets().to_vec(), vec![1, 2, 3]]
        }
    }

    fn run<F: Future>(body: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(body)
    }

    #[test]
    fn each_interface_has_the_name_servers_that_network_manager_gave_it() {
        let daemon = Daemon::start();
        run(async {
            let bus = Bus::at(&daemon.address);
            assert!(bus.name_servers("wwan0").await.is_empty(), "nobody manages anything yet");
            let manager = Builder::address(daemon.address.as_str()).unwrap().name(NAME).unwrap();
            let manager = manager.serve_at("/org/freedesktop/NetworkManager", Manager).unwrap();
            let manager = manager.serve_at("/device/4", Device).unwrap();
            let manager = manager.serve_at("/ip4/9", Four).unwrap().serve_at("/ip6/9", Six).unwrap();
            let manager = manager.build().await.unwrap();
            let wanted: Vec<IpAddr> =
                ["192.0.2.53", "192.0.2.54", "2001:db8::53"].map(|text| text.parse().unwrap()).to_vec();
            assert_eq!(bus.name_servers("wwan0").await, wanted);
            assert!(bus.name_servers("eth7").await.is_empty());
            // One question that is never answered ends, and spoils no other.
            assert!(bus.name_servers("stuck0").await.is_empty());
            assert_eq!(bus.name_servers("wwan0").await, wanted);
            assert!(manager.release_name(NAME).await.unwrap());
            assert!(bus.name_servers("wwan0").await.is_empty());
        });
    }

    #[test]
    fn without_a_bus_there_is_nothing() {
        run(async {
            let bus = Bus::at("unix:path=/nonexistent/bus");
            assert!(bus.name_servers("eth0").await.is_empty());
        });
    }
}
