//! Pictures: baseline JPEG (ITU-T T.81) that every viewer opens, made as fast as bytes are drawn.
//!
//! The Huffman tables are chosen so that each coefficient is one byte of the file: a code of
//! 2 bits is followed by 6 bits of amplitude, one of 3 bits by 5. A byte from the dice below 0xE0 is then a valid
//! coefficient, none is 0xFF, and nothing needs stuffing. The picture is grey grain,
//! and compresses as badly as a photograph.

use crate::random::Random;

/// 8 by 8 samples.
const BLOCK: usize = 8;
/// Bytes of a block on average: one for the level, and 63 coefficients in steps of 1.86.
const BLOCK_BYTES: usize = 35;
/// The length code of the first table entry: a category of 4 bits in a code of 4 bits.
const LEVEL_UP: u8 = 0x08;

/// A picture of about `bytes` bytes.
pub(super) fn photo(r: &mut Random, bytes: usize) -> Vec<u8> {
    let blocks = (bytes / BLOCK_BYTES).max(4);
    let columns = ((blocks as f64 * 4.0 / 3.0).sqrt() as usize).clamp(2, 8_000);
    let rows = (blocks / columns).clamp(2, 8_000);
    let mut out = Vec::with_capacity(bytes + bytes / 8 + 1_024);
    header(&mut out, columns * BLOCK, rows * BLOCK);
    let mut grain = Grain::new(r);
    let mut level = 0_i32;
    for _ in 0..columns * rows {
        level = level_code(&mut out, grain.byte(), level);
        block(&mut out, &mut grain);
    }
    out.extend_from_slice(&[0xff, 0xd9]);
    out
}

/// The difference to the last block's level: up when it is dark, down when it is bright.
fn level_code(out: &mut Vec<u8>, dice: u8, level: i32) -> i32 {
    let amplitude = dice & 0x07;
    let up = match level {
        i32::MIN..=-40 => true,
        40..=i32::MAX => false,
        -39..=39 => dice & 0x80 != 0,
    };
    if up {
        out.push(LEVEL_UP | amplitude);
        level + 8 + i32::from(amplitude)
    } else {
        out.push(amplitude);
        level - 15 + i32::from(amplitude)
    }
}

/// The 63 coefficients of a block, each one byte; the last one stands at the last place.
fn block(out: &mut Vec<u8>, grain: &mut Grain<'_>) {
    let mut place = 1;
    while place < 64 {
        let code = grain.coefficient();
        let skipped = match code >> 6 {
            1 => 1,
            2 => 2,
            _ => 0,
        };
        if place + skipped < 64 {
            out.push(code);
            place += skipped + 1;
        } else {
            out.push(code & 0x3f);
            place += 1;
        }
    }
}

fn header(out: &mut Vec<u8>, width: usize, height: usize) {
    out.extend_from_slice(&[0xff, 0xd8]);
    segment(out, 0xe0, b"JFIF\0\x01\x01\x01\x00\x48\x00\x48\x00\x00");
    let mut steps = vec![0_u8];
    steps.push(8);
    steps.extend(std::iter::repeat_n(3, 63));
    segment(out, 0xdb, &steps);
    let [h1, h0] = (height as u16).to_be_bytes();
    let [w1, w0] = (width as u16).to_be_bytes();
    segment(out, 0xc0, &[8, h1, h0, w1, w0, 1, 1, 0x11, 0]);
    // Levels: one code of 4 bits, for the category of 4 bits.
    let mut levels = vec![0x00, 0, 0, 0, 1];
    levels.extend_from_slice(&[0; 12]);
    levels.push(4);
    segment(out, 0xc4, &levels);
    // Coefficients: three codes of 2 bits (0, 1 or 2 skipped, 6 bits), one of 3 bits (5 bits).
    let mut coefficients = vec![0x10, 0, 3, 1];
    coefficients.extend_from_slice(&[0; 13]);
    coefficients.extend_from_slice(&[0x06, 0x16, 0x26, 0x05]);
    segment(out, 0xc4, &coefficients);
    segment(out, 0xda, &[1, 1, 0x00, 0, 63, 0]);
}

fn segment(out: &mut Vec<u8>, marker: u8, body: &[u8]) {
    out.extend_from_slice(&[0xff, marker]);
    out.extend_from_slice(&((body.len() + 2) as u16).to_be_bytes());
    out.extend_from_slice(body);
}

/// Random bytes, one at a time.
struct Grain<'a> {
    dice: &'a mut Random,
    word: u64,
    left: u32,
}

impl<'a> Grain<'a> {
    fn new(dice: &'a mut Random) -> Self {
        Self {
            dice,
            word: 0,
            left: 0,
        }
    }

    fn byte(&mut self) -> u8 {
        if self.left == 0 {
            self.word = self.dice.word();
            self.left = 8;
        }
        let byte = self.word as u8;
        self.word >>= 8;
        self.left -= 1;
        byte
    }

    /// A byte that is a code and its amplitude.
    fn coefficient(&mut self) -> u8 {
        loop {
            let byte = self.byte();
            if byte < 0xe0 {
                return byte;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_by_other_hands_reads_every_picture() {
        for (seed, bytes) in [(1, 30_000), (2, 150_000), (3, 1_000_000)] {
            let file = photo(&mut Random::new(seed), bytes);
            assert!(
                file.len().abs_diff(bytes) < bytes / 10,
                "{} for {bytes}",
                file.len()
            );
            let mut decoder = jpeg_decoder::Decoder::new(file.as_slice());
            let pixels = decoder.decode().unwrap();
            let size = decoder.info().unwrap();
            assert_eq!(
                pixels.len(),
                usize::from(size.width) * usize::from(size.height)
            );
            assert!(size.width > size.height);
            let mean = pixels.iter().map(|&p| u64::from(p)).sum::<u64>() / pixels.len() as u64;
            assert!((64..192).contains(&mean), "mean {mean}");
        }
    }
}
