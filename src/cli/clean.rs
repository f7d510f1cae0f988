//! Text on its way to a terminal: no control character of a file reaches it.

use std::io::{self, Write};

/// What stands for a control character.
const REPLACEMENT: &str = "\u{fffd}";
/// The first byte of U+0080 to U+00BF in UTF-8; those below U+00A0 are control characters too.
const LEAD: u8 = 0xc2;

/// Writes text without its control characters but line breaks, however it is cut into pieces.
pub(crate) struct Clean<W: Write> {
    inner: W,
    /// Whether the last byte was [`LEAD`], which waits for the next.
    waits: bool,
}

impl<W: Write> Clean<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, waits: false }
    }
}

impl<W: Write> Write for Clean<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut clean = Vec::with_capacity(bytes.len() + 8);
        for byte in bytes {
            match (std::mem::take(&mut self.waits), *byte) {
                (true, 0x80..=0x9f) => clean.extend_from_slice(REPLACEMENT.as_bytes()),
                (waited, byte) => {
                    clean.extend(waited.then_some(LEAD));
                    match byte {
                        LEAD => self.waits = true,
                        b'\n' | b' '..=b'~' | 0x80.. => clean.push(byte),
                        _ => clean.extend_from_slice(REPLACEMENT.as_bytes()),
                    }
                }
            }
        }
        self.inner.write_all(&clean)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn control_characters_are_replaced_wherever_the_text_is_cut(text in "[\\x00-\\x{a5}é€]{0,40}", piece in 1usize..7) {
            let mut clean = Clean::new(Vec::new());
            text.as_bytes().chunks(piece).for_each(|bytes| clean.write_all(bytes).unwrap());
            let wanted: String = text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect();
            prop_assert_eq!(String::from_utf8(clean.inner).unwrap(), wanted);
        }
    }
}
