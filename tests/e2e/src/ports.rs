//! Free TCP ports on loopback.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the kernel's ephemeral range (32768 up), so that no outgoing connection takes a port between its choice and its
/// use.
const FIRST: u16 = 18_000;
const COUNT: u16 = 14_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// The first of `run` consecutive free ports; no two calls in one process give the same one. Processes side by side start
/// at different places.
///
/// # Errors
/// There is none.
pub fn free(run: u16) -> anyhow::Result<u16> {
    let offset = (std::process::id() % 199) as u16 * 70;
    for _ in 0..COUNT {
        let at = NEXT.fetch_add(run, Ordering::Relaxed).wrapping_add(offset) % COUNT;
        let first = FIRST + at;
        if (first..first + run).all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()) {
            return Ok(first);
        }
    }
    anyhow::bail!("no {run} free ports in a row between {FIRST} and {}", FIRST + COUNT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_passed_over() {
        let first = free(1).unwrap();
        let _held = TcpListener::bind((Ipv4Addr::LOCALHOST, first + 1)).unwrap();
        let pair = free(2).unwrap();
        assert!(pair > first + 1, "{pair} after {first}");
    }
}
