//! Voice notes: an Ogg stream (RFC 3533) with the headers of Opus (RFC 7845) and valid page sums.

use crate::random::Random;

/// Samples of a packet of 60 ms at 48 kHz, as voice notes use.
const PACKET_SAMPLES: u64 = 2_880;
/// Packets in a page: 50 of them are three seconds.
const PAGE_PACKETS: u64 = 50;
/// Bytes of a packet: between these.
const PACKET_BYTES: (u64, u64) = (90, 250);
const SERIAL: u32 = 0x5eed;

/// A voice note of about `bytes` bytes.
pub(super) fn note(r: &mut Random, bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes + 16_384);
    page(
        &mut out,
        2,
        0,
        0,
        &[b"OpusHead\x01\x01\x38\x01\x80\xbb\x00\x00\x00\x00\x00".to_vec()],
    );
    page(
        &mut out,
        0,
        0,
        1,
        &[b"OpusTags\x07\x00\x00\x00libopus\x00\x00\x00\x00".to_vec()],
    );
    let (mut number, mut samples) = (2, 0);
    while out.len() < bytes {
        let packets: Vec<Vec<u8>> = (0..PAGE_PACKETS).map(|_| packet(r)).collect();
        samples += PAGE_PACKETS * PACKET_SAMPLES;
        let last = out.len() + (PAGE_PACKETS * PACKET_BYTES.1) as usize >= bytes;
        page(
            &mut out,
            if last { 4 } else { 0 },
            samples,
            number,
            &packets,
        );
        number += 1;
        if last {
            break;
        }
    }
    out
}

/// One packet: the byte that says "SILK, wideband, 60 ms, one frame", then noise.
fn packet(r: &mut Random) -> Vec<u8> {
    let bytes = PACKET_BYTES.0 + r.below(PACKET_BYTES.1 - PACKET_BYTES.0);
    let mut packet = r.bytes(bytes as usize);
    if let Some(first) = packet.first_mut() {
        *first = 0x58;
    }
    packet
}

fn page(out: &mut Vec<u8>, flags: u8, samples: u64, number: u32, packets: &[Vec<u8>]) {
    let start = out.len();
    out.extend_from_slice(b"OggS\0");
    out.push(flags);
    out.extend_from_slice(&samples.to_le_bytes());
    out.extend_from_slice(&SERIAL.to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.push(packets.len() as u8);
    out.extend(packets.iter().map(|p| p.len() as u8));
    out.extend(packets.iter().flatten());
    let sum = page_sum(out.get(start..).unwrap_or_default()).to_le_bytes();
    if let Some(place) = out.get_mut(start + 22..start + 26) {
        place.copy_from_slice(&sum);
    }
}

/// The CRC-32 of RFC 3533: polynomial 0x04c11db7, not reflected, from zero.
fn page_sum(page: &[u8]) -> u32 {
    page.iter().fold(0, |sum, &byte| {
        let at = usize::from((sum >> 24) as u8 ^ byte);
        (sum << 8) ^ TABLE.get(at).copied().unwrap_or_default()
    })
}

const TABLE: [u32; 256] = table();

#[expect(
    clippy::indexing_slicing,
    reason = "The compiler itself runs this, and would refuse to go beyond."
)]
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut sum = (n as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 0x8000_0000 == 0 {
                sum << 1
            } else {
                (sum << 1) ^ 0x04c1_1db7
            };
            bit += 1;
        }
        table[n] = sum;
        n += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_sums_are_ogg_s() {
        // The check value of CRC-32/CKSUM, which differs only in that its result is inverted.
        assert_eq!(page_sum(b"123456789"), 0x89a1_897f);
    }

    #[test]
    fn a_note_is_pages_from_start_to_end() {
        let file = note(&mut Random::new(9), 60_000);
        assert!(file.len().abs_diff(60_000) < 15_000);
        let (mut at, mut pages) = (0, 0);
        while at < file.len() {
            assert_eq!(&file[at..at + 4], b"OggS");
            let table = &file[at + 27..at + 27 + usize::from(file[at + 26])];
            let length = 27 + table.len() + table.iter().map(|&l| usize::from(l)).sum::<usize>();
            let mut page = file[at..at + length].to_vec();
            let sum = u32::from_le_bytes(page[22..26].try_into().unwrap());
            page[22..26].fill(0);
            assert_eq!(page_sum(&page), sum);
            at += length;
            pages += 1;
        }
        assert_eq!(at, file.len());
        assert!(pages > 4);
    }
}
