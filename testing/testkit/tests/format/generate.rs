//! Making the vectors of version 1. They were made once; this stays so that anyone can see how, and
//! so that vectors can be added. What is there is never rewritten: the golden store would be another.

use std::fs;

use keyhaven_repo::pack::PackKind;

use crate::golden::{self, BACKUP_KEY, Golden};
use crate::run::node_ref;
use crate::second::{self, Secret};
use crate::vector::{Vector, folder, hex};

/// Writes the golden store where there is none, and every vector.
#[test]
#[ignore = "writes into the source tree; run it by hand to add vectors"]
fn write_the_vectors() {
    let store = folder().join("store");
    if !store.exists() {
        for (path, bytes) in golden::write() {
            let path = store.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
    let maker = Maker::new();
    let all = [
        maker.markers(),
        maker.packs(),
        maker.tables(),
        maker.extents(),
        maker.snapshots(),
    ];
    for (name, vector) in all
        .into_iter()
        .flatten()
        .chain(maker.nodes())
        .chain(maker.small())
    {
        fs::write(folder().join(format!("{name}.txt")), vector.text()).unwrap();
    }
}

type Named = (&'static str, Vector);

fn vector(outcome: &str, what: &str, note: &str) -> Vector {
    Vector::default()
        .with("outcome", outcome)
        .with("note", note)
        .with("as", what)
}

struct Maker {
    golden: Golden,
    snapshot: Vec<u8>,
    data: Secret,
    media: String,
    media_bytes: Vec<u8>,
}

impl Maker {
    fn new() -> Self {
        let golden = Golden::read();
        let store = folder().join("store");
        let snapshot = fs::read(store.join(&golden.snapshot_path)).unwrap();
        let [data, ..] = second::keys(&BACKUP_KEY, &snapshot);
        let media = golden.pack(PackKind::Media).name().path();
        let media_bytes = fs::read(store.join(&media)).unwrap();
        Self {
            golden,
            snapshot,
            data,
            media,
            media_bytes,
        }
    }

    fn markers(&self) -> Vec<Named> {
        let v = |outcome, note| vector(outcome, "marker", note).with("file", "keyhaven");
        vec![
            ("marker-ok", v("ok", "The golden store's marker.")),
            (
                "marker-empty",
                v("not-keyhaven", "An empty file.").with("cut", 0),
            ),
            (
                "marker-other-magic",
                v("not-keyhaven", "Another magic.").with("edit", "0 00"),
            ),
            (
                "marker-later-version",
                v("unknown-version", "Version 2.").with("edit", "8 0200"),
            ),
            (
                "marker-cut",
                v("truncated", "One byte short.").with("cut", 4095),
            ),
            (
                "marker-cut-early",
                v("truncated", "Cut in the store id.").with("cut", 20),
            ),
            (
                "marker-grown",
                v("extended", "One byte long.").with("grow", 1),
            ),
            (
                "marker-other-id",
                v("damaged", "Another store id.").with("edit", "16 00"),
            ),
            (
                "marker-reserved",
                v("damaged", "A reserved byte is set.").with("edit", "10 01"),
            ),
            (
                "marker-padding",
                v("bad-padding", "The last byte is set.").with("edit", "4095 01"),
            ),
        ]
    }

    fn packs(&self) -> Vec<Named> {
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

    fn tables(&self) -> Vec<Named> {
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

    fn extents(&self) -> Vec<Named> {
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

    /// The snapshot with the plaintext of one part altered by one who has the keys.
    fn reforged(
        &self,
        outcome: &str,
        note: &str,
        part: u8,
        mark: bool,
        alter: impl Fn(&mut Vec<u8>),
    ) -> Vector {
        let middle = second::keyring_len(&self.snapshot);
        let (wrapped, body) = self.snapshot.split_at(middle);
        let mut altered = self.snapshot.clone();
        if part == second::KEYRING {
            let secret = second::wrapping(&BACKUP_KEY, &wrapped[32..64]);
            let mut plain = second::open(&secret, part, wrapped);
            alter(&mut plain);
            altered[..middle]
                .copy_from_slice(&second::seal_like(wrapped, &secret, part, &plain, mark));
        } else {
            let mut plain = second::open(&self.data, second::SNAPSHOT, body);
            alter(&mut plain);
            altered[middle..]
                .copy_from_slice(&second::seal_like(body, &self.data, part, &plain, mark));
        }
        vector(outcome, "snapshot", note)
            .with("file", &self.golden.snapshot_path)
            .difference(&self.snapshot, &altered)
    }

    fn snapshots(&self) -> Vec<Named> {
        let v = |outcome, note| {
            vector(outcome, "snapshot", note).with("file", &self.golden.snapshot_path)
        };
        let all = self.snapshot.len();
        let middle = second::keyring_len(&self.snapshot);
        let other = "11".repeat(32);
        let set = |at: usize, bytes: &'static [u8]| {
            move |plain: &mut Vec<u8>| plain[at..at + bytes.len()].copy_from_slice(bytes)
        };
        let last = |plain: &mut Vec<u8>| *plain.last_mut().unwrap() = 1;
        let (ring, body) = (second::KEYRING, second::SNAPSHOT);
        vec![
            ("snapshot-ok", v("ok", "The golden store's snapshot.")),
            (
                "snapshot-other-key",
                v("wrong-key", "Another backup key.").with("backup-key", "44".repeat(32)),
            ),
            (
                "snapshot-one-bit-key",
                v("wrong-key", "One bit of the backup key.")
                    .with("backup-key", hex(&BACKUP_KEY).replacen("74", "75", 1)),
            ),
            (
                "snapshot-renamed",
                v("renamed", "Under another name.").with("under", &other),
            ),
            (
                "snapshot-body-renamed",
                v("renamed", "The body of another snapshot.")
                    .with("edit", format!("{} {other}", middle + 32)),
            ),
            (
                "snapshot-other-store",
                v("wrong-store", "Read for another store.").with("store", "22".repeat(16)),
            ),
            (
                "snapshot-later-version",
                v("unknown-version", "Version 2.").with("edit", "4 0200"),
            ),
            (
                "snapshot-empty",
                v("truncated", "An empty file.").with("cut", 0),
            ),
            (
                "snapshot-keyring-only",
                v("truncated", "Only its keyring.").with("cut", middle),
            ),
            (
                "snapshot-cut",
                v("truncated", "One byte short.").with("cut", all - 1),
            ),
            (
                "snapshot-grown",
                v("extended", "One page long.").with("grow", 4096),
            ),
            (
                "snapshot-huge",
                v("snapshot-too-long", "Longer than any.").with("grow", 131_072),
            ),
            (
                "snapshot-keyring-altered",
                v("frame-altered", "A byte of the keyring.").with("edit", "200 00ff"),
            ),
            (
                "snapshot-body-altered",
                v("frame-altered", "Its last bytes.").with("edit", format!("{} 00ff", all - 2)),
            ),
            (
                "snapshot-body-commitment",
                v("wrong-key", "The body's commitment.")
                    .with("edit", format!("{} 00ff", middle + 64)),
            ),
            (
                "snapshot-old-epoch",
                v("epoch-too-low", "Epoch 2 is known.").with("floor", 2),
            ),
            (
                "keyring-unmarked",
                self.reforged(
                    "last-mark-missing",
                    "The keyring's frame is not its last.",
                    ring,
                    false,
                    |_| {},
                ),
            ),
            (
                "keyring-no-epochs",
                self.reforged("keyring-malformed", "No epochs.", ring, true, set(68, &[0])),
            ),
            (
                "keyring-other-current",
                self.reforged(
                    "keyring-malformed",
                    "The current epoch is not the last.",
                    ring,
                    true,
                    set(0, &[7]),
                ),
            ),
            (
                "keyring-padding",
                self.reforged(
                    "bad-padding",
                    "The keyring's last byte is set.",
                    ring,
                    true,
                    last,
                ),
            ),
            (
                "snapshot-unmarked",
                self.reforged(
                    "last-mark-missing",
                    "The body's frame is not its last.",
                    body,
                    false,
                    |_| {},
                ),
            ),
            (
                "snapshot-as-index",
                self.reforged(
                    "wrong-kind",
                    "The body is sealed as index.",
                    second::INDEX,
                    true,
                    |_| {},
                ),
            ),
            (
                "snapshot-other-self",
                self.reforged(
                    "snapshot-malformed",
                    "It calls itself by another name.",
                    body,
                    true,
                    set(16, &[0; 32]),
                ),
            ),
            (
                "snapshot-sequence-0",
                self.reforged("snapshot-malformed", "Number 0.", body, true, set(48, &[0])),
            ),
            (
                "snapshot-orphan",
                self.reforged(
                    "snapshot-malformed",
                    "Number 2, with no predecessor.",
                    body,
                    true,
                    set(48, &[2]),
                ),
            ),
            (
                "snapshot-flags",
                self.reforged(
                    "snapshot-malformed",
                    "An unknown flag.",
                    body,
                    true,
                    set(80, &[2]),
                ),
            ),
            (
                "snapshot-completeness",
                self.reforged(
                    "snapshot-malformed",
                    "Neither complete nor partial.",
                    body,
                    true,
                    set(81, &[2]),
                ),
            ),
            (
                "snapshot-many-parents",
                self.reforged(
                    "snapshot-malformed",
                    "17 predecessors.",
                    body,
                    true,
                    set(82, &[17]),
                ),
            ),
            (
                "snapshot-padding",
                self.reforged(
                    "bad-padding",
                    "The body's last byte is set.",
                    body,
                    true,
                    last,
                ),
            ),
        ]
    }

    fn nodes(&self) -> Vec<Named> {
        let digest = |raw: &[u8]| *node_ref(&self.golden.keyring, raw).digest.as_bytes();
        // A leaf of folders: no packs, then keys with empty stats.
        let leaf = |keys: &[&[u8]]| {
            let mut raw = vec![0, 0, keys.len() as u8];
            for key in keys {
                raw.push(key.len() as u8);
                raw.extend_from_slice(key);
                raw.extend_from_slice(&[3, 0, 0, 0, 0, 0, 0]);
            }
            raw
        };
        // Nodes above: one pack of zeros; a child at place 0, offset 0, length 1.
        let above = |level: u8, children: &[(&[u8], &[u8])]| {
            let mut raw = vec![level, 1];
            raw.extend_from_slice(&[0; 32]);
            raw.push(children.len() as u8);
            for (key, child) in children {
                raw.push(key.len() as u8);
                raw.extend_from_slice(key);
                raw.extend_from_slice(&[0, 0, 1, child.len() as u8]);
                raw.extend_from_slice(&digest(child));
            }
            raw
        };
        let v = |outcome, note, nodes: &[&[u8]]| {
            let start = vector(outcome, "tree", note);
            nodes
                .iter()
                .fold(start, |vector, raw| vector.with("node", hex(raw)))
        };
        let (ab, c) = (leaf(&[b"a", b"b"]), leaf(&[b"c"]));
        let two = above(1, &[(b"a", &ab), (b"c", &c)]);
        let file = |stat_size: u8, place: u8, len: u8| {
            let mut raw = vec![0, 1];
            raw.extend_from_slice(&[7; 32]);
            raw.extend_from_slice(&[1, 1, b'f', 1, stat_size, 0, 0, 0, 0, 0]);
            raw.extend_from_slice(&[9; 32]);
            raw.extend_from_slice(&[0, 1, place, 0, len]);
            raw
        };
        let long_key = [
            &[0, 0, 1, 0x81, 0x20][..],
            &[b'k'; 4097],
            &[3, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        let with_tail = |raw: &[u8], tail: &[u8]| [raw, tail].concat();
        vec![
            ("tree-leaf-ok", v("ok", "Two folders.", &[&ab])),
            (
                "tree-two-levels-ok",
                v("ok", "Two leaves and their parent.", &[&ab, &c, &two]),
            ),
            (
                "tree-file-ok",
                v("ok", "A file of one extent.", &[&file(5, 0, 5)]),
            ),
            (
                "tree-level-10",
                v(
                    "node-too-deep",
                    "A level that no tree has.",
                    &[&with_tail(&[10], &ab[1..])],
                ),
            ),
            (
                "tree-level-skipped",
                v(
                    "node-too-deep",
                    "A leaf two levels down.",
                    &[&ab, &c, &with_tail(&[2], &two[1..])],
                ),
            ),
            (
                "tree-equal-keys",
                v("node-unsorted", "One key twice.", &[&leaf(&[b"a", b"a"])]),
            ),
            (
                "tree-falling-keys",
                v("node-unsorted", "Keys that fall.", &[&leaf(&[b"b", b"a"])]),
            ),
            (
                "tree-child-begins-early",
                v(
                    "node-unsorted",
                    "A child that begins before its key.",
                    &[&ab, &above(1, &[(b"aa", &ab)])],
                ),
            ),
            (
                "tree-child-ends-late",
                v(
                    "node-unsorted",
                    "A child that reaches into the next.",
                    &[&ab, &c, &above(1, &[(b"a", &ab), (b"b", &c)])],
                ),
            ),
            (
                "tree-same-child-twice",
                v(
                    "node-unsorted",
                    "One child at two keys.",
                    &[&ab, &above(1, &[(b"a", &ab), (b"c", &ab)])],
                ),
            ),
            (
                "tree-missing-child",
                v("node-swapped", "A child that is not there.", &[&c, &two]),
            ),
            (
                "tree-empty-leaf",
                v("node-malformed", "A leaf of nothing.", &[&leaf(&[])]),
            ),
            (
                "tree-trailing",
                v(
                    "node-malformed",
                    "A byte after the last.",
                    &[&with_tail(&ab, &[0])],
                ),
            ),
            (
                "tree-cut",
                v(
                    "node-malformed",
                    "The last byte is missing.",
                    &[&ab[..ab.len() - 1]],
                ),
            ),
            (
                "tree-huge-count",
                v(
                    "node-malformed",
                    "A count of 2^34.",
                    &[&[0, 0, 0x80, 0x80, 0x80, 0x80, 0x40]],
                ),
            ),
            (
                "tree-huge-table",
                v(
                    "node-malformed",
                    "A table of 2^34 packs.",
                    &[&[0, 0x80, 0x80, 0x80, 0x80, 0x40]],
                ),
            ),
            (
                "tree-long-number",
                v(
                    "node-malformed",
                    "A count spelled in two bytes that fits one.",
                    &[&[0, 0x80, 0x00, 0]],
                ),
            ),
            (
                "tree-unknown-entry",
                v(
                    "node-malformed",
                    "An entry of kind 5.",
                    &[&[0, 0, 1, 1, b'a', 5, 0, 0, 0, 0, 0, 0]],
                ),
            ),
            (
                "tree-extents-short",
                v(
                    "node-malformed",
                    "Extents hold less than the size.",
                    &[&file(6, 0, 5)],
                ),
            ),
            (
                "tree-extent-empty",
                v(
                    "node-malformed",
                    "An extent of no bytes.",
                    &[&file(0, 0, 0)],
                ),
            ),
            (
                "tree-no-such-pack",
                v(
                    "node-malformed",
                    "A place outside the table.",
                    &[&file(5, 1, 5)],
                ),
            ),
            (
                "tree-parent-path",
                v(
                    "bad-path",
                    "A path that leaves the source.",
                    &[&leaf(&[b"a\0..\0b"])],
                ),
            ),
            (
                "tree-absolute-path",
                v(
                    "bad-path",
                    "A path with a slash.",
                    &[&leaf(&[b"/etc/passwd"])],
                ),
            ),
            (
                "tree-long-path",
                v("bad-path", "A path of 4,097 bytes.", &[&long_key]),
            ),
        ]
    }

    fn small(&self) -> Vec<Named> {
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
