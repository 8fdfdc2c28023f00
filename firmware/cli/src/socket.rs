//! The talk with the box: one request line out, reply lines in.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use units::snapshot::{Command, PROTOCOL, Reply, Request};

/// The box answers at once, and a reload within seconds: longer means that it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longest reply line: a recording of ten minutes with 64 mounts stays far below.
const LONGEST: u64 = 256 * 1024 * 1024;

/// Why there is no answer, and what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// There is no socket.
    #[error(
        "there is no socket {path}: is mainstay-air running? If its settings name another [control] socket, \
         name it here with --socket"
    )]
    Missing {
        /// Where it was looked for.
        path: String,
    },
    /// The socket's owner has gone.
    #[error("nobody listens on {path}: mainstay-air has ended; start it again, its log says why it ended")]
    Deserted {
        /// The socket.
        path: String,
    },
    /// Its permissions keep us out.
    #[error(
        "you may not use {path}: run this as a member of the socket's group (ls -l {path}), or with sudo"
    )]
    Forbidden {
        /// The socket.
        path: String,
    },
    /// It took the request, and nothing came.
    #[error("mainstay-air has said nothing on {path} for {} s: it hangs; its log may say why, then restart it", PATIENCE.as_secs())]
    Silent {
        /// The socket.
        path: String,
    },
    /// Anything else that the kernel says.
    #[error("talking to mainstay-air on {path} failed: is it running?")]
    Broken {
        /// The socket.
        path: String,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// The box hung up.
    #[error("mainstay-air hung up on {path}: is it still running?")]
    HungUp {
        /// The socket.
        path: String,
    },
    /// The answer makes no sense to us.
    #[error(
        "{path} answered in a language that this program does not know (it speaks version {PROTOCOL}): are mainstay and mainstay-air of one version, and is the socket mainstay-air's?"
    )]
    Foreign {
        /// The socket.
        path: String,
        /// What the reader said.
        #[source]
        cause: serde_json::Error,
    },
}

/// A connection to the box.
#[derive(Debug)]
pub(crate) struct Socket {
    path: PathBuf,
    lines: BufReader<UnixStream>,
}

impl Socket {
    /// Connects and asks.
    ///
    /// # Errors
    /// Why the box cannot be reached.
    pub(crate) fn ask(path: &Path, command: Command) -> Result<Self, Failure> {
        let failed = |cause| failure(path, cause);
        let mut stream = UnixStream::connect(path).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
        let request = Request { protocol: PROTOCOL, command };
        let foreign = |cause| Failure::Foreign { path: shown(path), cause };
        let line = serde_json::to_string(&request).map_err(foreign)?;
        stream.write_all(format!("{line}\n").as_bytes()).map_err(failed)?;
        Ok(Self { path: path.to_owned(), lines: BufReader::new(stream) })
    }

    /// The next reply.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn reply(&mut self) -> Result<Reply, Failure> {
        let mut line = Vec::new();
        let mut bounded = self.lines.by_ref().take(LONGEST);
        bounded.read_until(b'\n', &mut line).map_err(|cause| failure(&self.path, cause))?;
        if line.last() != Some(&b'\n') {
            return Err(Failure::HungUp { path: shown(&self.path) });
        }
        serde_json::from_slice(&line).map_err(|cause| Failure::Foreign { path: shown(&self.path), cause })
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn failure(path: &Path, cause: io::Error) -> Failure {
    let path = shown(path);
    let kind = cause.kind();
    if kind == io::ErrorKind::NotFound {
        Failure::Missing { path }
    } else if kind == io::ErrorKind::ConnectionRefused {
        Failure::Deserted { path }
    } else if kind == io::ErrorKind::PermissionDenied {
        Failure::Forbidden { path }
    } else if kind == io::ErrorKind::BrokenPipe || kind == io::ErrorKind::ConnectionReset {
        Failure::HungUp { path }
    } else if kind == io::ErrorKind::WouldBlock || kind == io::ErrorKind::TimedOut {
        Failure::Silent { path }
    } else {
        Failure::Broken { path, cause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::thread;

    /// What the client makes of a server that reads the request and answers `answer`.
    fn met_with(answer: &'static [u8]) -> (Request, Result<Reply, Failure>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("air.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let server = thread::spawn(move || {
            let mut lines = BufReader::new(listener.accept().unwrap().0);
            let mut request = String::new();
            lines.read_line(&mut request).unwrap();
            lines.get_mut().write_all(answer).unwrap();
            request
        });
        let reply = Socket::ask(&path, Command::Reload).and_then(|mut socket| socket.reply());
        (serde_json::from_str(&server.join().unwrap()).unwrap(), reply)
    }

    #[test]
    fn a_line_is_answered_by_a_line() {
        let (request, reply) = met_with(b"{\"reply\":\"done\",\"changes\":[\"a\"]}\n");
        assert_eq!(request, Request { protocol: PROTOCOL, command: Command::Reload });
        assert_eq!(reply.unwrap(), Reply::Done { changes: vec!["a".into()] });
    }

    #[test]
    fn half_an_answer_and_a_foreign_one_are_told_apart() {
        assert!(matches!(met_with(b"{\"reply\":\"done\"").1, Err(Failure::HungUp { .. })));
        assert!(matches!(met_with(b"").1, Err(Failure::HungUp { .. })));
        assert!(matches!(met_with(b"HTTP/1.1 400 Bad Request\r\n\r\n").1, Err(Failure::Foreign { .. })));
        assert!(matches!(met_with(b"\xFF\n").1, Err(Failure::Foreign { .. })));
    }

    #[test]
    fn an_absent_box_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("air.sock");
        assert!(matches!(Socket::ask(&path, Command::Status), Err(Failure::Missing { .. })));
        drop(UnixListener::bind(&path).unwrap());
        assert!(matches!(Socket::ask(&path, Command::Status), Err(Failure::Deserted { .. })));
    }
}
