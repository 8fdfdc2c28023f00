//! What a source's socket is asked for beyond bytes.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::uplink::tune;

/// Sets a source's socket up: packets leave at once, little waits in the kernel, and a dead peer is given up in the end.
///
/// The core resets a silent connection itself; the kernel's own time-out is only the backstop.
pub(crate) fn prepare_source(stream: &TcpStream, kept: Duration) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    let cap = tune(stream, kept)?;
    tracing::debug!("{}", cap.word());
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(15)))?;
    Ok(())
}

/// What the kernel knows of a connection (`TCP_INFO`, tcp(7); the head of `struct tcp_info` in the kernel's `uapi/linux/tcp.h`).
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct TcpInfo {
    small: [u8; 8],
    before_unacked: [u32; 4],
    unacked: u32,
    losses: [u32; 4],
    /// Milliseconds since data was last sent.
    last_data_sent: u32,
    before_rtt: [u32; 5],
    pub rtt_us: u32,
    before_rates: [u32; 8],
    rates: [u64; 2],
    /// Bytes that the peer acknowledged, over the connection's whole life; the handshake counts for one.
    pub bytes_acked: u64,
    between: [u64; 1],
    counts: [u32; 6],
    times: [u64; 4],
    delivered: [u32; 2],
    sums: [u64; 2],
    oddities: [u32; 3],
    send_window: u32,
}

impl TcpInfo {
    /// Asks the kernel. It knows these figures even of a connection that was reset, unlike the send queue's length.
    pub(crate) fn of(stream: &TcpStream) -> Self {
        let mut info = Self::default();
        let mut length = size_of::<Self>() as libc::socklen_t;
        #[expect(unsafe_code, reason = "TCP_INFO has no safe wrapper with these fields")]
        // SAFETY: the descriptor is open for as long as `stream` is borrowed; the kernel writes at most `length` bytes into
        // `info`, which is plain numbers.
        unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                (&raw mut info).cast(),
                &raw mut length,
            );
        }
        info
    }

    /// Whether what is out was sent just now, so that its acknowledgement is not late yet.
    pub(crate) const fn is_fresh(&self) -> bool {
        self.last_data_sent <= 1 && self.small[2] == 0
    }

    pub(crate) fn sight(&self, queued: u64) -> delivery::event::PathSight {
        delivery::event::PathSight {
            in_flight: self.unacked > 0,
            // Without a carrier nothing is in flight either: only the window says that the other side takes nothing. It
            // may be too small to be used (RFC 1122, 4.2.3.4).
            zero_window: self.unacked == 0 && queued > 0 && self.send_window < SMALL_WINDOW,
            retransmits: self.small[2],
            rtt_us: self.rtt_us,
        }
    }
}

/// A window below this is as good as none: less than a server's block.
const SMALL_WINDOW: u32 = 1400;

/// Whether the far side has reset the connection: its state is CLOSE then, and CLOSE_WAIT after an orderly end (tcp(7)).
pub(crate) fn was_reset(stream: &TcpStream) -> bool {
    const TCP_CLOSE: u8 = 7;
    TcpInfo::of(stream).small[0] == TCP_CLOSE
}

/// Sleeps for a time that is too short for the runtime's timers.
pub(crate) fn doze(time: Duration) {
    #[expect(clippy::disallowed_methods, reason = "a fraction of a millisecond, where a timer takes two")]
    std::thread::sleep(time);
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
