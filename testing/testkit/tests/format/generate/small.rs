//! Stored forms, keys, lists of extents and page maps.

use super::{Maker, Named, vector};
use crate::vector::hex;

impl Maker {
    pub(super) fn small(&self) -> Vec<Named> {
        let stored = |outcome, note, length: usize, bytes: &[u8]| {
            vector(outcome, "stored", note)
                .with("raw-length", length)
                .with("raw", hex(bytes))
        };
        let zeros = zstd::bulk::compress(&[0; 5000], 3).unwrap();
        let bomb = zstd::bulk::compress(&vec![0; 16 << 20], 19).unwrap();
        let zstd = |bytes: &[u8]| [&[1], bytes].concat();
        let key =
            |outcome, note, bytes: &[u8]| vector(outcome, "key", note).with("raw", hex(bytes));
        let list = |outcome, note, count: u32, total: u32, raw: &[u8]| {
            vector(outcome, "list", note)
                .with("count", count)
                .with("total", total)
                .with("node", hex(raw))
        };
        let two = [&[0, 1][..], &[7; 32], &[2, 0, 0, 5, 0, 5, 6]].concat();
        let map = |outcome, note, size: u32, count: u32, raw: &[u8]| {
            vector(outcome, "map", note)
                .with("page-size", size)
                .with("page-count", count)
                .with("node", hex(raw))
        };
        // One frame of `held` pages, then `count` pages, all in frame `frame` at place `place`.
        let leaf = |level: u8, held: u8, count: u8, frame: u8, place: u8| {
            let mut raw = vec![level, 1];
            raw.extend_from_slice(&[7; 32]);
            raw.extend_from_slice(&[1, 0, 0, 9, held]);
            raw.extend_from_slice(&[8; 16]);
            raw.push(count);
            (0..count).for_each(|_| raw.extend_from_slice(&[frame, 0]));
            (0..count).for_each(|_| raw.extend_from_slice(&[place, 0]));
            raw.extend(std::iter::repeat_n(6, 16 * usize::from(count)));
            raw
        };
        vec![
            ("stored-plain-ok", stored("ok", "As it is.", 3, b"\0abc")),
            (
                "stored-zstd-ok",
                stored("ok", "5,000 zeros.", 5000, &zstd(&zeros)),
            ),
            (
                "stored-bomb",
                stored(
                    "bad-compression",
                    "16 MiB of zeros for 100 bytes.",
                    100,
                    &zstd(&bomb),
                ),
            ),
            (
                "stored-short",
                stored(
                    "bad-compression",
                    "5,000 zeros for 5,001.",
                    5001,
                    &zstd(&zeros),
                ),
            ),
            (
                "stored-cut",
                stored(
                    "bad-compression",
                    "A frame cut short.",
                    5000,
                    &zstd(&zeros[..zeros.len() - 1]),
                ),
            ),
            (
                "stored-plain-long",
                stored("bad-compression", "Four bytes for three.", 3, b"\0abcd"),
            ),
            (
                "stored-unknown-method",
                stored("bad-compression", "Method 2.", 3, b"\x02abc"),
            ),
            (
                "stored-empty",
                stored("bad-compression", "No method.", 0, b""),
            ),
            (
                "key-ok",
                key("ok", "A name of two dots more is a name.", b"a\0...\0b"),
            ),
            ("key-empty", key("bad-path", "No component.", b"")),
            (
                "key-empty-component",
                key("bad-path", "An empty component.", b"a\0\0b"),
            ),
            ("key-dot", key("bad-path", "The folder itself.", b"a\0.")),
            ("list-ok", list("ok", "Two extents.", 2, 11, &two)),
            (
                "list-count",
                list("node-malformed", "Another count.", 3, 11, &two),
            ),
            (
                "list-total",
                list("node-malformed", "Another length.", 2, 12, &two),
            ),
            (
                "map-ok",
                map(
                    "ok",
                    "Three pages in a frame of four.",
                    4096,
                    3,
                    &leaf(0, 4, 3, 0, 3),
                ),
            ),
            (
                "map-more-pages",
                map(
                    "node-malformed",
                    "Fewer pages than the database has.",
                    4096,
                    4,
                    &leaf(0, 4, 3, 0, 3),
                ),
            ),
            (
                "map-no-such-frame",
                map(
                    "node-malformed",
                    "A frame that is not listed.",
                    4096,
                    3,
                    &leaf(0, 4, 3, 1, 0),
                ),
            ),
            (
                "map-no-such-place",
                map(
                    "node-malformed",
                    "A place outside the frame.",
                    4096,
                    3,
                    &leaf(0, 4, 3, 0, 4),
                ),
            ),
            (
                "map-large-frame",
                map(
                    "node-malformed",
                    "A frame of more than 256 KiB.",
                    65_536,
                    3,
                    &leaf(0, 5, 3, 0, 0),
                ),
            ),
            (
                "map-not-a-leaf",
                map(
                    "node-too-deep",
                    "An interior node where a leaf belongs.",
                    4096,
                    3,
                    &leaf(1, 4, 3, 0, 3),
                ),
            ),
            (
                "map-page-size",
                map(
                    "node-malformed",
                    "Pages of 1,000 bytes.",
                    1000,
                    3,
                    &leaf(0, 4, 3, 0, 3),
                ),
            ),
        ]
    }
}
