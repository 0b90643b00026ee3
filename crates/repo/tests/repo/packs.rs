//! Packs: BACKUP-1, BACKUP-4, BACKUP-5, BACKUP-8.

use keyhaven_repo::keyring::Keyring;
use keyhaven_repo::layout::{Extent, SizeClass};
use keyhaven_repo::names::{PackName, StoreId};
use keyhaven_repo::object::{ObjectError, ObjectKind};
use keyhaven_repo::pack::{
    ExtentKind, OpenPack, PackBuffer, PackBuilder, PackError, PackKind, PackReader, SealedPack,
};
use keyhaven_testkit::entropy::SeededEntropy;
use proptest::prelude::*;

use crate::world::{content, keyring, noise};

fn begin(seed: u64, kind: PackKind) -> PackBuilder {
    PackBuilder::begin(PackBuffer::new(), kind, &mut SeededEntropy::new(seed))
}

fn small(keyring: &Keyring) -> (SealedPack, Extent) {
    let mut pack = begin(7, PackKind::Messages);
    let extent = pack
        .append(
            b"one page",
            ExtentKind::PageFrame,
            content(3).extent_digest(),
        )
        .unwrap();
    (pack.seal(keyring).unwrap(), extent)
}

fn open(sealed: &SealedPack, keyring: &Keyring, object: Vec<u8>) -> Result<OpenPack, PackError> {
    OpenPack::open(sealed.name(), sealed.kind(), keyring, object)
}

/// Fills a pack through `spare_mut` and `advance`, as the engine reads files.
fn fill(pack: &mut PackBuilder, mut bytes: &[u8]) -> usize {
    let mut taken = 0;
    loop {
        let spare = pack.spare_mut();
        let n = spare.len().min(bytes.len());
        if n == 0 {
            return taken;
        }
        spare[..n].copy_from_slice(&bytes[..n]);
        assert_eq!(pack.advance(n), &bytes[..n]);
        bytes = &bytes[n..];
        taken += n;
    }
}

/// BACKUP-1: an open pack gives back what was closed in it, and nothing else.
#[test]
fn an_open_pack_gives_back_its_own_closed_extents_alone() {
    let mut pack = begin(8, PackKind::Index);
    let mut append = |bytes: &[u8]| {
        let digest = content(4).extent_digest();
        pack.append(bytes, ExtentKind::TreeNode, digest).unwrap()
    };
    let (one, two) = (append(b"one"), append(b"second"));
    assert_eq!(pack.closed_extent(&one), Some(b"one".as_slice()));
    assert_eq!(pack.closed_extent(&two), Some(b"second".as_slice()));
    fill(&mut pack, b"open");
    let others = [
        Extent { len: 7, ..two },
        Extent {
            offset: 9,
            len: 4,
            ..two
        },
        Extent {
            offset: u32::MAX,
            ..two
        },
        Extent {
            pack: PackName::from_bytes([9; 32]),
            ..two
        },
    ];
    for other in others {
        assert_eq!(pack.closed_extent(&other), None, "{other:?}");
    }
}

/// BACKUP-1, BACKUP-8.
#[test]
fn extents_come_back_exactly_from_every_size_class() {
    let keyring = keyring(1);
    let mut buffer = PackBuffer::new();
    for class in SizeClass::LADDER {
        let want = class.layout().plain_len() as usize - 33 - 40_000;
        let first = noise(1, want - 25);
        let second = noise(2, 39_000);
        let mut pack = PackBuilder::begin(buffer, PackKind::Media, &mut SeededEntropy::new(2));
        assert_eq!(fill(&mut pack, &first), first.len());
        let one = pack
            .end_extent(ExtentKind::File, content(1).extent_digest())
            .unwrap();
        let two = pack
            .append(&second, ExtentKind::File, content(2).extent_digest())
            .unwrap();
        let sealed = pack.seal(&keyring).unwrap();
        assert_eq!(sealed.class(), class);
        assert_eq!(sealed.bytes().len(), class.object_bytes() as usize);

        let opened = open(&sealed, &keyring, sealed.bytes().to_vec()).unwrap();
        for (extent, bytes) in [(one, &first), (two, &second)] {
            let mut back = Vec::new();
            opened.copy_extent(&extent, &mut back).unwrap();
            assert!(&back == bytes, "{class:?}");

            let reader = PackReader::new(
                sealed.name(),
                sealed.kind(),
                &keyring,
                &sealed.bytes()[..2144],
            )
            .unwrap();
            let range = reader.range(&extent).unwrap();
            let mut fetched = sealed.bytes()[range.start as usize..range.end as usize].to_vec();
            let back = reader.open(&extent, &mut fetched).unwrap();
            assert!(&fetched[back] == bytes, "{class:?}, read alone");
        }
        assert_eq!(opened.toc().len(), 2);
        buffer = sealed.into_buffer();
    }
}

#[test]
fn a_full_pack_says_so_and_holds_what_it_took() {
    let keyring = keyring(1);
    let mut pack = begin(3, PackKind::Media);
    let bytes = noise(3, 9 << 20);
    let taken = fill(&mut pack, &bytes);
    assert_eq!((pack.room(), pack.spare_mut().len()), (0, 0));
    let extent = pack
        .end_extent(ExtentKind::File, content(1).extent_digest())
        .unwrap();
    assert_eq!(extent.len as usize, taken);
    assert_eq!(
        pack.append(b"x", ExtentKind::File, content(1).extent_digest()),
        None
    );
    let sealed = pack.seal(&keyring).unwrap();
    assert_eq!(sealed.class(), SizeClass::Mib8);
    let opened = open(&sealed, &keyring, sealed.bytes().to_vec()).unwrap();
    let mut back = Vec::new();
    opened.copy_extent(&extent, &mut back).unwrap();
    assert!(back == bytes[..taken]);
}

#[test]
fn a_limited_pack_fills_its_class_and_no_more() {
    let keyring = keyring(1);
    let mut pack = begin(3, PackKind::Messages).limited_to(SizeClass::Mib1);
    while pack
        .append(
            &[7; 1000],
            ExtentKind::PageFrame,
            content(1).extent_digest(),
        )
        .is_some()
    {}
    assert!(pack.room() < 1000);
    assert_eq!(pack.seal(&keyring).unwrap().class(), SizeClass::Mib1);
}

#[test]
fn a_file_that_changed_while_it_was_read_leaves_no_trace() {
    let keyring = keyring(1);
    let mut pack = begin(4, PackKind::Media);
    let kept = pack
        .append(b"kept", ExtentKind::File, content(1).extent_digest())
        .unwrap();
    fill(&mut pack, &[0xee; 100_000]);
    pack.discard_open();
    assert_eq!(
        pack.end_extent(ExtentKind::File, content(2).extent_digest()),
        None
    );
    fill(&mut pack, &[0xdd; 70_000]);
    let sealed = pack.seal(&keyring).unwrap();
    let opened = open(&sealed, &keyring, sealed.bytes().to_vec()).unwrap();
    assert_eq!(opened.toc().len(), 1, "an open extent is left out");
    let outside = Extent {
        len: kept.len + 1,
        ..kept
    };
    assert_eq!(opened.extent(&outside).unwrap_err(), PackError::NotHere);
    let plain = opened.into_buffer();
    assert!(
        !plain
            .windows(16)
            .any(|run| run == [0xee; 16] || run == [0xdd; 16])
    );
}

/// BACKUP-4: every byte, flipped once, is noticed, and no flip panics.
#[test]
fn no_altered_byte_of_an_object_is_accepted() {
    let keyring = keyring(1);
    let (sealed, _) = small(&keyring);
    let step = if cfg!(debug_assertions) { 4099 } else { 97 };
    let all = sealed.bytes().len();
    let places = (0..200)
        .chain((200..all).step_by(step))
        .chain(all - 100..all);
    for at in places {
        let mut object = sealed.bytes().to_vec();
        object[at] ^= 1 << (at % 8);
        let error = open(&sealed, &keyring, object).expect_err("an altered byte");
        let found = error.outcome();
        let frame = match at {
            0..160 => (at.saturating_sub(96) / 16) as u32,
            _ => ((at - 160) / 65_536) as u32,
        };
        match at {
            0..4 => assert_eq!(found, "not-keyhaven"),
            4..6 => assert_eq!(found, "unknown-version"),
            6 => assert_eq!(found, "unknown-suite"),
            7 => assert_eq!(found, "bad-header"),
            8..12 => assert_eq!(found, "unknown-epoch"),
            12..16 => assert!(["truncated", "extended", "bad-header"].contains(&found)),
            16..32 => assert_eq!(found, "wrong-store"),
            32..64 => assert_eq!(found, "renamed"),
            64..96 => assert_eq!(found, "wrong-key"),
            _ => assert_eq!(
                error,
                PackError::Object(ObjectError::FrameAltered { frame })
            ),
        }
    }
}

/// BACKUP-4.
#[test]
fn no_shorter_or_longer_object_is_accepted() {
    let keyring = keyring(1);
    let (sealed, _) = small(&keyring);
    let all = sealed.bytes().len();
    for len in (0..300).chain((300..all).step_by(9973)).chain([all - 1]) {
        let error = open(&sealed, &keyring, sealed.bytes()[..len].to_vec()).unwrap_err();
        assert_eq!(error.outcome(), "truncated", "{len}");
    }
    for more in [1, 16, 65_552, all] {
        let mut object = sealed.bytes().to_vec();
        object.resize(all + more, 0);
        assert_eq!(
            open(&sealed, &keyring, object).unwrap_err().outcome(),
            "extended"
        );
    }
    // A store that also rewrites the length in the header breaks the key commitment.
    let mut object = sealed.bytes().to_vec();
    object.resize(512 * 1024, 0);
    object[12..16].copy_from_slice(&(512_u32 * 1024).to_le_bytes());
    assert_eq!(
        open(&sealed, &keyring, object).unwrap_err().outcome(),
        "wrong-key"
    );
}

/// BACKUP-4.
#[test]
fn an_object_opens_only_as_what_and_where_it_was_sealed() {
    let keyring = keyring(1);
    let (sealed, extent) = small(&keyring);
    let object = || sealed.bytes().to_vec();
    assert_eq!(
        OpenPack::open(sealed.name(), PackKind::Index, &keyring, object()).unwrap_err(),
        PackError::Object(ObjectError::WrongKind {
            expected: ObjectKind::Index,
            found: ObjectKind::Messages
        })
    );
    let any = OpenPack::open_any(sealed.name(), &keyring, object()).unwrap();
    assert_eq!(any.kind(), PackKind::Messages);
    let other = PackName::from_bytes([1; 32]);
    let renamed = OpenPack::open(other, PackKind::Messages, &keyring, object()).unwrap_err();
    assert_eq!(renamed.outcome(), "renamed");
    // Renamed inside as well: the name salts the subkey.
    let mut inside = object();
    inside[32..64].copy_from_slice(other.as_bytes());
    let renamed = OpenPack::open(other, PackKind::Messages, &keyring, inside).unwrap_err();
    assert_eq!(renamed.outcome(), "wrong-key");
    let elsewhere = Keyring::generate(StoreId::from_bytes([1; 16]), &mut SeededEntropy::new(1));
    assert_eq!(
        open(&sealed, &elsewhere, object()).unwrap_err().outcome(),
        "wrong-store"
    );
    let stranger = crate::world::keyring(99);
    assert_eq!(
        open(&sealed, &stranger, object()).unwrap_err().outcome(),
        "wrong-key"
    );
    let moved = Extent {
        pack: other,
        ..extent
    };
    assert_eq!(any.extent(&moved).unwrap_err(), PackError::NotHere);
}

/// BACKUP-4: also when single extents are read, and other bytes are served than were asked for.
#[test]
fn reading_one_extent_notices_swapped_frames() {
    let keyring = keyring(1);
    let mut pack = begin(5, PackKind::Media);
    fill(&mut pack, &noise(5, 200_000));
    let extent = pack
        .end_extent(ExtentKind::File, content(1).extent_digest())
        .unwrap();
    let sealed = pack.seal(&keyring).unwrap();
    let reader = PackReader::new(
        sealed.name(),
        PackKind::Media,
        &keyring,
        &sealed.bytes()[..2144],
    )
    .unwrap();
    let second = Extent {
        offset: 65_536,
        len: 10,
        ..extent
    };
    let range = reader.range(&second).unwrap();
    assert_eq!((range.start, range.end), (160 + 65_536, 160 + 2 * 65_536));
    let mut swapped = sealed.bytes()[160..160 + 65_536].to_vec();
    assert_eq!(
        reader.open(&second, &mut swapped).unwrap_err(),
        PackError::Object(ObjectError::FrameAltered { frame: 1 })
    );
    let mut short = vec![0; 100];
    assert_eq!(
        reader.open(&second, &mut short).unwrap_err().outcome(),
        "wrong-range"
    );
    let outside = Extent {
        offset: u32::MAX - 1,
        len: 1,
        ..extent
    };
    assert_eq!(reader.range(&outside).unwrap_err(), PackError::NotHere);
}

/// How much of a pack is content is read from its end alone, whatever its kind; of another pack's end nothing is read.
#[test]
fn a_footer_is_read_from_the_end_of_a_pack_of_any_kind() {
    let keyring = keyring(1);
    for (kind, len) in PackKind::ALL.into_iter().zip([1_000, 300_000, 8_000_000]) {
        let mut pack = begin(9, kind);
        fill(&mut pack, &noise(5, len));
        pack.end_extent(ExtentKind::File, content(1).extent_digest());
        let sealed = pack.seal(&keyring).unwrap();
        let start = &sealed.bytes()[..2144];
        let reader = PackReader::new_any(sealed.name(), &keyring, start).unwrap();
        let range = reader.range(&reader.footer()).unwrap();
        let mut end = sealed.bytes()[range.start as usize..range.end as usize].to_vec();
        assert_eq!(range.end, u64::from(sealed.class().object_bytes()));
        let bytes = reader.open(&reader.footer(), &mut end).unwrap();
        let bytes = &end[bytes];
        let footer = reader.read_footer(bytes).unwrap();
        assert_eq!(footer, sealed.footer());
        let content = u32::try_from(len).unwrap();
        assert_eq!((footer.content_len, footer.entries), (content, 1));
        let plain = sealed.class().layout().plain_len();
        assert_eq!(footer.padding(sealed.class()), Some(plain - content - 33));
        assert!(reader.read_footer(&[0xff; 8]).is_err());
        assert!(reader.read_footer(&bytes[1..]).is_err());
    }
    let (sealed, _) = small(&keyring);
    let other = PackName::from_bytes([9; 32]);
    assert!(PackReader::new_any(other, &keyring, sealed.bytes()).is_err());
}

/// BACKUP-5: two packs of the same content share neither name nor any ciphertext; sealing twice is
/// not even possible, because sealing consumes the builder.
#[test]
fn the_same_content_is_never_sealed_alike() {
    let keyring = keyring(1);
    let mut entropy = SeededEntropy::new(6);
    let mut made = Vec::new();
    let mut buffer = PackBuffer::new();
    for _ in 0..4 {
        let mut pack = PackBuilder::begin(buffer, PackKind::Index, &mut entropy);
        pack.append(&[7; 1000], ExtentKind::TreeNode, content(1).extent_digest())
            .unwrap();
        let sealed = pack.seal(&keyring).unwrap();
        made.push((sealed.name(), sealed.bytes().to_vec()));
        buffer = sealed.into_buffer();
    }
    for (at, one) in made.iter().enumerate() {
        for other in &made[at + 1..] {
            assert_ne!(one.0, other.0);
            assert_ne!(one.1[160..176], other.1[160..176]);
            assert_ne!(one.1[64..96], other.1[64..96]);
        }
    }
}

/// BACKUP-8: what is in a pack does not show in its length beyond the class, and the rest of a used
/// buffer does not leak into the next pack.
#[test]
fn lengths_are_classes_and_padding_is_clean() {
    let keyring = keyring(1);
    let mut entropy = SeededEntropy::new(8);
    let mut pack = PackBuilder::begin(PackBuffer::new(), PackKind::Media, &mut entropy);
    fill(&mut pack, &[0xaa; 3 << 20]);
    pack.end_extent(ExtentKind::File, content(1).extent_digest())
        .unwrap();
    let buffer = pack.seal(&keyring).unwrap().into_buffer();
    let mut pack = PackBuilder::begin(buffer, PackKind::Media, &mut entropy);
    pack.append(b"small", ExtentKind::File, content(2).extent_digest())
        .unwrap();
    let sealed = pack.seal(&keyring).unwrap();
    assert_eq!(sealed.class(), SizeClass::Kib256);
    assert!(
        open(&sealed, &keyring, sealed.bytes().to_vec()).is_ok(),
        "padding is zeros"
    );
}

#[test]
fn objects_of_an_older_epoch_stay_readable() {
    let mut keyring = keyring(1);
    let (sealed, _) = small(&keyring);
    let old = keyring.clone();
    keyring.begin_epoch(&mut SeededEntropy::new(9)).unwrap();
    assert!(open(&sealed, &keyring, sealed.bytes().to_vec()).is_ok());
    let (newer, _) = small(&keyring);
    assert_eq!(
        open(&newer, &old, newer.bytes().to_vec())
            .unwrap_err()
            .outcome(),
        "unknown-epoch"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A1: no bytes make the decoder panic.
    #[test]
    fn random_objects_never_panic(mut object: Vec<u8>, sound: bool) {
        if sound && object.len() > 8 {
            object[..8].copy_from_slice(b"KHOB\x01\x00\x01\x00");
        }
        let name = PackName::from_bytes([0; 32]);
        prop_assert!(OpenPack::open(name, PackKind::Media, &keyring(1), object).is_err());
    }

    #[test]
    fn extents_of_any_lengths_come_back(lens in proptest::collection::vec(1_usize..90_000, 1..12)) {
        let keyring = keyring(1);
        let mut pack = begin(11, PackKind::Media);
        let bytes = noise(12, 90_000);
        let extents: Vec<_> = lens
            .iter()
            .map(|&len| {
                pack.append(&bytes[..len], ExtentKind::File, content(1).extent_digest()).unwrap()
            })
            .collect();
        let sealed = pack.seal(&keyring).unwrap();
        let opened = open(&sealed, &keyring, sealed.bytes().to_vec()).unwrap();
        for (extent, &len) in extents.iter().zip(&lens) {
            let mut back = Vec::new();
            opened.copy_extent(extent, &mut back).unwrap();
            prop_assert!(back == bytes[..len]);
        }
    }
}
