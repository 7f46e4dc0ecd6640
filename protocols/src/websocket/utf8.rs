//! UTF-8 that arrives in pieces.

/// Checks text as it comes and fails at the first byte that cannot be part of any UTF-8 text.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Utf8 {
    /// The beginning of a character whose end has not come.
    carry: [u8; 4],
    len: u8,
}

impl Utf8 {
    /// False if what came so far cannot become valid.
    pub(super) fn feed(&mut self, mut data: &[u8]) -> bool {
        while self.len > 0 {
            let Some((&byte, rest)) = data.split_first() else {
                return true;
            };
            data = rest;
            let Some(slot) = self.carry.get_mut(usize::from(self.len)) else {
                return false;
            };
            *slot = byte;
            self.len = self.len.saturating_add(1);
            let so_far = self.carry.get(..usize::from(self.len)).unwrap_or_default();
            match str::from_utf8(so_far) {
                Ok(_) => self.len = 0,
                Err(error) if error.error_len().is_some() => return false,
                Err(_) => {}
            }
        }
        let Err(error) = str::from_utf8(data) else {
            return true;
        };
        if error.error_len().is_some() {
            return false;
        }
        let tail = data.get(error.valid_up_to()..).unwrap_or_default();
        for (slot, &byte) in self.carry.iter_mut().zip(tail) {
            *slot = byte;
            self.len = self.len.saturating_add(1);
        }
        true
    }

    /// True if no character is unfinished.
    pub(super) fn is_complete(self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The length of the longest prefix that some valid text begins with, found the slow way.
    fn longest_plausible(data: &[u8]) -> usize {
        (0..=data.len())
            .rev()
            .find(|&end| {
                str::from_utf8(&data[..end]).map_or_else(|e| e.error_len().is_none(), |_| true)
            })
            .unwrap_or(0)
    }

    #[test]
    fn every_cut_finds_the_first_impossible_byte() {
        let texts: [&[u8]; 9] = [
            "κόσμε \u{10ffff} \u{7ff}".as_bytes(),
            b"\xf4\x90\x80\x80",
            b"\xed\xa0\x80",
            b"\xc0\x80",
            b"ab\xe0\x80\x80",
            b"\xf5",
            b"\xf0\x9f\x98\x80\x80",
            b"\xce\xba\xe1\xbd",
            b"\xce\xba\xff\xbd",
        ];
        for text in texts {
            for cut in 1..=text.len() {
                let mut check = Utf8::default();
                let mut good = 0;
                for piece in text.chunks(cut) {
                    if !check.feed(piece) {
                        break;
                    }
                    good += piece.len();
                }
                let plausible = longest_plausible(text);
                assert_eq!(
                    good,
                    plausible / cut * cut
                        + if plausible == text.len() {
                            plausible % cut
                        } else {
                            0
                        }
                );
                let complete = good == text.len() && check.is_complete();
                assert_eq!(complete, str::from_utf8(text).is_ok(), "{text:x?} by {cut}");
            }
        }
    }
}
