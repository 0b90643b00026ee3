//! Writes `testdata/golden-host.txt` anew: records and messages, and what comes of each.
//!
//! Only when the bytes are meant to change; the tests hold the code to the file.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a file that cannot be made is not made"
)]

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use keyhaven_testkit::entropy::SeededEntropy;
use keyhaven_testkit::vault::{Person, VaultWorld};
use keyhaven_vault_core::{Member, NodeKey, Quorum, Term, dangerous};
use keyhaven_vault_host::{Message, Puts, Record};

const HEAD: &str = "\
# What hosts keep and send, and what is refused: a name, what comes of it, the bytes in hexadecimal.
# `record/` is decoded as a record, everything else as a message. See docs/host-bytes.md.
";

struct File(String);

impl File {
    fn add(&mut self, name: &str, outcome: &str, bytes: &[u8]) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(self.0, "{name} {outcome} {hex}").unwrap();
    }

    fn message(&mut self, name: &str, message: &Message) -> Vec<u8> {
        let bytes = message.encode().unwrap();
        self.add(name, "whole", &bytes);
        bytes
    }
}

fn main() {
    let mut file = File(HEAD.to_owned());
    let mut world = VaultWorld::group(7, Quorum::THREE);
    let alice = Person::new(&mut world, "alice");
    let _ = alice.standing(&mut world);
    let batch = world.store().clone();
    let gone = world.memory_at(2).member();
    let come = world.forget(2);
    world.replace(gone, come).unwrap();
    let entries = world.log().to_vec();
    let last = *entries.last().unwrap();

    // Records: of one batch, of a change of members, and one that carries a dead leader's entry.
    let of = |entries: &[_], puts: Puts| Record {
        entries: entries.to_vec(),
        puts,
    };
    let one = of(&entries[1..2], batch.clone());
    let replaced = of(&entries[2..], Puts::new());
    let carried = of(&entries[1..], batch);
    for (name, record) in [
        ("record/batch", &one),
        ("record/replaced", &replaced),
        ("record/carried", &carried),
    ] {
        file.add(name, "whole", &record.encode().unwrap());
    }
    let key = |at: u8| NodeKey::from_bytes([at; NodeKey::BYTES]);
    let small = of(
        &entries[2..],
        Puts::from([(key(1), vec![4]), (key(2), vec![])]),
    );
    let small = small.encode().unwrap();
    file.add("record/small-puts", "whole", &small);

    let mut candidate = dangerous::copy(world.core_at(1));
    let call = candidate
        .stand(last.term(), &mut SeededEntropy::new(5))
        .unwrap();
    let report = dangerous::copy(world.core_at(0)).promise(&call).unwrap();
    let blank = Message::Report(Box::new(report));
    let report = file.message("report", &blank);
    let call = file.message("call", &Message::Call(call));
    let capture = world.captures(&last)[0];
    let capture = file.message("captured", &Message::Captured(capture));
    let newer = file.message("newer", &Message::Newer(Term::new(258)));
    file.message("alive", &Message::Alive(Term::new(u64::MAX)));
    let need = file.message("need", &Message::Need(last.mac()));
    let shown = file.message("record-shown", &Message::Record(Arc::new(replaced.clone())));
    let tail = |record| Message::Tail {
        last: last.mac(),
        record,
    };
    let without = file.message("tail-none", &tail(None));
    let with = file.message("tail", &tail(Some(Arc::new(replaced.clone()))));
    let admit = Message::Admit {
        go: Member::from_bytes([0xa1; 16]),
        come: Member::from_bytes([0xa2; 16]),
    };
    let admit = file.message("admit", &admit);

    refused_records(&mut file, &replaced.encode().unwrap(), &small);
    let mut refuse = |name: &str, outcome: &str, bytes: &[u8], change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.to_vec();
        change(&mut bytes);
        file.add(name, outcome, &bytes);
    };
    refuse("nothing", "Truncated", &[], &|_| ());
    refuse("version-0", "Version", &newer, &|m| m[0] = 0);
    refuse("version-2", "Version", &newer, &|m| m[0] = 2);
    refuse("no-kind", "Truncated", &newer, &|m| m.truncate(1));
    refuse("kind-9", "Kind", &newer, &|m| m[1] = 9);
    refuse("kind-255", "Kind", &newer, &|m| m[1] = 255);
    refuse("newer-short", "Truncated", &newer, &|m| m.truncate(9));
    refuse("newer-long", "Trailing", &newer, &|m| m.push(0));
    refuse("call-short", "Truncated", &call, &|m| m.truncate(74));
    refuse("call-version", "Log", &call, &|m| m[2] = 1);
    refuse("call-long", "Trailing", &call, &|m| m.push(0));
    refuse("report-head-mark", "Log", &report, &|m| m[2 + 89] = 2);
    refuse("report-version", "Log", &report, &|m| m[2] = 0);
    refuse("captured-version", "Log", &capture, &|m| m[2] = 3);
    refuse("captured-long", "Trailing", &capture, &|m| m.push(1));
    refuse("need-short", "Truncated", &need, &|m| m.truncate(33));
    refuse("admit-one-name", "Truncated", &admit, &|m| m.truncate(18));
    refuse("tail-no-mark", "Truncated", &without, &|m| m.truncate(34));
    refuse("tail-mark-2", "Mark", &without, &|m| m[34] = 2);
    refuse("tail-none-and-record", "Trailing", &with, &|m| m[34] = 0);
    refuse("tail-mark-alone", "Truncated", &without, &|m| m[34] = 1);
    refuse("tail-record-version", "Version", &with, &|m| m[35] = 2);
    refuse("tail-long", "Trailing", &with, &|m| m.push(0));
    refuse("record-shown-empty", "Empty", &shown, &|m| m[4] = 0);
    refuse("record-shown-short", "Truncated", &shown, &|m| {
        m.truncate(m.len() - 1);
    });

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden-host.txt");
    std::fs::write(path, file.0).unwrap();
}

fn refused_records(file: &mut File, plain: &[u8], puts: &[u8]) {
    // Where the first put begins, and the second: keys of 34 bytes, then two of length.
    let (first, second) = (7 + 360, 7 + 360 + 34 + 2 + 1);
    let mut refuse = |name: &str, outcome: &str, bytes: &[u8], change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.to_vec();
        change(&mut bytes);
        file.add(&format!("record/{name}"), outcome, &bytes);
    };
    refuse("nothing", "Truncated", &[], &|_| ());
    refuse("version-0", "Version", plain, &|r| r[0] = 0);
    refuse("version-2", "Version", plain, &|r| r[0] = 2);
    refuse("no-counts", "Truncated", plain, &|r| r.truncate(3));
    refuse("no-entries", "Empty", plain, &|r| r[2] = 0);
    refuse("no-entries-and-none-there", "Empty", plain, &|r| {
        r[2] = 0;
        r.truncate(7);
    });
    refuse("two-entries-and-one-there", "Truncated", plain, &|r| {
        r[2] = 2
    });
    refuse("entries-1024", "Truncated", plain, &|r| {
        r[1..3].copy_from_slice(&[4, 0])
    });
    refuse("entries-1025", "TooLarge", plain, &|r| {
        r[1..3].copy_from_slice(&[4, 1])
    });
    refuse("entries-65535", "TooLarge", plain, &|r| r[1..3].fill(255));
    refuse("one-put-and-none-there", "Truncated", plain, &|r| r[6] = 1);
    refuse("puts-65536", "Truncated", plain, &|r| {
        r[3..7].copy_from_slice(&[0, 1, 0, 0]);
    });
    refuse("puts-65537", "TooLarge", plain, &|r| {
        r[3..7].copy_from_slice(&[0, 1, 0, 1]);
    });
    refuse("puts-most", "TooLarge", plain, &|r| r[3..7].fill(255));
    refuse("entry-version", "Log", plain, &|r| r[7] = 1);
    refuse("entry-members", "Log", plain, &|r| r[7 + 21] = 8);
    refuse("one-put-of-two", "Trailing", puts, &|r| r[6] = 1);
    refuse("put-1664-and-none-there", "Truncated", puts, &|r| {
        r[first + 34..][..2].copy_from_slice(&1664_u16.to_be_bytes());
    });
    refuse("put-1665", "TooLarge", puts, &|r| {
        r[first + 34..][..2].copy_from_slice(&1665_u16.to_be_bytes());
    });
    refuse("put-65535", "TooLarge", puts, &|r| {
        r[first + 34..][..2].fill(255)
    });
    refuse("one-key-twice", "Order", puts, &|r| {
        r[second..][..34].fill(1)
    });
    refuse("keys-fall", "Order", puts, &|r| r[second..][..34].fill(0));
    refuse("long", "Trailing", puts, &|r| r.push(0));
    refuse("short", "Truncated", puts, &|r| r.truncate(r.len() - 1));
}
