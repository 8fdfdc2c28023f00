//! A name server that knows one name, at several addresses in turn: round robin as the world has it.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Its port, as the box expects it.
const PORT: u16 = 53;
/// Header of a DNS message (RFC 1035, 4.1.1).
const HEADER: usize = 12;
/// Type A, class IN, a name that points to the question (RFC 1035, 4.1.3 and 4.1.4), 0 s to live, four bytes.
const ANSWER: [u8; 12] = [0xC0, 0x0C, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4];

/// A running name server; dropping it ends it.
#[derive(Debug)]
pub struct NameServer {
    leave: Arc<AtomicBool>,
    asked: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// Answers every question for an IPv4 address with all of `addresses`, each time another one first; others with nothing.
    ///
    /// # Errors
    /// The port is taken, or not ours to open.
    pub fn start(at: Ipv4Addr, addresses: Vec<Ipv4Addr>) -> Result<Self> {
        let socket =
            UdpSocket::bind((at, PORT)).with_context(|| format!("opening UDP port {PORT} at {at}"))?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let leave = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(AtomicU32::new(0));
        let thread = std::thread::Builder::new().name("name server".to_owned()).spawn({
            let (leave, asked) = (Arc::clone(&leave), Arc::clone(&asked));
            move || {
                let mut addresses = addresses;
                let mut question = [0; 512];
                while !leave.load(Ordering::Relaxed) {
                    let Ok((count, guest)) = socket.recv_from(&mut question) else { continue };
                    let Some(reply) = reply(&question[..count], &addresses) else { continue };
                    if reply[7] > 0 {
                        addresses.rotate_left(1);
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                    tell(&socket, &reply, guest);
                }
            }
        })?;
        Ok(Self { leave, asked, thread: Some(thread) })
    }

    /// How many addresses were asked for so far.
    #[must_use]
    pub fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.leave.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in the thread was printed there.
            let _ = thread.join();
        }
    }
}

fn tell(socket: &UdpSocket, reply: &[u8], guest: SocketAddr) {
    // Whoever hears no answer asks again.
    let _ = socket.send_to(reply, guest);
}

fn reply(question: &[u8], addresses: &[Ipv4Addr]) -> Option<Vec<u8>> {
    let name = question.get(HEADER..)?.iter().position(|&byte| byte == 0)?;
    let end = HEADER + name + 5;
    let kind = question.get(end - 4..end)?;
    let known: &[Ipv4Addr] = if kind == [0, 1, 0, 1] { addresses } else { &[] };
    let mut reply = question[..2].to_vec();
    // A response, recursion desired and available; one question, so many answers.
    reply.extend([0x81, 0x80, 0, 1, 0, known.len() as u8, 0, 0, 0, 0]);
    reply.extend(&question[HEADER..end]);
    for address in known {
        reply.extend(ANSWER);
        reply.extend(address.octets());
    }
    Some(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_and_other_things_are_not_known() {
        let mut question = vec![0xAB, 0xCD, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'x', 0, 0, 1, 0, 1];
        let told = reply(&question, &[Ipv4Addr::new(192, 0, 2, 7)]).unwrap();
        assert_eq!(
            (&told[..2], told[7], &told[told.len() - 4..]),
            (&[0xAB, 0xCD][..], 1, &[192, 0, 2, 7][..])
        );
        question[16] = 28;
        assert_eq!(reply(&question, &[Ipv4Addr::LOCALHOST]).unwrap()[7], 0);
        assert_eq!(reply(&question[..14], &[]), None);
    }
}
