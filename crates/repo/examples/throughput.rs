//! How fast content goes through hashing and sealing, and back: the inner loop of a backup, with no
//! I/O. Run it with `cargo run --release -p keyhaven-repo --example throughput`.
#![expect(
    clippy::print_stdout,
    clippy::arithmetic_side_effects,
    reason = "a measuring program, not part of the library"
)]

use std::time::{Duration, Instant};

use keyhaven_repo::keyring::Keyring;
use keyhaven_repo::names::StoreId;
use keyhaven_repo::pack::{ExtentKind, OpenPack, PackBuffer, PackBuilder, PackError, PackKind};
use keyhaven_secrets::Entropy;

/// Not random at all: enough for measuring.
struct Counter(u8);

impl Entropy for Counter {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
    }
}

/// The mean size of a media file in the benchmark store.
const FILE_BYTES: usize = 700_001;
const PACKS: u64 = 64;

fn main() -> Result<(), PackError> {
    let mut entropy = Counter(0);
    let keyring = Keyring::generate(StoreId::generate(&mut entropy), &mut entropy);
    let mut hasher = keyring.content_hasher();
    let mut buffer = PackBuffer::new();
    let (mut hashing, mut sealing, mut opening) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let mut bytes = 0_u64;
    for _ in 0..PACKS {
        let mut pack = PackBuilder::begin(buffer, PackKind::Media, &mut entropy);
        let mut left = FILE_BYTES;
        let start = Instant::now();
        loop {
            let spare = pack.spare_mut();
            let now = spare.len().min(left);
            if now == 0 && left > 0 {
                break;
            }
            hasher.update(pack.advance(now));
            left -= now;
            if left == 0 {
                let id = hasher.finish();
                hasher.reset();
                pack.end_extent(ExtentKind::File, id.extent_digest());
                left = FILE_BYTES;
            }
        }
        hashing += start.elapsed();
        let start = Instant::now();
        let sealed = pack.seal(&keyring)?;
        sealing += start.elapsed();
        bytes += u64::from(sealed.class().object_bytes());
        let object = sealed.bytes().to_vec();
        let start = Instant::now();
        let open = OpenPack::open(sealed.name(), PackKind::Media, &keyring, object)?;
        opening += start.elapsed();
        drop(open);
        buffer = sealed.into_buffer();
    }
    for (what, time) in [
        ("hash", hashing),
        ("seal", sealing),
        ("hash + seal", hashing + sealing),
        ("open", opening),
    ] {
        let rate = u128::from(bytes) * 1000 / time.as_nanos().max(1);
        println!("{what:12} {rate:>6} MB/s");
    }
    Ok(())
}
