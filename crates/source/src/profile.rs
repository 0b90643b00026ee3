//! The chat programs whose folders are recognised, and what opening what they hold takes.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::item::SkipReason;
use crate::key::PathKey;
use crate::sniff::{Companions, Content, sniff};
use crate::stat::Stat;

/// A program whose folder is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Profile {
    /// WhatsApp's folder in the shared storage of an Android phone.
    WhatsAppAndroid,
    /// WhatsApp's own folder on a rooted Android phone.
    WhatsAppAndroidRooted,
    /// Signal Desktop's folder.
    SignalDesktop,
    /// What Telegram Desktop writes when it is asked to export.
    TelegramExport,
    /// Element Desktop's folder.
    ElementDesktop,
    /// Delta Chat's folder of accounts.
    DeltaChat,
    /// Any other folder.
    Folder,
}

/// What opening takes, beside the backup itself. Said before the first backup, not after the loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Opening {
    /// Nothing: files and databases are readable as they are.
    Nothing,
    /// The messages are in files that WhatsApp has sealed.
    WhatsAppKey,
    /// The key of the database is itself locked by the computer that it was made on.
    ThisComputersKeyring,
    /// The key of the database stands beside it.
    KeyBesideIt,
    /// The database is encrypted with a password that only its owner knows.
    ProgramsPassword,
}

/// What was found in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detection {
    /// Whose folder it is.
    pub profile: Profile,
    /// Where below the folder it begins, if not at the folder itself.
    pub within: Option<PathKey>,
    /// The databases and sealed files that hold the messages.
    pub messages: Vec<PathKey>,
    /// Where media lie.
    pub media: Vec<PathKey>,
    /// What opening takes.
    pub opening: Opening,
}

/// Where WhatsApp's folder may lie below what somebody names as the phone's folder.
const WHATSAPP_PLACES: [&str; 4] = [
    "",
    "WhatsApp",
    "com.whatsapp/WhatsApp",
    "Android/media/com.whatsapp/WhatsApp",
];

/// How many files of one folder are looked at. Nothing is recognised by its ten-thousandth name.
const NAMES_MAX: usize = 10_000;

impl Profile {
    /// All profiles, from the one that says most to the one that says nothing.
    pub const ALL: [Self; 7] = [
        Self::WhatsAppAndroid,
        Self::WhatsAppAndroidRooted,
        Self::SignalDesktop,
        Self::TelegramExport,
        Self::ElementDesktop,
        Self::DeltaChat,
        Self::Folder,
    ];

    /// The name by which a snapshot remembers it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::WhatsAppAndroid => "whatsapp-android",
            Self::WhatsAppAndroidRooted => "whatsapp-android-rooted",
            Self::SignalDesktop => "signal-desktop",
            Self::TelegramExport => "telegram-export",
            Self::ElementDesktop => "element-desktop",
            Self::DeltaChat => "delta-chat",
            Self::Folder => "folder",
        }
    }

    /// The profile of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// The name that people know.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::WhatsAppAndroid => "WhatsApp (Android)",
            Self::WhatsAppAndroidRooted => "WhatsApp (Android, rooted)",
            Self::SignalDesktop => "Signal Desktop",
            Self::TelegramExport => "Telegram Desktop export",
            Self::ElementDesktop => "Element Desktop",
            Self::DeltaChat => "Delta Chat",
            Self::Folder => "a folder",
        }
    }

    /// Recognises the folder at `root` by a few names in it. Cheap: no folder is walked.
    #[must_use]
    pub fn detect(root: &Path) -> Detection {
        let look = Look { root };
        look.whatsapp()
            .or_else(|| look.whatsapp_rooted())
            .or_else(|| look.signal())
            .or_else(|| look.telegram())
            .or_else(|| look.element())
            .or_else(|| look.delta_chat())
            .unwrap_or_else(|| Detection::of(Self::Folder, Opening::Nothing))
    }
}

impl Opening {
    /// The plain words for a person.
    #[must_use]
    pub fn explain(self) -> &'static str {
        match self {
            Self::Nothing => "Everything in it can be read as it is.",
            Self::WhatsAppKey => {
                "The messages are in files that WhatsApp itself has sealed (.crypt15). They are \
                 backed up as they are, whole, every day anew. Opening them takes WhatsApp's own \
                 64-digit key or password, or the phone number's WhatsApp account; Keyhaven cannot \
                 open them for you. Photos and other media are not sealed."
            }
            Self::ThisComputersKeyring => {
                "The database is encrypted, and its key is locked by this computer's keyring. The \
                 backup alone does not open it on another computer: keep the program's own transfer \
                 or backup as well. What Element keeps is copied only while Element is closed."
            }
            Self::KeyBesideIt => {
                "The database is encrypted with a key that stands in a file beside it, so the \
                 backup opens it."
            }
            Self::ProgramsPassword => {
                "A database is encrypted with a password that was chosen in the program. The backup \
                 does not replace it: keep it."
            }
        }
    }
}

impl Detection {
    fn of(profile: Profile, opening: Opening) -> Self {
        Self {
            profile,
            within: None,
            messages: Vec::new(),
            media: Vec::new(),
            opening,
        }
    }
}

/// Looks at fixed places below a root.
struct Look<'a> {
    root: &'a Path,
}

impl Look<'_> {
    fn whatsapp(&self) -> Option<Detection> {
        WHATSAPP_PLACES.into_iter().find_map(|place| {
            let sealed: Vec<PathKey> = ["Databases", "Backups"]
                .into_iter()
                .flat_map(|folder| self.names(&join(place, folder)))
                .filter(|name| is_sealed(name))
                .filter_map(|name| PathKey::from_relative(&name).ok())
                .collect();
            let media = join(place, "Media");
            let has_media = self
                .names(&media)
                .iter()
                .any(|name| name.to_string_lossy().contains("WhatsApp "));
            if sealed.is_empty() && !has_media {
                return None;
            }
            let opening = if sealed.is_empty() {
                Opening::Nothing
            } else {
                Opening::WhatsAppKey
            };
            Some(Detection {
                within: PathKey::from_relative(Path::new(place)).ok(),
                messages: sealed,
                media: has_media
                    .then(|| PathKey::from_relative(&media).ok())
                    .flatten()
                    .into_iter()
                    .collect(),
                ..Detection::of(Profile::WhatsAppAndroid, opening)
            })
        })
    }

    fn whatsapp_rooted(&self) -> Option<Detection> {
        ["", "com.whatsapp"].into_iter().find_map(|place| {
            let databases = join(place, "databases");
            let main = databases.join("msgstore.db");
            if self.content(&main)? != Content::Database {
                return None;
            }
            let messages = [main, databases.join("wa.db")];
            Some(Detection {
                within: PathKey::from_relative(Path::new(place)).ok(),
                messages: self.keys_that_exist(messages),
                ..Detection::of(Profile::WhatsAppAndroidRooted, Opening::Nothing)
            })
        })
    }

    fn signal(&self) -> Option<Detection> {
        let database = PathBuf::from("sql/db.sqlite");
        let content = self.content(&database)?;
        let settings = self.head(Path::new("config.json"))?;
        let opening = if content == Content::Database {
            Opening::Nothing
        } else if settings.contains("\"encryptedKey\"") {
            Opening::ThisComputersKeyring
        } else if settings.contains("\"key\"") {
            Opening::KeyBesideIt
        } else {
            return None;
        };
        Some(Detection {
            messages: self.keys_that_exist([database]),
            media: self.keys_that_exist(["attachments.noindex".into()]),
            ..Detection::of(Profile::SignalDesktop, opening)
        })
    }

    fn telegram(&self) -> Option<Detection> {
        let is_export = self.head(Path::new("result.json")).is_some_and(|head| {
            // The export of everything introduces itself; that of one chat has these three fields.
            (head.contains("\"about\"") && head.contains("Telegram"))
                || ["\"name\"", "\"type\"", "\"messages\""]
                    .iter()
                    .all(|field| head.contains(field))
        });
        let has_pages = ["export_results.html", "messages.html"]
            .into_iter()
            .any(|page| self.exists(page) && self.exists("css/style.css"));
        if !is_export && !has_pages {
            return None;
        }
        let messages = [
            "result.json",
            "export_results.html",
            "messages.html",
            "chats",
        ];
        let media = [
            "photos",
            "video_files",
            "voice_messages",
            "round_video_messages",
            "files",
            "stickers",
        ];
        Some(Detection {
            messages: self.keys_that_exist(messages.map(PathBuf::from)),
            media: self.keys_that_exist(media.map(PathBuf::from)),
            ..Detection::of(Profile::TelegramExport, Opening::Nothing)
        })
    }

    fn element(&self) -> Option<Detection> {
        let is_element = ["electron-config.json", "sso-sessions.json", "EventStore"]
            .into_iter()
            .any(|name| self.exists(name));
        let stores = ["IndexedDB", "EventStore", "Local Storage"];
        if !is_element || !self.exists("IndexedDB") {
            return None;
        }
        Some(Detection {
            messages: self.keys_that_exist(stores.map(PathBuf::from)),
            ..Detection::of(Profile::ElementDesktop, Opening::ThisComputersKeyring)
        })
    }

    fn delta_chat(&self) -> Option<Detection> {
        ["", "accounts"].into_iter().find_map(|place| {
            self.head(&join(place, "accounts.toml"))?;
            let accounts = self.names(Path::new(place));
            let databases: Vec<PathBuf> = accounts
                .into_iter()
                .map(|account| account.join("dc.db"))
                .filter(|database| self.exists(database))
                .collect();
            let is_sealed = databases
                .iter()
                .any(|database| self.content(database) == Some(Content::Opaque));
            let opening = if is_sealed {
                Opening::ProgramsPassword
            } else {
                Opening::Nothing
            };
            let media = databases
                .iter()
                .map(|database| database.with_file_name("dc.db-blobs"));
            Some(Detection {
                within: PathKey::from_relative(Path::new(place)).ok(),
                media: self.keys_that_exist(media),
                messages: self.keys_that_exist(databases.iter().cloned()),
                ..Detection::of(Profile::DeltaChat, opening)
            })
        })
    }

    /// The names in a folder, as paths below the root, in order. Nothing if it cannot be listed.
    fn names(&self, folder: &Path) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.root.join(folder)) else {
            return Vec::new();
        };
        let mut names: Vec<PathBuf> = entries
            .take(NAMES_MAX)
            .filter_map(Result::ok)
            .map(|entry| folder.join(entry.file_name()))
            .collect();
        names.sort();
        names
    }

    fn exists(&self, place: impl AsRef<Path>) -> bool {
        self.root.join(place).symlink_metadata().is_ok()
    }

    fn keys_that_exist(&self, places: impl IntoIterator<Item = PathBuf>) -> Vec<PathKey> {
        places
            .into_iter()
            .filter(|place| self.exists(place))
            .filter_map(|place| PathKey::from_relative(&place).ok())
            .collect()
    }

    /// What a file is, if there is one.
    fn content(&self, place: &Path) -> Option<Content> {
        let path = self.root.join(place);
        let stat = rustix::fs::lstat(&path).ok()?;
        let found: Result<Content, SkipReason> =
            sniff(&path, &Stat::from(&stat), Companions::default());
        found.ok()
    }

    /// The first 8 KiB of a small text file.
    fn head(&self, place: &Path) -> Option<String> {
        let path = self.root.join(place);
        if !path.symlink_metadata().ok()?.is_file() {
            return None;
        }
        let mut head = Vec::new();
        File::open(path)
            .ok()?
            .take(8192)
            .read_to_end(&mut head)
            .ok()?;
        Some(String::from_utf8_lossy(&head).into_owned())
    }
}

fn join(place: &str, name: &str) -> PathBuf {
    Path::new(place).join(name)
}

/// Whether WhatsApp has sealed the file: `.crypt15` now, `.crypt12` and `.crypt14` in earlier years.
fn is_sealed(name: &Path) -> bool {
    name.extension()
        .and_then(|ending| ending.to_str())
        .is_some_and(|ending| matches!(ending, "crypt12" | "crypt14" | "crypt15"))
}
