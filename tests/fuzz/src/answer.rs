//! Answers to questions beside the stream: titles, status lists, probes.
//!
//! Input: `T` (title), `S` (status), `M` (a mount's source), `K` (an eviction), `P` (probe) or `O` (a probe that hears our own sound behind what follows), the chunk
//! size ([`crate::chunks`]), then the HTTP answer. For `O` the answer's last two bytes are the place in our sound.

use std::borrow::Cow;
use std::sync::LazyLock;

use delivery::event::{Answer, Question};
use delivery::wire::AnswerReader;
use delivery::{Backlog, RenditionId};
use units::{BitRate, BytePos, Channels, Codec, Rendition, SampleRate};

/// What a probe has to hear in a row.
const NEEDLE: u64 = 512;
/// What a probe of kind `O` hears of ours: the least that is looked at.
const HEARD: usize = 1024;

/// Sound of which no stretch of 512 bytes comes twice, and the backlog that holds it.
static OURS: LazyLock<(Vec<u8>, Backlog)> = LazyLock::new(|| {
    let bitrate = BitRate::from_kbit(8).expect("8 is not zero");
    let (codec, rate, channels) = (Codec::Mp3, SampleRate::Hz48000, Channels::Mono);
    let mut backlog = Backlog::new(&Rendition { codec, rate, channels, bitrate });
    let mut state = 1u32;
    let sound: Vec<u8> = std::iter::repeat_with(|| {
        // xorshift32 (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    })
    .take(4096)
    .collect();
    backlog.push(&sound);
    (sound, backlog)
});

/// Reads one answer; understood if it confirms what was asked.
pub fn target(data: &[u8]) -> bool {
    let Some((&[kind, size], bytes)) = data.split_first_chunk() else { return false };
    let (sound, backlog) = &*OURS;
    let mut ours = None;
    let (question, bytes) = match kind {
        b'S' => (Question::Status { path: "/live".into() }, Cow::Borrowed(bytes)),
        b'M' => (Question::Source { path: "/live".into() }, Cow::Borrowed(bytes)),
        b'K' => (Question::Evict, Cow::Borrowed(bytes)),
        b'P' => (Question::Probe { rendition: RenditionId(0) }, Cow::Borrowed(bytes)),
        b'O' => {
            let Some((answer, &[high, low])) = bytes.split_last_chunk() else { return false };
            let from = usize::from(u16::from_be_bytes([high, low])) % (sound.len() - HEARD);
            ours = Some(BytePos((from + HEARD) as u64));
            let heard = [answer, &sound[from..from + HEARD]].concat();
            (Question::Probe { rendition: RenditionId(0) }, Cow::Owned(heard))
        }
        _ => (Question::Title, Cow::Borrowed(bytes)),
    };
    let mut reader = AnswerReader::new(question.clone());
    let enough = crate::chunks(&bytes, size).any(|chunk| reader.feed(chunk));
    let answer = reader.answer(Some(backlog));
    if !enough {
        let mut whole = AnswerReader::new(question.clone());
        whole.feed(&bytes);
        assert_eq!(whole.answer(Some(backlog)), answer, "what is said does not depend on how it trickles in");
    }
    match (&question, &answer) {
        (Question::Title, Answer::TitleTaken) => true,
        (Question::Title, Answer::TitleRefused { .. }) => false,
        (Question::Status { .. }, Answer::Listed { .. }) => true,
        (Question::Status { .. }, Answer::NotListed | Answer::NoStatus { .. }) => false,
        (Question::Source { .. }, Answer::Source { agent, .. }) => {
            let short = agent.as_ref().is_none_or(|agent| agent.chars().count() <= 64);
            assert!(short, "an agent of any length is kept: {agent:?}");
            true
        }
        (Question::Evict, Answer::Evicted) => true,
        (Question::Source { .. } | Question::Evict, Answer::NoSource | Answer::Forbidden { .. }) => false,
        (Question::Probe { .. }, Answer::Heard { upto }) => {
            let (first, second) = backlog.bytes(*upto - NEEDLE, *upto);
            assert_eq!((first.len() + second.len()) as u64, NEEDLE, "heard what the backlog does not hold");
            assert!(enough || bytes.ends_with(&[first, second].concat()), "heard what was not said");
            assert!(enough || ours.is_none_or(|ours| ours == *upto), "heard in the wrong place");
            true
        }
        (Question::Probe { .. }, Answer::HeardForeign) => {
            assert!(enough || ours.is_none(), "our own sound was called foreign");
            false
        }
        (Question::Probe { .. }, Answer::HeardNothing { .. }) => false,
        (question, answer) => panic!("{answer:?} is no answer to {question:?}"),
    }
}
