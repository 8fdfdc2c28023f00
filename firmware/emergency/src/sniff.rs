//! What a file's first bytes say. Asked before any decoder: a search for audio would find an MP3 inside a ZIP archive.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use crate::error::Error;
use crate::format::Format;

/// The container, before a look at the codec.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Content {
    Wave,
    Flac,
    /// MPEG audio, layer III.
    Mpeg,
    Adts,
    Mp4,
    /// With what its first page holds.
    Ogg(Format),
    /// Audio that is not decoded here.
    Unsupported(&'static str),
    /// No audio.
    Other(&'static str),
}

/// Opens what is a file with content and says what it is.
pub(crate) fn open(path: &Path) -> Result<(File, Content), Error> {
    // Asked before opening: a named pipe would keep `open` waiting for ever.
    let about = fs::metadata(path).map_err(Error::unreadable(path))?;
    if about.is_dir() {
        return Err(Error::NoFile { path: path.to_owned(), is: "a folder" });
    }
    if !about.is_file() {
        return Err(Error::NoFile { path: path.to_owned(), is: "a device, pipe or socket" });
    }
    if about.len() == 0 {
        return Err(Error::Empty { path: path.to_owned() });
    }
    let mut file = File::open(path).map_err(Error::unreadable(path))?;
    let content = sniff(&mut file).and_then(|content| file.rewind().map(|()| content));
    let content = content.map_err(Error::unreadable(path))?;
    match content {
        Content::Other(is) => Err(Error::NotAudio { path: path.to_owned(), is }),
        Content::Unsupported(what) => Err(Error::Unsupported { path: path.to_owned(), what: what.into() }),
        Content::Wave | Content::Flac | Content::Mpeg | Content::Adts | Content::Mp4 | Content::Ogg(_) => {
            Ok((file, content))
        }
    }
}

/// Most ID3 tags that are passed over, and most zero bytes after them (some editors leave those behind).
const MOST_TAGS: usize = 4;
const MOST_ZEROS: usize = 64 * 1024;

/// Boxes of an MP4 file that are looked at; those of a fragmented one are many.
const MOST_BOXES: usize = 100_000;

/// Whether an MP3 file has a Xing, Info or VBRI header, which lies in the first packet and says how long it is. The
/// demuxer guesses where it does not, and says no word about that. Leaves the file at its beginning.
pub(crate) fn says_its_length(file: &mut File) -> io::Result<bool> {
    let start = after_tags(file)?;
    let mut head = vec![0; MOST_ZEROS + 512];
    fill_at(file, start, &mut head)?;
    file.rewind()?;
    let Some(first) = head.windows(2).position(|pair| pair[0] == 0xff && pair[1] & 0xe0 == 0xe0) else {
        return Ok(false);
    };
    // Side information ends 36 bytes into the packet at most, and there VBRI begins.
    let packet = &head[first..head.len().min(first + 64)];
    Ok(packet.windows(4).any(|word| matches!(word, b"Xing" | b"Info" | b"VBRI")))
}

/// Whether an MP4 file ends before one of its boxes does (ISO/IEC 14496-12, 4.2): the demuxer finds no clear word for
/// that. Leaves the file at its beginning.
pub(crate) fn mp4_breaks_off(file: &mut File) -> io::Result<bool> {
    let whole = file.metadata()?.len();
    let (mut place, mut head) = (0, Vec::new());
    // Boxes are few; a file of nothing but tiny ones is left to the demuxer.
    for _ in 0..MOST_BOXES {
        head.resize(16, 0);
        fill_at(file, place, &mut head)?;
        let Some(&[a, b, c, d]) = head.first_chunk() else { break };
        let size = match u32::from_be_bytes([a, b, c, d]) {
            // To the end of the file.
            0 => break,
            // 64 bits, after the kind.
            1 => {
                head.get(8..).and_then(|size| size.first_chunk()).map_or(0, |size| u64::from_be_bytes(*size))
            }
            size => size.into(),
        };
        if size < 8 {
            break;
        }
        place = place.saturating_add(size);
        if place >= whole {
            break;
        }
    }
    file.rewind()?;
    Ok(place > whole)
}

fn sniff(file: &mut File) -> io::Result<Content> {
    let start = after_tags(file)?;
    let mut head = vec![0; 512];
    fill_at(file, start, &mut head)?;
    if head.first() == Some(&0) && !is_mp4(&head) {
        let mut ahead = vec![0; MOST_ZEROS + 512];
        fill_at(file, start, &mut ahead)?;
        let zeros = ahead.iter().position(|byte| *byte != 0).unwrap_or(ahead.len());
        head = ahead.split_off(zeros);
    }
    Ok(content(&head))
}

/// Where the tags at the beginning end.
fn after_tags(file: &mut File) -> io::Result<u64> {
    let mut start = 0;
    let mut head = vec![0; 10];
    for _ in 0..MOST_TAGS {
        head.resize(10, 0);
        fill_at(file, start, &mut head)?;
        let Some(length) = id3v2(&head) else { break };
        start += length;
    }
    Ok(start)
}

/// Reads up to all of `into` at `place`; shortens it to what the file has.
fn fill_at(file: &mut File, place: u64, into: &mut Vec<u8>) -> io::Result<()> {
    file.seek(SeekFrom::Start(place))?;
    let most = into.len() as u64;
    into.clear();
    file.take(most).read_to_end(into).map(|_| ())
}

/// Length of an ID3v2 tag (id3.org, ID3v2.4 section 3.1): four bytes of seven bits, header and footer not counted.
fn id3v2(head: &[u8]) -> Option<u64> {
    let [b'I', b'D', b'3', _, _, flags, size @ ..] = head else { return None };
    let size = size.get(..4)?.iter().fold(0, |sum, byte| (sum << 7) | u64::from(byte & 0x7f));
    Some(10 + size + if flags & 0x10 == 0 { 0 } else { 10 })
}

fn is_mp4(head: &[u8]) -> bool {
    head.get(4..8)
        .is_some_and(|kind| matches!(kind, b"ftyp" | b"moov" | b"mdat" | b"wide" | b"free" | b"skip"))
}

fn content(head: &[u8]) -> Content {
    if is_mp4(head) {
        return Content::Mp4;
    }
    match head {
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Content::Wave,
        [b'R', b'I', b'F', b'F', ..] => Content::Other("a RIFF file that is no WAV (perhaps a film)"),
        [b'R', b'F', b'6', b'4', ..] | [b'r', b'i', b'f', b'f', ..] => {
            Content::Unsupported("a WAV file of the 64-bit kind (RF64)")
        }
        [b'f', b'L', b'a', b'C', ..] => Content::Flac,
        [b'O', b'g', b'g', b'S', ..] => Content::Ogg(ogg(head)),
        [b'P', b'K', 3 | 5 | 7, ..] => Content::Other("a ZIP archive (or a document that is one inside)"),
        [0x1f, 0x8b, ..] => Content::Other("a gzip archive"),
        [b'R', b'a', b'r', b'!', ..] => Content::Other("a RAR archive"),
        [b'7', b'z', 0xbc, 0xaf, ..] => Content::Other("a 7z archive"),
        [b'%', b'P', b'D', b'F', ..] => Content::Other("a PDF document"),
        [0x89, b'P', b'N', b'G', ..] | [0xff, 0xd8, 0xff, ..] | [b'G', b'I', b'F', b'8', ..] => {
            Content::Other("a picture")
        }
        [0x1a, 0x45, 0xdf, 0xa3, ..] => Content::Unsupported("a Matroska or WebM file"),
        [0x30, 0x26, 0xb2, 0x75, ..] => Content::Unsupported("a Windows Media file"),
        [b'F', b'O', b'R', b'M', ..] => Content::Unsupported("an AIFF file"),
        [b'c', b'a', b'f', b'f', ..] => Content::Unsupported("a Core Audio file"),
        [b'M', b'T', b'h', b'd', ..] => Content::Unsupported("a MIDI file (notes without sound)"),
        [b'w', b'v', b'p', b'k', ..] => Content::Unsupported("a WavPack file"),
        [b'M', b'A', b'C', b' ', ..] => Content::Unsupported("a Monkey's Audio file"),
        [0x7f, b'E', b'L', b'F', ..] | [b'M', b'Z', ..] => Content::Other("a program"),
        [first, second, third, ..] if *first == 0xff && second & 0xe0 == 0xe0 => mpeg(*second, *third),
        [] => Content::Other("nothing but zeros"),
        _ if head.iter().all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | 32..)) => {
            Content::Other("a text, a page or a playlist")
        }
        _ => Content::Other("no audio file of a known kind"),
    }
}

/// The codec of an Ogg file, by the packet in its first page (RFC 3533, section 4); Vorbis if it says nothing.
fn ogg(head: &[u8]) -> Format {
    let has = |signature: &[u8]| head.windows(signature.len()).any(|bytes| bytes == signature);
    if has(b"OpusHead") {
        Format::Opus
    } else if has(b"\x7fFLAC") {
        Format::OggFlac
    } else {
        Format::Vorbis
    }
}

/// The second and third byte of a header: version, layer, bit rate and sample rate (ISO/IEC 11172-3, 2.4.2.3), or the
/// header of ADTS, whose layer is 0 (ISO/IEC 13818-7, 6.2).
fn mpeg(second: u8, third: u8) -> Content {
    let version = (second >> 3) & 3;
    let valid = version != 1 && third >> 4 != 15 && (third >> 2) & 3 != 3;
    match (second >> 1) & 3 {
        0 if second & 0xf0 == 0xf0 && (third >> 2) & 15 < 13 => Content::Adts,
        1 if valid => Content::Mpeg,
        2 | 3 if valid => Content::Unsupported("MPEG audio of layer I or II (MP2)"),
        _ => Content::Other("no audio file of a known kind"),
    }
}
