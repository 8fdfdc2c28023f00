//! A server's answers to a source, in chunks of any size.
//!
//! Input: `H` (HTTP) or `S` (Shoutcast), the chunk size ([`crate::chunks`]), then what the server says.

use delivery::event::{Reply, Talk, Verdict};
use delivery::wire::ReplyReader;

/// What a reader keeps at the most; beyond it, how much it keeps depends on what it could let go before.
const KEPT: usize = 8 * 1024;

/// Reads replies; understood if one says go.
pub fn target(data: &[u8]) -> bool {
    let Some((&[talk, size], bytes)) = data.split_first_chunk() else { return false };
    let talk = if talk == b'S' { Talk::Shoutcast } else { Talk::Http };
    let replies = read(talk, bytes, size);
    for reply in &replies {
        check(talk, reply);
    }
    if bytes.len() <= KEPT {
        let whole = read(talk, bytes, b'0');
        assert_eq!(
            decisive(&replies),
            decisive(&whole),
            "what is said does not depend on how it trickles in"
        );
    }
    replies.iter().any(|reply| reply.verdict == Verdict::Go)
}

fn read(talk: Talk, bytes: &[u8], size: u8) -> Vec<Reply> {
    let mut reader = ReplyReader::new(talk);
    let mut replies = Vec::new();
    for chunk in crate::chunks(bytes, size) {
        replies.extend(reader.feed(chunk));
        while let Some(behind) = reader.feed(b"") {
            replies.push(behind);
            assert!(replies.len() <= bytes.len(), "a reply takes at least a byte");
        }
    }
    while let Some(last) = reader.finish() {
        replies.push(last);
        assert!(replies.len() <= bytes.len(), "a reply takes at least a byte");
    }
    replies
}

fn check(talk: Talk, reply: &Reply) {
    if reply.verdict == Verdict::Go {
        match talk {
            Talk::Http => assert!(matches!(reply.status, 100 | 200), "{reply:?}"),
            Talk::Shoutcast => assert_eq!(reply.status, 0),
        }
    }
    if let Some(server) = &reply.server {
        assert!(server.chars().count() <= 64, "{server:?}");
        assert!(!server.chars().any(char::is_control) && server.trim() == server, "{server:?}");
    }
}

/// Everything up to the first no: after it the connection is over.
fn decisive(replies: &[Reply]) -> &[Reply] {
    let no = replies.iter().position(|reply| reply.verdict != Verdict::Go);
    &replies[..no.map_or(replies.len(), |no| no + 1)]
}
