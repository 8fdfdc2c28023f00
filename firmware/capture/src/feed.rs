//! A listener's side of HTTP: asks a streaming server for a mount and gives its sound as bytes. Over any connection: this
//! room opens none.
//!
//! Redirects are not followed, a head is bounded, a body may be chunked, and titles that come between the sound although
//! they were not asked for are taken out.

use std::io::{self, Read, Write};

/// What a connection is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// The server's name and port, as in its address: `radio.example:8000`.
    pub host: String,
    /// The mount with its slash, and what follows a question mark: `/studio-b.mp3`.
    pub target: String,
    /// Name and version of who asks: `mainstay/0.1`.
    pub agent: String,
    /// The value of the `Authorization` header, for a mount that listeners need a password for.
    pub authorization: Option<String>,
}

/// A stream's bytes, sound only.
pub struct Feed {
    /// Where they come from. A read has to give up after some seconds without a byte, with any error: that is taken for the
    /// end of the connection.
    pub bytes: Box<dyn Read + Send>,
    /// `Content-Type` as the server said it, a hint for the decoder.
    pub content_type: Option<String>,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").field("content_type", &self.content_type).finish_non_exhaustive()
    }
}

/// Why a server does not give its stream.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The connection failed while it was asked.
    #[error("the connection failed while the stream was asked for ({0}); it is tried again")]
    Connection(#[from] io::Error),
    /// A request that cannot be sent.
    #[error("the stream's address holds a line break or a blank; correct it in the settings")]
    Address,
    /// What answered does not speak HTTP, or too much of it.
    #[error("{0} answered what is no HTTP ({1}); is this the address of a streaming server?")]
    Answer(String, &'static str),
    /// No such mount at the moment.
    #[error("{0} has no such mount at the moment (404); is the far encoder on air, and the address right?")]
    Missing(String),
    /// A password is wanted, or refused.
    #[error("{0} wants a listener's password, or refuses the one it got ({1}); correct it in the settings")]
    Denied(String, u16),
    /// The stream is somewhere else.
    #[error("{host} points to another address ({status}); enter that one in the settings: {location}")]
    Moved {
        /// Who said so.
        host: String,
        /// 301 to 308.
        status: u16,
        /// As it said.
        location: String,
    },
    /// Any other refusal.
    #[error("{0} refuses the stream with status {1}; ask whoever runs it")]
    Refused(String, u16),
}

impl From<FeedError> for io::Error {
    fn from(error: FeedError) -> Self {
        match error {
            FeedError::Connection(error) => error,
            other @ (FeedError::Address
            | FeedError::Answer(..)
            | FeedError::Missing(_)
            | FeedError::Denied(..)
            | FeedError::Moved { .. }
            | FeedError::Refused(..)) => Self::other(other),
        }
    }
}

/// Asks for a stream over `connection` (plain or TLS, already open) and reads the answer's head.
///
/// # Errors
/// The connection fails, the server refuses, points elsewhere, or speaks no HTTP.
pub fn request<C: Read + Write + Send + 'static>(
    mut connection: C,
    request: &Request,
) -> Result<Feed, FeedError> {
    let Request { host, target, agent, authorization } = request;
    let authorization = authorization.as_ref().map(|value| format!("Authorization: {value}\r\n"));
    let authorization = authorization.unwrap_or_default();
    // RFC 9112; a blank in the target or a break anywhere would say something else than was meant.
    let broken = |text: &str| text.bytes().any(|byte| byte.is_ascii_control());
    if target.contains(' ') || [host, target, agent].into_iter().any(|text| broken(text)) {
        return Err(FeedError::Address);
    }
    if request.authorization.as_deref().is_some_and(broken) {
        return Err(FeedError::Address);
    }
    let text = format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\nAccept: audio/*, application/ogg\r\n\
         Icy-MetaData: 0\r\n{authorization}Connection: close\r\n\r\n"
    );
    connection.write_all(text.as_bytes())?;
    connection.flush()?;
    let (head, rest) = read_head(&mut connection, host)?;
    let head = Head::parse(&head, host)?;
    let bytes = io::Cursor::new(rest).chain(connection);
    let mut bytes: Box<dyn Read + Send> =
        if head.chunked { Box::new(Chunked::new(bytes)) } else { Box::new(bytes) };
    if let Some(every) = head.titles_every {
        bytes = Box::new(Untitled { inner: bytes, every, sound_left: every });
    }
    Ok(Feed { bytes, content_type: head.content_type })
}

/// The head with its empty line, and what of the body came with it.
fn read_head(connection: &mut impl Read, host: &str) -> Result<(Vec<u8>, Vec<u8>), FeedError> {
    let mut head = Vec::with_capacity(2_048);
    let mut block = [0; 1_024];
    loop {
        let count = match connection.read(&mut block) {
            Ok(0) => return Err(FeedError::Answer(host.to_owned(), "it hung up")),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        let looked_at = head.len().saturating_sub(3);
        head.extend_from_slice(&block[..count]);
        if let Some(end) = head[looked_at..].windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = head.split_off(looked_at + end + 4);
            return Ok((head, rest));
        }
        if head.len() > LONGEST_HEAD {
            return Err(FeedError::Answer(host.to_owned(), "its head does not end"));
        }
    }
}

struct Head {
    content_type: Option<String>,
    chunked: bool,
    /// Bytes of sound between titles.
    titles_every: Option<usize>,
}

impl Head {
    fn parse(head: &[u8], host: &str) -> Result<Self, FeedError> {
        // SHOUTcast's way to say HTTP/1.0.
        let spelt: Vec<u8>;
        let head = match head.strip_prefix(b"ICY ") {
            Some(rest) => {
                spelt = [b"HTTP/1.0 ", rest].concat();
                &spelt
            }
            None => head,
        };
        let strange = |what| FeedError::Answer(host.to_owned(), what);
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let status = match response.parse(head) {
            Ok(httparse::Status::Complete(_)) => response.code.unwrap_or(0),
            Ok(httparse::Status::Partial) | Err(_) => return Err(strange("its head cannot be read")),
        };
        let value = |name: &str| {
            let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            header.and_then(|header| std::str::from_utf8(header.value).ok()).map(str::trim)
        };
        match status {
            200 => {}
            301..=308 => {
                let location = value("location").unwrap_or("it does not say which").to_owned();
                return Err(FeedError::Moved { host: host.to_owned(), status, location });
            }
            401 | 403 => return Err(FeedError::Denied(host.to_owned(), status)),
            404 => return Err(FeedError::Missing(host.to_owned())),
            other => return Err(FeedError::Refused(host.to_owned(), other)),
        }
        let chunked = match value("transfer-encoding") {
            None => false,
            Some(coding) if coding.eq_ignore_ascii_case("chunked") => true,
            Some(coding) if coding.eq_ignore_ascii_case("identity") => false,
            Some(_) => return Err(strange("its transfer coding is unknown")),
        };
        let titles_every = match value("icy-metaint").map(str::parse) {
            None | Some(Ok(0)) => None,
            Some(Ok(every)) => Some(every),
            Some(Err(_)) => return Err(strange("its icy-metaint is no number")),
        };
        Ok(Self { content_type: value("content-type").map(str::to_owned), chunked, titles_every })
    }
}

/// The body of a chunked answer (RFC 9112 section 7.1); its trailer is not read.
struct Chunked<R> {
    inner: R,
    left: u64,
    begun: bool,
    over: bool,
}

impl<R: Read> Chunked<R> {
    fn new(inner: R) -> Self {
        Self { inner, left: 0, begun: false, over: false }
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.inner.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    /// The line that begins a chunk: its length in hexadecimal, maybe an extension.
    fn begin(&mut self) -> io::Result<()> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "a chunk of the answer has no length");
        if std::mem::replace(&mut self.begun, true) && (self.byte()?, self.byte()?) != (b'\r', b'\n') {
            return Err(wrong());
        }
        let (mut length, mut digits, mut extension) = (0_u64, 0, false);
        for _ in 0..LONGEST_CHUNK_LINE {
            let byte = self.byte()?;
            match char::from(byte).to_digit(16) {
                Some(digit) if !extension => {
                    digits += 1;
                    length = length << 4 | u64::from(digit);
                }
                Some(_) | None if byte == b'\n' => {
                    if digits == 0 || digits > 12 {
                        return Err(wrong());
                    }
                    self.left = length;
                    self.over = length == 0;
                    return Ok(());
                }
                Some(_) | None => extension = true,
            }
        }
        Err(wrong())
    }
}

impl<R: Read> Read for Chunked<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !self.over && !out.is_empty() {
            self.begin()?;
        }
        if self.over {
            return Ok(0);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        let count = self.inner.read(&mut out[..most])?;
        self.left -= count as u64;
        Ok(count)
    }
}

/// Takes out the titles that some servers send without being asked.
struct Untitled<R> {
    inner: R,
    every: usize,
    sound_left: usize,
}

impl<R: Read> Read for Untitled<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.sound_left == 0 && !out.is_empty() {
            let mut length = [0];
            self.inner.read_exact(&mut length)?;
            let mut title = [0; 255 * 16];
            self.inner.read_exact(&mut title[..usize::from(length[0]) * 16])?;
            self.sound_left = self.every;
        }
        let most = self.sound_left.min(out.len());
        let count = self.inner.read(&mut out[..most])?;
        self.sound_left -= count;
        Ok(count)
    }
}

/// Bytes of head that are read; Icecast's has some hundred.
const LONGEST_HEAD: usize = 16 * 1024;
const LONGEST_CHUNK_LINE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// A connection that hears what is sent and answers in pieces.
    struct Scripted {
        answer: io::Cursor<Vec<u8>>,
        piece: usize,
        heard: Arc<Mutex<Vec<u8>>>,
    }

    impl Read for Scripted {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let most = out.len().min(self.piece);
            self.answer.read(&mut out[..most])
        }
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.heard.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn asked(answer: &[u8], piece: usize) -> (Result<Feed, FeedError>, String) {
        let heard = Arc::default();
        let answer = io::Cursor::new(answer.to_vec());
        let connection = Scripted { answer, piece, heard: Arc::clone(&heard) };
        let wanted = Request {
            host: "radio.example:8000".into(),
            target: "/b.mp3".into(),
            agent: "mainstay/0".into(),
            authorization: Some("Basic eDp5".into()),
        };
        let outcome = request(connection, &wanted);
        let heard = String::from_utf8(heard.lock().unwrap().clone()).unwrap();
        (outcome, heard)
    }

    fn body(answer: &[u8]) -> Vec<u8> {
        let mut bodies = [1, 3, 5_000].map(|piece| {
            let mut body = Vec::new();
            asked(answer, piece).0.unwrap().bytes.read_to_end(&mut body).unwrap();
            body
        });
        assert!(bodies.iter().all(|body| *body == bodies[0]), "a body depends on how it is read");
        std::mem::take(&mut bodies[0])
    }

    #[test]
    fn a_mount_is_asked_for_as_a_listener_does() {
        let (feed, heard) = asked(b"HTTP/1.0 200 OK\r\nContent-Type: audio/mpeg\r\n\r\nsound", 7);
        assert_eq!(feed.unwrap().content_type.as_deref(), Some("audio/mpeg"));
        assert!(heard.starts_with("GET /b.mp3 HTTP/1.1\r\nHost: radio.example:8000\r\n"), "{heard}");
        assert!(
            heard.contains("\r\nIcy-MetaData: 0\r\n") && heard.contains("\r\nAuthorization: Basic eDp5\r\n")
        );
        assert!(heard.ends_with("\r\nConnection: close\r\n\r\n"));
    }

    #[test]
    fn bodies_of_every_kind_come_out_as_sound() {
        assert_eq!(body(b"HTTP/1.0 200 OK\r\n\r\nplain\r\n\r\nsound"), b"plain\r\n\r\nsound");
        assert_eq!(body(b"ICY 200 OK\r\nicy-name: x\r\n\r\nshout"), b"shout");
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=a\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n";
        assert_eq!(body(chunked), b"abc0123456789");
        let titled = b"HTTP/1.0 200 OK\r\nicy-metaint: 4\r\n\r\nabcd\x01StreamTitle='a';efgh\x00ijk";
        assert_eq!(body(titled), b"abcdefghijk");
    }

    #[test]
    fn refusals_are_told_with_their_remedy() {
        for (head, said) in [
            ("HTTP/1.0 404 File Not Found\r\n\r\n", "on air"),
            ("HTTP/1.0 401 No\r\n\r\n", "password"),
            ("HTTP/1.1 302 Found\r\nLocation: http://b.example/c\r\n\r\n", "http://b.example/c"),
            ("HTTP/1.1 503 Busy\r\n\r\n", "503"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "transfer coding"),
            ("220 mail ready\r\n\r\n", "no HTTP"),
            ("HTTP/1.1 200 OK\r\nX: y", "hung up"),
        ] {
            let error = asked(head.as_bytes(), 64).0.unwrap_err().to_string();
            assert!(error.contains(said), "{head:?}: {error}");
        }
        let endless = [b"HTTP/1.0 200 OK\r\n".to_vec(), b"X: y\r\n".repeat(9_000)].concat();
        assert!(asked(&endless, 900).0.unwrap_err().to_string().contains("does not end"));
    }

    #[test]
    fn a_broken_chunk_ends_the_stream_with_an_error() {
        for chunks in ["\r\nabc", "zz\r\nabc", "3\r\nabcX\r\n", "fffffffffffffffff\r\n", "3"] {
            let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
            let mut feed = asked(answer.as_bytes(), 64).0.unwrap();
            assert!(feed.bytes.read_to_end(&mut Vec::new()).is_err(), "{chunks:?}");
        }
    }

    #[test]
    fn an_address_cannot_smuggle_a_header() {
        for target in ["/b HTTP/1.1", "/b\r\nX: y"] {
            let connection = Scripted { answer: io::Cursor::default(), piece: 1, heard: Arc::default() };
            let wanted =
                Request { host: "h".into(), target: target.into(), agent: "a".into(), authorization: None };
            assert!(matches!(request(connection, &wanted), Err(FeedError::Address)));
        }
    }

    #[test]
    fn whatever_answers_ends_or_is_refused() {
        // Pieces of answers in any order, and single bytes between them.
        let pieces: [&[u8]; 12] = [
            b"HTTP/1.1 200 OK\r\n",
            b"ICY 200 OK\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"icy-metaint: 3\r\n",
            b"\r\n",
            b"\r\n\r\n",
            b"5\r\n",
            b"ffffffffffff\r\n",
            b"0\r\n\r\n",
            b"sound\r\n",
            b"\xFF\x01:",
            b"; \n",
        ];
        let mut state = 1_u64;
        let mut roll = |sides: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % sides
        };
        let mut taken = 0;
        for _ in 0..20_000 {
            let answer: Vec<u8> =
                (0..2 + roll(10)).flat_map(|_| pieces[roll(pieces.len())].to_vec()).collect();
            if let Ok(mut feed) = asked(&answer, 1 + roll(9)).0 {
                let mut body = Vec::new();
                let _ = feed.bytes.read_to_end(&mut body);
                assert!(body.len() <= answer.len());
                taken += 1;
            }
        }
        assert!(taken > 100, "{taken} answers were taken");
    }
}
