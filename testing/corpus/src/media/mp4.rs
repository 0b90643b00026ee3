//! Films: the boxes of an MP4 file (ISO/IEC 14496-12) around bytes that do not compress.
//!
//! The sample tables are as regular as a camera's, so a real index stands before the noise.
//! A player recognises the file and its length, and finds no picture in it.

use crate::random::Random;

/// Frames in a second.
const RATE: u32 = 30;

/// A film of about `bytes` bytes.
pub(super) fn film(r: &mut Random, bytes: usize) -> Vec<u8> {
    let frames = (bytes / 12_000).max(RATE as usize) as u32;
    let mut out = Vec::with_capacity(bytes + 4_096);
    boxed(&mut out, b"ftyp", |b| {
        b.extend_from_slice(b"mp42\0\0\0\0isommp42")
    });
    boxed(&mut out, b"moov", |b| {
        boxed(b, b"mvhd", |b| movie_header(b, frames));
        boxed(b, b"trak", |b| track(b, r, frames));
    });
    let left = bytes.saturating_sub(out.len() + 8).max(1_024);
    boxed(&mut out, b"mdat", |b| {
        let start = b.len();
        b.resize(start + left, 0);
        r.fill(b.get_mut(start..).unwrap_or_default());
    });
    out
}

fn movie_header(b: &mut Vec<u8>, frames: u32) {
    numbers(b, &[0, 0, 0, RATE, frames, 0x0001_0000, 0x0100_0000, 0, 0]);
    matrix(b);
    numbers(b, &[0, 0, 0, 0, 0, 0, 2]);
}

fn track(b: &mut Vec<u8>, r: &mut Random, frames: u32) {
    boxed(b, b"tkhd", |b| {
        numbers(b, &[3, 0, 0, 1, 0, frames, 0, 0, 0, 0]);
        matrix(b);
        numbers(b, &[848 << 16, 480 << 16]);
    });
    boxed(b, b"mdia", |b| {
        boxed(b, b"mdhd", |b| {
            numbers(b, &[0, 0, 0, RATE, frames, 0x55c4_0000])
        });
        boxed(b, b"hdlr", |b| {
            b.extend_from_slice(b"\0\0\0\0\0\0\0\0vide\0\0\0\0\0\0\0\0\0\0\0\0VideoHandle\0");
        });
        boxed(b, b"minf", |b| {
            boxed(b, b"stbl", |b| {
                boxed(b, b"stts", |b| numbers(b, &[0, 1, frames, 1]));
                boxed(b, b"stsz", |b| {
                    numbers(b, &[0, 0, frames]);
                    for _ in 0..frames {
                        numbers(b, &[4_000 + r.below(4_096) as u32]);
                    }
                });
            });
        });
    });
}

/// The unity matrix of headers.
fn matrix(b: &mut Vec<u8>) {
    numbers(
        b,
        &[0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000],
    );
}

fn numbers(b: &mut Vec<u8>, numbers: &[u32]) {
    b.extend(numbers.iter().flat_map(|n| n.to_be_bytes()));
}

/// Writes a box, its length first.
fn boxed(out: &mut Vec<u8>, name: &[u8; 4], body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(name);
    body(out);
    let length = ((out.len() - start) as u32).to_be_bytes();
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boxes_of_a_film_fill_the_file() {
        let file = film(&mut Random::new(5), 2_000_000);
        let mut names = Vec::new();
        let mut at = 0;
        while at < file.len() {
            let length = u32::from_be_bytes(file[at..at + 4].try_into().unwrap());
            names.push(String::from_utf8(file[at + 4..at + 8].to_vec()).unwrap());
            at += usize::try_from(length).unwrap();
        }
        assert_eq!(at, file.len());
        assert_eq!(names, ["ftyp", "moov", "mdat"]);
    }
}
