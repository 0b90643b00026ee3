//! Whose folder it is.

use std::fs;
use std::path::Path;

use keyhaven_source::{Opening, Profile};

use crate::world::{Make, make};

fn put(root: &Path, files: &[(&str, &str)]) {
    for (name, content) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

fn database(root: &Path, name: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    drop(make(
        &path,
        Make {
            rows: 3,
            ..Make::default()
        },
    ));
}

fn noise(root: &Path, name: &str) {
    let mut bytes = vec![0; 4096];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
    fs::write(root.join(name), bytes).unwrap();
}

/// An unrooted phone has only files that WhatsApp sealed: that is said before the first backup.
#[test]
fn a_phone_with_sealed_files_is_told_as_one() {
    for place in ["", "WhatsApp/", "Android/media/com.whatsapp/WhatsApp/"] {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            "Databases/msgstore.db.crypt15",
            "Databases/msgstore-2026-03-01.1.db.crypt15",
            "Backups/wa.db.crypt15",
            "Backups/chatsettingsbackup.json",
            "Media/WhatsApp Images/IMG-1.jpg",
        ];
        for file in files {
            put(folder.path(), &[(&format!("{place}{file}"), "x")]);
        }
        let found = Profile::detect(folder.path());
        assert_eq!(
            (found.profile, found.opening),
            (Profile::WhatsAppAndroid, Opening::WhatsAppKey)
        );
        assert_eq!(found.messages.len(), 3);
        assert_eq!(found.media.len(), 1);
        assert_eq!(found.within.is_none(), place.is_empty());
        assert!(found.opening.explain().contains("cannot open them for you"));
    }
}

#[test]
fn programs_are_told_apart() {
    let told = |build: &dyn Fn(&Path)| {
        let folder = tempfile::tempdir().unwrap();
        build(folder.path());
        let found = Profile::detect(folder.path());
        (found.profile, found.opening, found.messages.len())
    };
    assert_eq!(
        told(&|root| {
            database(root, "databases/msgstore.db");
            database(root, "databases/wa.db");
        }),
        (Profile::WhatsAppAndroidRooted, Opening::Nothing, 2)
    );
    assert_eq!(
        told(&|root| {
            noise(root, "sql/db.sqlite");
            put(root, &[("config.json", r#"{"encryptedKey": "7631"}"#)]);
        }),
        (Profile::SignalDesktop, Opening::ThisComputersKeyring, 1)
    );
    assert_eq!(
        told(&|root| {
            noise(root, "sql/db.sqlite");
            put(root, &[("config.json", r#"{"key": "00ff"}"#)]);
        }),
        (Profile::SignalDesktop, Opening::KeyBesideIt, 1)
    );
    assert_eq!(
        told(&|root| put(
            root,
            &[(
                "result.json",
                r#"{"name": "A", "type": "personal_chat", "id": 1, "messages": []}"#
            )]
        )),
        (Profile::TelegramExport, Opening::Nothing, 1)
    );
    assert_eq!(
        told(&|root| put(
            root,
            &[
                ("messages.html", ""),
                ("css/style.css", ""),
                ("photos/1.jpg", "")
            ]
        )),
        (Profile::TelegramExport, Opening::Nothing, 1)
    );
    assert_eq!(
        told(&|root| put(
            root,
            &[
                ("electron-config.json", "{}"),
                ("IndexedDB/x", ""),
                ("EventStore/events.db", "")
            ]
        )),
        (Profile::ElementDesktop, Opening::ThisComputersKeyring, 2)
    );
    assert_eq!(
        told(&|root| {
            put(root, &[("accounts.toml", "selected_account = 1")]);
            database(root, "aa-bb/dc.db");
            noise(root, "cc-dd/dc.db");
        }),
        (Profile::DeltaChat, Opening::ProgramsPassword, 2)
    );
}

#[test]
fn any_other_folder_is_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    put(
        folder.path(),
        &[
            ("result.json", "[1, 2]"),
            ("config.json", "{}"),
            ("photos/1.jpg", ""),
        ],
    );
    let found = Profile::detect(folder.path());
    assert_eq!(
        (found.profile, found.opening),
        (Profile::Folder, Opening::Nothing)
    );
    assert_eq!(
        Profile::detect(&folder.path().join("nowhere")).profile,
        Profile::Folder
    );
    for profile in Profile::ALL {
        assert_eq!(Profile::parse(profile.name()), Some(profile));
        assert!(!profile.title().is_empty());
    }
    assert_eq!(Profile::parse("icq"), None);
}
