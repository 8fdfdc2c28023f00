//! Ogg pages on the wire (RFC 3533). Pure parsing of bytes that may come from outside: never panics, never reads past the
//! slice. Checksums are not looked at.

/// What one page's header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageHeader {
    /// Length of the whole page, header included, in bytes.
    pub length: usize,
    /// It begins a stream.
    pub first: bool,
    /// It ends a stream.
    pub last: bool,
    /// Position in the stream at the end of the last packet that ends on it, in frames for Vorbis and Opus; `None` if none does.
    pub granule: Option<u64>,
    /// Which stream of a chain it belongs to.
    pub serial: u32,
    /// Its number in that stream.
    pub sequence: u32,
}

impl PageHeader {
    /// Bytes of a header without its table of segments.
    const FIXED: usize = 27;

    /// Reads the page at the start of `bytes`; `None` if there is none, or its table of segments is not all there.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let head: &[u8; Self::FIXED] = bytes.first_chunk()?;
        let [b'O', b'g', b'g', b'S', 0, flags, rest @ ..] = head else { return None };
        let (granule, rest) = rest.split_first_chunk::<8>()?;
        let (serial, rest) = rest.split_first_chunk::<4>()?;
        let sequence = rest.first_chunk::<4>()?;
        let segments = usize::from(head[Self::FIXED - 1]);
        let table = bytes.get(Self::FIXED..Self::FIXED + segments)?;
        let body: usize = table.iter().map(|&segment| usize::from(segment)).sum();
        let granule = u64::from_le_bytes(*granule);
        Some(Self {
            length: Self::FIXED + segments + body,
            first: flags & 2 != 0,
            last: flags & 4 != 0,
            granule: (granule != u64::MAX).then_some(granule),
            serial: u32::from_le_bytes(*serial),
            sequence: u32::from_le_bytes(*sequence),
        })
    }
}

/// Bytes of header pages that `bytes` begin with: the first page of a stream, and those after it up to the first with sound.
/// Zero if they begin with anything else.
///
/// Header pages stand at position zero (RFC 7845, 3; the Vorbis I specification, A.2), and our streams have sound on the next one.
#[must_use]
pub fn head_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(page) = bytes.get(at..).and_then(PageHeader::parse) {
        let is_head = (page.first || at > 0) && page.granule.is_none_or(|granule| granule == 0);
        if !is_head || bytes.len() - at < page.length {
            break;
        }
        at += page.length;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(flags: u8, granule: u64) -> [u8; 33] {
        let mut page = [7; 33];
        page[..6].copy_from_slice(&[b'O', b'g', b'g', b'S', 0, flags]);
        page[6..14].copy_from_slice(&granule.to_le_bytes());
        page[14..18].copy_from_slice(&9_u32.to_le_bytes());
        page[18..22].copy_from_slice(&3_u32.to_le_bytes());
        page[26] = 1;
        page[27] = 5;
        page
    }

    #[test]
    fn reads_a_page() {
        let header = PageHeader::parse(&page(4, 48_000)).unwrap();
        let expected = PageHeader {
            length: 33,
            first: false,
            last: true,
            granule: Some(48_000),
            serial: 9,
            sequence: 3,
        };
        assert_eq!(header, expected);
        assert_eq!(PageHeader::parse(&page(0, u64::MAX)).unwrap().granule, None);
        assert_eq!(PageHeader::parse(&page(0, 0)[..27]), None, "its table is not there");
        assert_eq!(PageHeader::parse(b"OggX"), None);
    }

    #[test]
    fn the_head_ends_where_the_sound_begins() {
        let pages = [page(2, 0), page(0, 0), page(0, 960)].as_flattened().to_vec();
        assert_eq!(head_length(&pages), 66);
        assert_eq!(head_length(&pages[33..]), 0, "no stream begins here");
        assert_eq!(head_length(&pages[..60]), 33, "the second page is not all there");
        assert_eq!(head_length(&[0xFF, 0xFB, 0x90]), 0);
    }

    #[test]
    fn absurd_bytes_are_survived() {
        let mut bytes = page(2, 0).to_vec();
        for at in 0..bytes.len() {
            for value in [0, 1, 127, 255] {
                let before = core::mem::replace(&mut bytes[at], value);
                assert!(head_length(&bytes) <= bytes.len());
                bytes[at] = before;
            }
        }
    }
}
