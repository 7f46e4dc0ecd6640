//! Masking, RFC 6455 section 5.3.

/// Masks or unmasks `data`, whose first byte meets the first byte of `mask`.
pub(super) fn apply(data: &mut [u8], mask: [u8; 4]) {
    // Blocks of one register each, in a shape that the compiler turns into vector code.
    let [a, b, c, d] = mask;
    let key = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (blocks, tail) = data.as_chunks_mut::<8>();
    for block in blocks {
        *block = (u64::from_ne_bytes(*block) ^ key).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= key;
    }
}

/// The mask as it meets the byte that comes `count` bytes later.
pub(super) fn advance(mut mask: [u8; 4], count: usize) -> [u8; 4] {
    mask.rotate_left(count % 4);
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 5.3, word for word: octet i of the data is combined with octet i modulo 4 of the key.
    fn reference(data: &mut [u8], mask: [u8; 4], offset: usize) {
        for (i, byte) in data.iter_mut().enumerate() {
            *byte ^= mask[(i + offset) % 4];
        }
    }

    #[test]
    fn masking_is_what_the_rfc_says_for_all_lengths_alignments_and_offsets() {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let source: Vec<u8> = (0..=255).cycle().take(400).collect();
        for len in 0..=300 {
            for start in 0..8 {
                for offset in 0..4 {
                    let mut expected = source.clone();
                    let mut actual = source.clone();
                    reference(&mut expected[start..start + len], mask, offset);
                    apply(&mut actual[start..start + len], advance(mask, offset));
                    assert_eq!(expected, actual, "{len} bytes at {start}, offset {offset}");
                }
            }
        }
    }
}
