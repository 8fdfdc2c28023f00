//! What a socket is asked for so that it leaves by one uplink, and gives up when it should.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};
use std::time::Duration;

use socket2::SockRef;

/// Whether the kernel lets TCP's retry timer be capped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RetryCap {
    /// Retries come at least once a second (Linux 6.15 and later).
    Capped,
    /// The kernel is older: after an outage of 8 s TCP waits up to 8 s more.
    Unknown,
}

impl RetryCap {
    /// For the log and for tests that depend on it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Capped => "retry timer capped (Linux 6.15 or later)",
            Self::Unknown => "retry timer not capped (Linux before 6.15)",
        }
    }
}

/// Binds a socket to an interface (`SO_BINDTODEVICE`, socket(7); without rights since Linux 5.7).
pub(crate) fn to_device(socket: &impl AsFd, interface: &str) -> io::Result<()> {
    SockRef::from(socket).bind_device(Some(interface.as_bytes()))
}

/// Sets a source's TCP socket up (tcp(7)): little lies in the kernel that could be overtaken by a hand-over, and a dead path
/// is given up only after the server must have given the source up too.
pub(crate) fn tune(socket: &impl AsFd, source_timeout: Duration) -> io::Result<RetryCap> {
    let tcp = SockRef::from(socket);
    tcp.set_send_buffer_size(SEND_BUFFER)?;
    tcp.set_tcp_notsent_lowat(UNSENT)?;
    tcp.set_tcp_user_timeout(Some(source_timeout + MARGIN))?;
    cap_retries(socket)
}

/// Two seconds of 320 kbit/s after the kernel doubled it.
const SEND_BUFFER: usize = 64 * 1024;

/// Not sent yet: a fifth of a second at 320 kbit/s, one block of a server at the least.
const UNSENT: u32 = 8 * 1024;

/// The server drops a silent source first (DESIGN 3).
const MARGIN: Duration = Duration::from_secs(2);

/// `TCP_RTO_MAX_MS` of linux/tcp.h, which libc does not name yet.
const TCP_RTO_MAX_MS: libc::c_int = 44;

/// The least that the kernel takes.
const RETRY_MS: libc::c_int = 1000;

fn cap_retries(socket: &impl AsFd) -> io::Result<RetryCap> {
    let cap = RETRY_MS;
    #[expect(unsafe_code, reason = "no wrapper knows this option yet")]
    // SAFETY: the descriptor is open while it is borrowed, and the kernel reads one int.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            TCP_RTO_MAX_MS,
            (&raw const cap).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if outcome == 0 {
        return Ok(RetryCap::Capped);
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ENOPROTOOPT) { Ok(RetryCap::Unknown) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_tuned_and_the_kernel_says_what_it_can() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let timeout = Duration::from_secs(10);
        let cap = tune(&stream, timeout).unwrap();
        println!("this kernel: {}", cap.word());
        let socket = SockRef::from(&stream);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(timeout + MARGIN));
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), UNSENT);
        // The kernel doubles what it is told (socket(7)).
        assert_eq!(socket.send_buffer_size().unwrap(), 2 * SEND_BUFFER);
        assert_eq!(release() >= (6, 15), cap == RetryCap::Capped, "{:?} {cap:?}", release());
    }

    fn release() -> (u32, u32) {
        let text = nix_release();
        let mut parts = text.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap());
        (parts.next().unwrap(), parts.next().unwrap())
    }

    fn nix_release() -> String {
        let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        text.split('-').next().unwrap().trim().to_string()
    }

    #[test]
    fn an_interface_that_is_not_there_is_an_error() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let error = to_device(&socket, "no-such-if").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    }
}
