//! From the bytes of a title file to text fit for air.

/// How a title's bytes are to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Encoding {
    /// UTF-8 if the bytes are valid UTF-8 (a byte order mark is allowed), else CP1252: text in CP1252 that is valid
    /// UTF-8 by chance and not plain ASCII is next to impossible.
    #[default]
    Auto,
    /// UTF-8 and nothing else; a byte order mark is allowed.
    Utf8,
    /// ISO 8859-1: every byte is the code point of its number.
    Latin1,
    /// Windows code page 1252.
    Cp1252,
}

/// Why bytes are no text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TextError {
    /// Not UTF-8, and nothing else was allowed.
    #[error("the title is not UTF-8 (byte {at}); set its encoding to auto, latin-1 or cp1252")]
    NotUtf8 {
        /// Offset of the first bad byte.
        at: usize,
    },
}

/// Longest title in bytes of UTF-8. An ICY metadata block holds 255 * 16 bytes, of which `StreamTitle='';` and a
/// `StreamUrl='';` that some servers add take their share; a longer title would be dropped as a whole.
pub(crate) const LONGEST: usize = 4000;

/// Code points of the bytes 0x80 to 0x9F in code page 1252 (Unicode's mapping table CP1252.TXT). The five bytes it
/// leaves open stand for the control codes of their number, and are removed with the other control codes.
const CP1252_HIGH: [char; 32] = [
    '\u{20AC}', '\u{81}', '\u{201A}', '\u{192}', '\u{201E}', '\u{2026}', '\u{2020}', '\u{2021}', '\u{2C6}',
    '\u{2030}', '\u{160}', '\u{2039}', '\u{152}', '\u{8D}', '\u{17D}', '\u{8F}', '\u{90}', '\u{2018}',
    '\u{2019}', '\u{201C}', '\u{201D}', '\u{2022}', '\u{2013}', '\u{2014}', '\u{2DC}', '\u{2122}', '\u{161}',
    '\u{203A}', '\u{153}', '\u{9D}', '\u{17E}', '\u{178}',
];

/// Reads `bytes` as text, lines and all; cleaning comes with [`Titles::offer`](crate::Titles::offer).
///
/// # Errors
/// [`TextError::NotUtf8`] with [`Encoding::Utf8`] only; the other encodings read anything.
pub fn decode(bytes: &[u8], encoding: Encoding) -> Result<String, TextError> {
    match encoding {
        Encoding::Auto => Ok(utf8(bytes).unwrap_or_else(|_| cp1252(bytes))),
        Encoding::Utf8 => utf8(bytes),
        Encoding::Latin1 => Ok(bytes.iter().copied().map(char::from).collect()),
        Encoding::Cp1252 => Ok(cp1252(bytes)),
    }
}

fn utf8(bytes: &[u8]) -> Result<String, TextError> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => Err(TextError::NotUtf8 { at: error.valid_up_to() }),
    }
}

fn cp1252(bytes: &[u8]) -> String {
    let char_of = |byte: &u8| match byte {
        0x80..=0x9F => CP1252_HIGH[usize::from(byte - 0x80)],
        other => char::from(*other),
    };
    bytes.iter().map(char_of).collect()
}

/// One line without control codes, runs of white space as one space, at most [`LONGEST`] bytes.
pub(crate) fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len().min(LONGEST));
    for char in text.chars() {
        // U+2028 and U+2029 are white space; a byte order mark within text is not even that.
        let char = if char.is_whitespace() { ' ' } else { char };
        if char.is_control()
            || char == '\u{FEFF}'
            || char == ' ' && (cleaned.is_empty() || cleaned.ends_with(' '))
        {
            continue;
        }
        if cleaned.len() + char.len_utf8() > LONGEST {
            break;
        }
        cleaned.push(char);
    }
    cleaned.truncate(cleaned.trim_end().len());
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_reads_utf8_and_falls_back_to_cp1252() {
        let auto = |bytes: &[u8]| decode(bytes, Encoding::Auto).unwrap();
        assert_eq!(auto("Björk – Jóga".as_bytes()), "Björk – Jóga");
        assert_eq!(auto(b"\xEF\xBB\xBFBj\xC3\xB6rk"), "Björk");
        assert_eq!(auto(b"Bj\xF6rk \x96 J\xF3ga \x80"), "Björk – Jóga €");
        assert_eq!(auto(b""), "");
    }

    #[test]
    fn latin1_and_cp1252_differ_in_the_middle() {
        assert_eq!(decode(b"\x80\xE4", Encoding::Latin1).unwrap(), "\u{80}ä");
        assert_eq!(decode(b"\x80\xE4", Encoding::Cp1252).unwrap(), "€ä");
        let specials =
            (0x80..=0x9F).map(|byte| cp1252(&[byte])).filter(|text| !clean(text).is_empty()).count();
        assert_eq!(specials, 27);
    }

    #[test]
    fn utf8_alone_is_strict() {
        assert_eq!(decode(b"ab\xF6", Encoding::Utf8), Err(TextError::NotUtf8 { at: 2 }));
    }

    #[test]
    fn air_gets_one_clean_line() {
        assert_eq!(clean("  A\tB\r\nC\u{0}\u{7}\u{85}D \u{2028} "), "A B C D");
        assert_eq!(clean("\u{FEFF}\r\n\t"), "");
    }

    #[test]
    fn length_is_bounded_between_two_characters() {
        let long = clean(&"€".repeat(5000));
        assert_eq!(long.len(), LONGEST / 3 * 3);
        assert!(clean(&"x ".repeat(5000)).len() <= LONGEST);
    }
}
