//! The last look at a packet before anybody else sees it.

use units::Rendition;
use units::header::PacketHeader;

use crate::Error;

/// Length of the packet at the start of `bytes`; `None` while its end is not there yet.
///
/// # Errors
/// [`Error::Torn`] if `bytes` starts with anything but a packet of `rendition`.
pub(crate) fn first(bytes: &[u8], rendition: &Rendition) -> Result<Option<usize>, Error> {
    if bytes.len() < PacketHeader::NEEDED {
        return Ok(None);
    }
    match PacketHeader::parse(bytes) {
        Some(header) if header.fits(rendition) => Ok((header.length <= bytes.len()).then_some(header.length)),
        Some(_) | None => Err(Error::Torn { rendition: *rendition, bytes: bytes.len() }),
    }
}
