//! Nodes of the file tree.

use super::{Maker, Named, vector};
use crate::run::node_ref;
use crate::vector::hex;

impl Maker {
    pub(super) fn nodes(&self) -> Vec<Named> {
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
        let (ab, b, c) = (leaf(&[b"a", b"b"]), leaf(&[b"b"]), leaf(&[b"c"]));
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
                    &[&ab, &b, &above(1, &[(b"a", &ab), (b"b", &b)])],
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
}
