//! Making the vectors of version 1. They were made once; this stays so that anyone can see how, and
//! so that vectors can be added. What is there is never rewritten: the golden store would be another.

mod packs;
mod small;
mod snapshots;
mod trees;

use std::fs;

use keyhaven_repo::pack::PackKind;

use crate::golden::{self, BACKUP_KEY, Golden};
use crate::second::{self, Secret};
use crate::vector::{Vector, folder};

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
        let mut checked = fs::read(folder().join("store/keyhaven")).unwrap();
        checked.truncate(32);
        checked[8] = 2;
        let later = format!("32 {}", blake3::hash(&checked).to_hex());
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
                v("unknown-version", "Version 2.")
                    .with("edit", "8 0200")
                    .with("edit", later),
            ),
            (
                "marker-other-version",
                v("damaged", "Version 2, with the checksum of version 1.").with("edit", "8 0200"),
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
}
