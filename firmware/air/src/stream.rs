//! How a network stream is dialled for the programme: on its feeder's thread, which may block. Each attempt takes the next
//! uplink, so that one that is dead keeps no stream away.

use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use capture::{Dial, Input};
use delivery::event::Tls;
use settings::StreamAddress;
use socket2::{Domain, Socket, Type};

use crate::tls::Judge;

/// The input that hears `address`. `interfaces`: those of the uplinks, best first; none leaves the way to the kernel.
pub(crate) fn input(address: &StreamAddress, interfaces: Vec<String>, judge: Judge) -> Input {
    let (address, judge) = (address.clone(), Mutex::new(judge));
    let name = address.url.clone();
    let attempts = AtomicUsize::new(0);
    let dial = Dial::new(move || {
        let attempt = attempts.fetch_add(1, Ordering::Relaxed);
        let interface = interfaces.get(attempt % interfaces.len().max(1));
        let stream = connect(&address, interface.map(String::as_str))?;
        let request = capture::Request {
            host: if address.host.contains(':') {
                format!("[{}]:{}", address.host, address.port)
            } else {
                format!("{}:{}", address.host, address.port)
            },
            target: address.path.clone(),
            agent: concat!("Mainstay/", env!("CARGO_PKG_VERSION")).to_string(),
            authorization: None,
        };
        let Some(trust) = &address.trust else { return Ok(capture::request(stream, &request)?) };
        let tls = Tls { name: address.host.clone(), trust: trust.clone() };
        let mut judge = judge.lock().unwrap_or_else(PoisonError::into_inner);
        let opening = judge.open(&tls).map_err(|failure| io::Error::other(failure.to_string()))?;
        drop(judge);
        Ok(capture::request(rustls::StreamOwned::new(opening.connection, stream), &request)?)
    });
    Input::Stream { name, dial }
}

fn connect(address: &StreamAddress, interface: Option<&str>) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    for place in (address.host.as_str(), address.port).to_socket_addrs()? {
        let socket = Socket::new(Domain::for_address(place), Type::STREAM, None)?;
        socket.bind_device(interface.map(str::as_bytes))?;
        match socket.connect_timeout(&place.into(), PATIENCE) {
            Ok(()) => {
                socket.set_read_timeout(Some(PATIENCE))?;
                socket.set_write_timeout(Some(PATIENCE))?;
                return Ok(socket.into());
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A stream that says nothing for so long is dialled anew.
const PATIENCE: Duration = Duration::from_secs(10);
