//! An encoder's packets in Ogg: whole pages, one a step of the grid, in a chain of streams (RFC 3533).
//!
//! A new title ends the stream and begins the next one with new comments, as no other way to tell a title is known to Ogg. No frame
//! is lost or made up by that; how a codec does it is its own business.

use std::collections::VecDeque;

use ogg::{PacketWriteEndInfo, PacketWriter};
use units::Rendition;

use crate::Error;

/// A codec as a chain sees it: packets in, streams that follow on each other.
pub(crate) trait Coder: Sized {
    /// Frames of programme in one page.
    const STEP: u32;
    /// Pages come so many frames after their sound, a whole number of steps: in that time a stream has its first packets. So much
    /// silence is fed before the programme.
    const LAG: u32;

    /// The header packets of the stream that begins, with these comments (which [`comments`] made).
    fn head(&self, comments: &[u8]) -> Vec<Vec<u8>>;

    /// Encodes whole frames; adds what packets come out.
    fn feed(&mut self, pcm: &[f32], out: &mut VecDeque<Coded>) -> Result<(), Error>;

    /// Ends the stream with the last frame fed, and begins the next one with the next frame. Adds what is left, the stream's last
    /// packet named as that, and what the next stream begins with.
    fn turn(&mut self, out: &mut VecDeque<Coded>) -> Result<(), Error>;

    /// As [`Coder::turn`], and nothing follows.
    fn end(&mut self, out: &mut VecDeque<Coded>) -> Result<(), Error>;
}

/// One packet.
#[derive(Clone, Debug)]
pub(crate) struct Coded {
    pub bytes: Vec<u8>,
    /// Position in its stream at its end.
    pub position: u64,
    /// Frames fed up to its end, over all streams.
    pub end: u64,
    /// The stream ends with it.
    pub last: bool,
}

/// One codec's packets as pages.
pub(crate) struct Chain<C> {
    coder: C,
    rendition: Rendition,
    /// Frames until the next page is due, and all that are fed when it is.
    due: u32,
    fed: u64,
    /// Packets that are on no page yet.
    waiting: VecDeque<Coded>,
    /// The heads of the streams that have no page yet.
    heads: VecDeque<Vec<Vec<u8>>>,
    stream: Option<Stream>,
    /// The very first stream has its head.
    begun: bool,
    /// The serial number of the next stream.
    serial: u32,
    title: String,
    /// There is another title than that of the newest stream.
    turns: bool,
}

/// One stream of the chain.
struct Stream {
    writer: PacketWriter<'static, Vec<u8>>,
    serial: u32,
}

impl<C: Coder> Chain<C> {
    /// Frames of silence to feed before the programme.
    pub(crate) const LEAD: u32 = C::LAG;

    pub(crate) fn new(coder: C, rendition: Rendition) -> Self {
        const { assert!(C::LAG.is_multiple_of(C::STEP), "a stream ends with a page") };
        Self {
            coder,
            rendition,
            due: Self::LEAD + C::STEP,
            fed: u64::from(Self::LEAD + C::STEP),
            waiting: VecDeque::new(),
            heads: VecDeque::new(),
            stream: None,
            begun: false,
            serial: 0,
            title: String::new(),
            turns: false,
        }
    }

    /// The serial number of the next stream; each later one has the next.
    pub(crate) fn number(&mut self, serial: u32) {
        self.serial = serial;
    }

    pub(crate) fn title(&mut self, title: &str) {
        if self.title != title {
            title.clone_into(&mut self.title);
            self.turns = true;
        }
    }

    pub(crate) fn encode(&mut self, mut pcm: &[f32], emit: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        let channels = self.rendition.channels.count();
        while !pcm.is_empty() {
            let take = (pcm.len() / channels).min(self.due as usize);
            let (now, later) = pcm.split_at(take * channels);
            self.coder.feed(now, &mut self.waiting)?;
            pcm = later;
            self.due -= take as u32;
            if self.due == 0 {
                self.due = C::STEP;
                let upto = self.fed - u64::from(C::LAG);
                self.fed += u64::from(C::STEP);
                self.begin();
                if std::mem::take(&mut self.turns) {
                    self.coder.turn(&mut self.waiting)?;
                    self.heads.push_back(self.coder.head(&comments(&self.title)));
                }
                self.page(upto, emit)?;
            }
        }
        Ok(())
    }

    pub(crate) fn finish(mut self, emit: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        self.begin();
        self.coder.end(&mut self.waiting)?;
        while !self.waiting.is_empty() {
            self.page(u64::MAX, emit)?;
        }
        Ok(())
    }

    /// The title that is there by the first page is the first stream's.
    fn begin(&mut self) {
        if !std::mem::replace(&mut self.begun, true) {
            self.turns = false;
            self.heads.push_back(self.coder.head(&comments(&self.title)));
        }
    }

    /// Emits what of the oldest stream ends by `upto` as one page; before it the head of a stream that begins.
    fn page(&mut self, upto: u64, emit: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        let torn = Error::Torn { rendition: self.rendition, bytes: 0 };
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.open().ok_or_else(|| torn.clone())?,
        };
        let last = self.waiting.iter().position(|packet| packet.last);
        let ready = self.waiting.iter().take_while(|packet| packet.end <= upto).count();
        let count = last.map_or(ready, |last| ready.min(last + 1));
        for number in 1..=count {
            let Some(packet) = self.waiting.pop_front() else { break };
            let how = match (number == count, packet.last) {
                (false, _) => PacketWriteEndInfo::NormalPacket,
                (true, false) => PacketWriteEndInfo::EndPage,
                (true, true) => PacketWriteEndInfo::EndStream,
            };
            stream.write(packet.bytes, packet.position, how).ok_or_else(|| torn.clone())?;
        }
        let bytes = stream.writer.inner_mut();
        // Without a packet there is no page, and without a page the grid is lost.
        if count == 0 || bytes.is_empty() {
            return Err(torn);
        }
        emit(bytes);
        bytes.clear();
        self.stream = last.is_none_or(|last| count <= last).then_some(stream);
        Ok(())
    }

    /// A new stream with its head.
    fn open(&mut self) -> Option<Stream> {
        let mut stream = Stream { writer: PacketWriter::new(Vec::new()), serial: self.serial };
        self.serial = self.serial.wrapping_add(1);
        let head = self.heads.pop_front()?;
        let count = head.len();
        for (place, packet) in head.into_iter().enumerate() {
            // The first header packet has a page to itself; so has the sound that follows the last one.
            let alone = place == 0 || place + 1 == count;
            let how = if alone { PacketWriteEndInfo::EndPage } else { PacketWriteEndInfo::NormalPacket };
            stream.write(packet, 0, how)?;
        }
        Some(stream)
    }
}

impl Stream {
    fn write(&mut self, packet: Vec<u8>, position: u64, how: PacketWriteEndInfo) -> Option<()> {
        // Memory takes what it is given.
        self.writer.write_packet(packet, self.serial, how, position).ok()
    }
}

/// A comment header's content (Vorbis I specification, 5.2.1), without what the codecs put around it. The whole title is the
/// TITLE: it is what listeners of other mounts see, and where an artist's name ends in it is anybody's guess.
fn comments(title: &str) -> Vec<u8> {
    let comment = (!title.is_empty()).then(|| format!("TITLE={title}"));
    let mut bytes = Vec::new();
    let number = |number: usize| (number as u32).to_le_bytes();
    bytes.extend_from_slice(&number(VENDOR.len()));
    bytes.extend_from_slice(VENDOR.as_bytes());
    bytes.extend_from_slice(&number(comment.iter().len()));
    if let Some(comment) = comment {
        bytes.extend_from_slice(&number(comment.len()));
        bytes.extend_from_slice(comment.as_bytes());
    }
    bytes
}

const VENDOR: &str = "Mainstay";
