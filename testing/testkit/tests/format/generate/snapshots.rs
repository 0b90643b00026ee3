//! Snapshots and the keyrings in them.

use super::{Maker, Named, vector};
use crate::golden::BACKUP_KEY;
use crate::second;
use crate::vector::{Vector, hex};

impl Maker {
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

    pub(super) fn snapshots(&self) -> Vec<Named> {
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
}
