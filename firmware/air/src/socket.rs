//! What a source's socket is asked for beyond bytes.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Sets a source's socket up: packets leave at once, little waits in the kernel, and a dead peer is given up in the end.
///
/// The core resets a silent connection itself; the kernel's own time-out is only the backstop.
pub(crate) fn prepare_source(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.set_tcp_user_timeout(Some(BACKSTOP))?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(15)))?;
    Ok(())
}

/// Bytes in the send queue that the peer's kernel has not acknowledged, sent or not (`SIOCOUTQ`, tcp(7)).
pub(crate) fn unacknowledged(stream: &TcpStream) -> u64 {
    let mut bytes: libc::c_int = 0;
    #[expect(unsafe_code, reason = "SIOCOUTQ is an ioctl")]
    // SAFETY: the descriptor is open for as long as `stream` is borrowed, and the kernel writes one int.
    let outcome = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if outcome == 0 { u64::try_from(bytes).unwrap_or(0) } else { 0 }
}

/// A connection that owes bytes is reset on close, so that its server lets the mount go at once instead of at its time-out.
pub(crate) fn reset_on_close(stream: &TcpStream) {
    // Failure leaves an ordinary close.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Two seconds of 320 kbit/s after the kernel doubled it: enough to catch up with, little to lose.
const SEND_BUFFER: usize = 64 * 1024;
const BACKSTOP: Duration = Duration::from_secs(40);
