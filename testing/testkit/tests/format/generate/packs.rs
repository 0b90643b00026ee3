//! Packs, their tables of contents, and single extents of them.

use keyhaven_repo::pack::PackKind;

use super::{Maker, Named, vector};
use crate::second;
use crate::vector::Vector;

impl Maker {
    pub(super) fn packs(&self) -> Vec<Named> {
        let path = |kind| self.golden.pack(kind).name().path();
        let on = |outcome: &str, what: &str, note: &str, file: &str| {
            vector(outcome, what, note).with("file", file)
        };
        let v = |outcome, note| on(outcome, "pack media", note, &self.media);
        let other = "11".repeat(32);
        vec![
            ("pack-media-ok", v("ok", "A pack of files.")),
            (
                "pack-messages-ok",
                on("ok", "pack messages", "Pages.", &path(PackKind::Messages)),
            ),
            (
                "pack-index-ok",
                on("ok", "pack index", "Nodes.", &path(PackKind::Index)),
            ),
            (
                "pack-any-ok",
                on("ok", "pack any", "Its kind is not known.", &self.media),
            ),
            (
                "pack-other-magic",
                v("not-keyhaven", "Another magic.").with("edit", "0 00"),
            ),
            (
                "pack-later-version",
                v("unknown-version", "Version 2.").with("edit", "4 0200"),
            ),
            (
                "pack-other-suite",
                v("unknown-suite", "Suite 2.").with("edit", "6 02"),
            ),
            (
                "pack-reserved",
                v("bad-header", "The zero byte is 1.").with("edit", "7 01"),
            ),
            (
                "pack-no-frames",
                v("bad-header", "Length 112: no plaintext.").with("edit", "12 70000000"),
            ),
            (
                "pack-other-epoch",
                v("unknown-epoch", "Epoch 2.").with("edit", "8 02000000"),
            ),
            (
                "pack-other-store",
                v("wrong-store", "Read for another store.").with("store", "22".repeat(16)),
            ),
            (
                "pack-store-edited",
                v("wrong-store", "Another store id.").with("edit", "16 0000"),
            ),
            (
                "pack-renamed",
                v("renamed", "Under another name.").with("under", &other),
            ),
            (
                "pack-renamed-inside",
                v(
                    "wrong-key",
                    "Under another name, in the header as well: the name salts the key.",
                )
                .with("under", &other)
                .with("edit", format!("32 {other}")),
            ),
            (
                "pack-other-commitment",
                v("wrong-key", "A commitment to another key.")
                    .with("edit", format!("64 {}", "33".repeat(32))),
            ),
            (
                "pack-as-index",
                on(
                    "wrong-kind",
                    "pack index",
                    "Media, read as index.",
                    &self.media,
                ),
            ),
            (
                "pack-as-messages",
                on(
                    "wrong-kind",
                    "pack messages",
                    "Nodes, read as pages.",
                    &path(PackKind::Index),
                ),
            ),
            (
                "pack-empty",
                v("truncated", "An empty file.").with("cut", 0),
            ),
            (
                "pack-header-only",
                v("truncated", "Only its header.").with("cut", 96),
            ),
            (
                "pack-cut-one",
                v("truncated", "One byte short.").with("cut", 262_143),
            ),
            (
                "pack-cut-frame",
                v("truncated", "Its last frame is missing.").with("cut", 196_752),
            ),
            (
                "pack-cut-class",
                v("not-a-class", "Cut, and the header says so too.")
                    .with("edit", "12 90000300")
                    .with("cut", 196_752),
            ),
            (
                "pack-grown",
                v("extended", "One byte long.").with("grow", 1),
            ),
            (
                "pack-grown-class",
                v(
                    "wrong-key",
                    "Grown to the next class, and the header says so too.",
                )
                .with("edit", "12 00000600")
                .with("grow", 131_072),
            ),
            (
                "pack-first-byte",
                v("frame-altered", "The first byte of the first frame.").with("edit", "160 00ff"),
            ),
            (
                "pack-last-byte",
                v("frame-altered", "The last byte of the last frame.").with("edit", "262143 00"),
            ),
            (
                "pack-first-tag",
                v("frame-altered", "The first byte of the first tag.").with("edit", "96 00ff"),
            ),
            (
                "pack-last-tag",
                v("frame-altered", "The last byte of the last tag.").with("edit", "159 00"),
            ),
            (
                "pack-swapped-frames",
                v(
                    "frame-altered",
                    "Two frames in each other's place, their tags with them.",
                )
                .with("copy", "160 65696 65536")
                .with("copy", "65696 160 65536")
                .with("copy", "96 112 16")
                .with("copy", "112 96 16"),
            ),
            (
                "pack-repeated-frame",
                v("frame-altered", "The second frame twice, its tag with it.")
                    .with("copy", "65696 131232 65536")
                    .with("copy", "112 128 16"),
            ),
            (
                "pack-swapped-tags",
                v("frame-altered", "Two tags in each other's place.")
                    .with("copy", "96 112 16")
                    .with("copy", "112 96 16"),
            ),
        ]
    }

    /// The media pack with its plaintext altered by one who has the keys.
    fn forged(&self, outcome: &str, note: &str, alter: impl Fn(&mut Vec<u8>)) -> Vector {
        let mut plain = second::open(&self.data, second::MEDIA, &self.media_bytes);
        alter(&mut plain);
        let altered = second::seal_like(&self.media_bytes, &self.data, second::MEDIA, &plain, true);
        vector(outcome, "pack media", note)
            .with("file", &self.media)
            .difference(&self.media_bytes, &altered)
    }

    pub(super) fn tables(&self) -> Vec<Named> {
        // Three files: the table has 75 bytes and the footer 8.
        let toc = 261_984 - 83;
        let set = move |at: usize, bytes: &'static [u8]| {
            move |plain: &mut Vec<u8>| plain[at..at + bytes.len()].copy_from_slice(bytes)
        };
        let bad = "toc-out-of-bounds";
        vec![
            (
                "toc-too-many",
                self.forged(bad, "More entries than bytes.", set(261_980, &[255; 4])),
            ),
            (
                "toc-fewer",
                self.forged("bad-padding", "Two of three entries.", set(261_980, &[2])),
            ),
            (
                "toc-content-long",
                self.forged(bad, "Content reaches the footer.", set(261_976, &[255; 3])),
            ),
            (
                "toc-content-short",
                self.forged(
                    bad,
                    "An extent ends behind the content.",
                    set(261_976, &[0; 4]),
                ),
            ),
            (
                "toc-unknown-kind",
                self.forged(bad, "An extent of kind 9.", set(toc, &[9])),
            ),
            (
                "toc-empty-extent",
                self.forged(bad, "An extent of no bytes.", set(toc + 5, &[0; 4])),
            ),
            (
                "toc-overlap",
                self.forged(
                    bad,
                    "The second starts in the first.",
                    set(toc + 26, &[0; 4]),
                ),
            ),
            (
                "toc-wraps",
                self.forged(bad, "Offset and length overflow.", set(toc + 1, &[255; 8])),
            ),
            (
                "pack-padding",
                self.forged(
                    "bad-padding",
                    "A byte between content and table.",
                    set(toc - 1, &[1]),
                ),
            ),
        ]
    }

    pub(super) fn extents(&self) -> Vec<Named> {
        let v = |outcome, what, note| vector(outcome, what, note).with("file", &self.media);
        vec![
            (
                "extent-ok",
                v("ok", "extent media 65000 70000", "Over two frame borders."),
            ),
            (
                "extent-untouched-frame",
                v(
                    "ok",
                    "extent media 0 65536",
                    "Another frame is altered; this one is not.",
                )
                .with("edit", "200000 0000"),
            ),
            (
                "extent-altered",
                v(
                    "frame-altered",
                    "extent media 65000 70000",
                    "A byte of the second frame.",
                )
                .with("edit", "70000 0000"),
            ),
            (
                "extent-moved-frame",
                v(
                    "frame-altered",
                    "extent media 65536 10",
                    "The first frame instead of the second.",
                )
                .with("copy", "160 65696 65536"),
            ),
            (
                "extent-outside",
                v(
                    "extent-not-here",
                    "extent media 261984 1",
                    "One byte beyond.",
                ),
            ),
            (
                "extent-wraps",
                v("extent-not-here", "extent media 4294967295 2", "Overflows."),
            ),
            (
                "extent-cut",
                v(
                    "wrong-range",
                    "extent media 200000 10",
                    "The file ends before.",
                )
                .with("cut", 200_000),
            ),
            (
                "extent-as-index",
                v("wrong-kind", "extent index 0 10", "Media, read as index."),
            ),
        ]
    }
}
