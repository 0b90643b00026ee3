//! The planted bugs of the backup engine: each is found by a test of its package.

use super::switches::Switch;

const BUILDER: &str = "crates/repo/src/pack/builder.rs";
const SUBKEY: &str = "crates/repo/src/object/subkey.rs";
const BACKUP: &str = "crates/keyhaven/src/backup.rs";
const FOOTING: &str = "crates/keyhaven/src/footing.rs";
const SENT_LOG: &str = "crates/keyhaven/src/engine/sent_log.rs";
const COMMIT: &str = "crates/keyhaven/src/engine/backup.rs";
const FETCH: &str = "crates/keyhaven/src/engine/fetch.rs";
const SALVAGE: &str = "crates/keyhaven/src/engine/salvage.rs";
const PACKS: &str = "crates/keyhaven/src/engine/packs.rs";
const SAMPLE: &str = "crates/keyhaven/src/engine/sample.rs";
const VERIFY: &str = "crates/keyhaven/src/verify.rs";
const SHADOWS: &str = "crates/keyhaven/src/engine/rows.rs";
const SETTING: &str = "crates/source/src/rows/setting.rs";
const PATCH: &str = "crates/source/src/rows/patch.rs";
const HISTORY: &str = "crates/keyhaven/src/engine/history.rs";
const JUDGE: &str = "crates/repo/src/snapshot/history.rs";
const DIFFER: &str = "crates/repo/src/page_map/differ.rs";
const MEDIA: &str = "crates/keyhaven/src/engine/media.rs";
const TAILS: &str = "crates/keyhaven/src/engine/tails.rs";
const CONTENTS: &str = "crates/keyhaven/src/engine/contents.rs";
const STANDING: &str = "crates/keyhaven/src/engine/standing.rs";
const STATE: &str = "crates/source/src/database/state.rs";
const TARGET: &str = "crates/keyhaven/src/engine/target.rs";
const SYNCER: &str = "crates/keyhaven/src/store/folder/syncer.rs";
const SIGNATURE: &str = "crates/source/src/database/signature.rs";
const LOCK: &str = "crates/source/src/lock.rs";
const MEMBER: &str = "crates/source/src/database/member.rs";
const FILE: &str = "crates/source/src/database/quiet.rs";
const REPLAY: &str = "crates/keyhaven/src/engine/replay.rs";
const TRANSPORT: &str = "crates/keyhaven/src/store/cloud/transport.rs";
const ANSWER: &str = "crates/keyhaven/src/store/cloud/answer.rs";
const BARE: &str = "crates/keyhaven/src/store/cloud/bare.rs";
const SPOOL: &str = "crates/keyhaven/src/spool.rs";
const NOTING: &str = "crates/keyhaven/src/noting.rs";
const WRITTEN: &str = "crates/source/src/written.rs";
const JOIN: &str = "crates/keyhaven/src/engine/join.rs";
const RESTORE: &str = "crates/keyhaven/src/engine/restore.rs";

pub(super) const ENGINE: &[Switch] = &[
    // What is sealed, and under which name.
    Switch {
        name: "engine: a name, and with it a nonce, comes again after a crash",
        file: BUILDER,
        sound: "name: PackName::draw(entropy),",
        broken: "name: { PackName::draw(entropy); PackName::from_bytes([kind.object_kind().code(); 32]) },",
    },
    Switch {
        name: "engine: another key's object is opened as if it committed to ours",
        file: SUBKEY,
        sound: "bool::from(self.commitment.ct_eq(&header.commitment))",
        broken: "true || bool::from(self.commitment.ct_eq(&header.commitment))",
    },
    Switch {
        name: "engine: an object may end in a frame that was not sealed as its last",
        file: SUBKEY,
        sound: "if !self.open_one(frame, tag, number, last) {",
        broken: "if !self.open_one(frame, tag, number, last)
                && !aside.clone().is_some_and(|mut copy| self.open_one(&mut copy, tag, number, false))
            {",
    },
    // What is durable, and when.
    Switch {
        name: "engine: folders are not flushed",
        file: SYNCER,
        sound: "if let Err(errno) = self.shared.flush_folder(folder) {",
        broken: "if let Err(errno) = Ok::<(), Errno>({ let _ = folder; }) {",
    },
    Switch {
        name: "engine: an object has its name before its bytes are on the disk",
        file: SYNCER,
        sound: "(self.flush)(written.file.as_fd()).and_then(|()| self.rename(written));",
        broken: "self.rename(written).and_then(|()| (self.flush)(written.file.as_fd()));",
    },
    Switch {
        name: "engine: a snapshot is there before what it names is durable",
        file: COMMIT,
        sound:
            "        // BACKUP-2: what the snapshot names is durable before the snapshot is there.
        self.access.store.flush()?;",
        broken: "",
    },
    Switch {
        name: "engine: contents are remembered before they are durable",
        file: COMMIT,
        sound: "        self.outbox.drain()?;
        self.access.store.flush()?;
        // A content",
        broken: "        // A content",
    },
    Switch {
        name: "engine: what was sent counts though its packs are not there",
        file: SENT_LOG,
        sound: "        self.frames.retain(|_, extent| is_there(extent));
",
        broken: "",
    },
    Switch {
        name: "engine: a snapshot is not read back",
        file: HISTORY,
        sound: "if SnapshotDigest::of(&back) != sealed.digest {",
        broken: "if false && SnapshotDigest::of(&back) != sealed.digest {",
    },
    Switch {
        name: "engine: a day's messages wait for its media",
        file: COMMIT,
        sound: "&& self.start.root != since",
        broken: "&& self.start.root != since && self.outbox.sent().objects > 0",
    },
    // What is believed of the store and of local state.
    Switch {
        name: "engine: the last snapshot of the list counts as the newest",
        file: HISTORY,
        sound: "for listed in self.store.list(&folder)? {
            let Ok(name) = SnapshotName::parse_path(listed.path.as_str()) else {
                continue;
            };
            match self.open(name)? {",
        broken: "for listed in self.store.list(&folder)?.into_iter().rev().take(1) {
            let Ok(name) = SnapshotName::parse_path(listed.path.as_str()) else {
                continue;
            };
            match self.open(name)? {",
    },
    Switch {
        name: "engine: a head that does not descend from the noted snapshot is accepted",
        file: JUDGE,
        sound: ".find(|link| self.descends_from(&link.digest, &note.digest));",
        broken: ".find(|link| link.sequence >= note.sequence || self.descends_from(&link.digest, &note.digest));",
    },
    Switch {
        name: "engine: local state is believed, whatever it describes",
        file: FOOTING,
        sound: "if described.is_none_or(|head| head.digest != digest) && start.root.is_some() {",
        broken: "if false && described.is_none_or(|head| head.digest != digest) {",
    },
    Switch {
        name: "engine: a store that went back is written to",
        file: FOOTING,
        sound: "let judged = loaded.history.judge(remembered.as_ref());",
        broken: "let judged = loaded.history.judge(None);",
    },
    Switch {
        name: "engine: a new device's state is taken for one that was lost",
        file: FOOTING,
        sound: "if described.is_none_or(|head| head.digest != digest) && start.root.is_some() {",
        broken: "if described.is_none_or(|head| head.digest != digest) {",
    },
    // What is referred to beside a damaged backup.
    Switch {
        name: "engine: damage: a damaged frame costs what is fetched with it",
        file: FETCH,
        sound: "Some(Err(_)) | None => self.fetch_one(extent, kind),",
        broken: "Some(Err(error)) => Err(error),
            None => self.fetch_one(extent, kind),",
    },
    Switch {
        name: "engine: damage: what was fetched of one pack counts as another's",
        file: "crates/repo/src/layout.rs",
        sound: "self.pack == other.pack
            && self.offset <= other.offset",
        broken: "self.offset <= other.offset",
    },
    Switch {
        name: "engine: damage: local state keeps what lay in packs that are gone",
        file: SALVAGE,
        sound: "contents.forget_all_but(&|pack| packs.fault(pack).is_none())?;",
        broken: "",
    },
    Switch {
        name: "engine: damage: packs that verify suspects are not read",
        file: SALVAGE,
        sound: "packs.read_suspects(access.store.as_ref(), suspects, &start.keyring, cancel)?;",
        broken: "let _ = suspects;",
    },
    Switch {
        name: "engine: damage: rows that verify found wrong count where their packs are whole",
        file: SALVAGE,
        sound: "(is_by_rows && is_doubted)",
        broken: "(false && is_by_rows && is_doubted)",
    },
    Switch {
        name: "engine: damage: the starts of packs are not read",
        file: SALVAGE,
        sound: "packs.read_starts(access.store.as_ref(), &start.keyring, cancel)?;",
        broken: "",
    },
    Switch {
        name: "engine: damage: the index that the device keeps counts as the store's",
        file: SALVAGE,
        sound: "Nodes::new(Arc::clone(&access.store), keyring(), None).map_err(NodeError::from)?;",
        broken: "Nodes::new(Arc::clone(&access.store), keyring(), access.cache.as_deref())
            .map_err(NodeError::from)?;",
    },
    Switch {
        name: "engine: damage: a run goes on from the damaged index",
        file: SALVAGE,
        sound: "start.root = root;",
        broken: "let _ = root;",
    },
    Switch {
        name: "engine: damage: a pack may have any length",
        file: PACKS,
        sound: "let fits = SizeClass::of_object(len).is_some();",
        broken: "let fits = true || SizeClass::of_object(len).is_some();",
    },
    Switch {
        name: "engine: damage: what verify found is forgotten before it is mended",
        file: BACKUP,
        sound: "let checked = Trust::Checked(&suspects);",
        broken: "suspects::forget(&self.home.suspects(), &suspects);
        let checked = Trust::Checked(&suspects);",
    },
    Switch {
        name: "engine: damage: a snapshot that does not open is not followed",
        file: FOOTING,
        sound: "unreadable: ahead.as_ref().map(|(head, _)| Predecessor {
                name: head.name,
                digest: head.digest,
            }),",
        broken: "unreadable: None,",
    },
    // What verify sees.
    Switch {
        name: "engine: verify: the index that the device keeps counts as the store's",
        file: VERIFY,
        sound: "        let access = Access {
            cache: None,
            ..self.access(called_off)?
        };",
        broken: "        let access = self.access(called_off)?;",
    },
    Switch {
        name: "engine: verify: damage is told of the chosen backup alone",
        file: VERIFY,
        sound: "if checker.damaged.is_empty() {",
        broken: "if true || checker.damaged.is_empty() {",
    },
    Switch {
        name: "engine: verify: what is found is not remembered",
        file: VERIFY,
        sound: "let _ = suspects::remember(&self.home.suspects(), checker.damaged.keys());",
        broken: "let _ = suspects::remember(&self.home.suspects(), [].iter());",
    },
    Switch {
        name: "engine: verify: each sample begins at the pack that was read last",
        file: SAMPLE,
        sound: "packs.partition_point(|(name, _)| name <= last);",
        broken: "packs.partition_point(|(name, _)| name < last);",
    },
    // What comes back.
    Switch {
        name: "engine: a file has its name before all of it is there",
        file: TARGET,
        sound: "            let _ = std::fs::remove_file(&self.part);",
        broken: "            let _ = std::fs::rename(&self.part, &self.path);",
    },
    Switch {
        name: "engine: what comes to a name during a restore is replaced",
        file: STANDING,
        sound: "RenameFlags::NOREPLACE",
        broken: "RenameFlags::empty()",
    },
    Switch {
        name: "engine: what earlier runs kept counts in whichever state the store is",
        file: CONTENTS,
        sound: "if !self.added.contains(&extent.pack) && !self.listed()?.contains(&extent.pack) {",
        broken: "if false && !self.listed()?.contains(&extent.pack) {",
    },
    Switch {
        name: "engine: a database that is written over while it is read is taken for one state",
        file: STATE,
        sound: "now.is_same_file(&self.stat) && now.is_unchanged_since(&self.stat)",
        broken: "now.is_same_file(&self.stat)",
    },
    Switch {
        name: "engine: a link in the way of a restore is followed",
        file: TARGET,
        sound: "Ok(found) if found.is_dir() => return Ok(()),",
        broken: "Ok(_) if folder.is_dir() => return Ok(()),",
    },
    // Repacking.
    Switch {
        name: "engine: a page whose pack is emptied is taken for stored",
        file: DIFFER,
        sound: "if self.vacated.holds(&stored.extent) {",
        broken: "if false && self.vacated.holds(&stored.extent) {",
    },
    Switch {
        name: "engine: a file that was moved is not held against what was backed up",
        file: MEDIA,
        sound: "if self.hasher.finish() == known.content {",
        broken: "if true || self.hasher.finish() == known.content {",
    },
    Switch {
        name: "engine: repacking moves more than its budget",
        file: TAILS,
        sound: "            if sum > left {
                break;
            }
            sums.push(sum);",
        broken: "            sums.push(sum);
            if sum > left {
                break;
            }",
    },
    // Rows.
    Switch {
        name: "engine: a shadow is used, whichever state it is of",
        file: SHADOWS,
        sound: "(marked == self.mark_of(&shadow, state).ok()?).then_some(shadow)",
        broken: "(true || marked == self.mark_of(&shadow, state).ok()?).then_some(shadow)",
    },
    Switch {
        name: "engine: an older shadow counts as what a newer mark says",
        file: SHADOWS,
        sound: "shadow.seals(&mut |seal| hasher.update(seal))?;",
        broken: "shadow.seals(&mut |_| ())?;",
    },
    Switch {
        name: "engine: a number in the header is lost by rows",
        file: SETTING,
        sound: "let changed = PLACES.iter().find(|(_, place)| differs(place));",
        broken: "let changed = PLACES.iter().find(|(_, place)| place.start >= 56 && differs(place));",
    },
    Switch {
        name: "engine: of a change in several patches, an insert comes before a delete",
        file: PATCH,
        sound: "            self.inserts.clear();",
        broken: "",
    },
    Switch {
        name: "engine: a database whose header was destroyed becomes a file",
        file: JOIN,
        sound: "Ok(Content::File | Content::Logged) if is_destroyed(before.as_ref(), &path) => {",
        broken: "Ok(Content::Logged) if is_destroyed(before.as_ref(), &path) => {",
    },
    Switch {
        name: "engine: zeros in the place of an encrypted database become a file",
        file: SIGNATURE,
        sound: "self.is_cipher && (!now.is_cipher ||",
        broken: "self.is_cipher && (",
    },
    Switch {
        name: "engine: a restore plays another state's log into a database",
        file: RESTORE,
        sound: "if is_stray {",
        broken: "if false && is_stray {",
    },
    // The source.
    Switch {
        name: "engine: what changes through a mapping is not written out before it is read",
        file: WRITTEN,
        sound: "rustix::fs::syncfs(file).ok().map(|()| now_ns)",
        broken: "file.metadata().ok().map(|_| now_ns)",
    },
    Switch {
        name: "engine: rows of another state are restored",
        file: REPLAY,
        sound: "if patches.last().map(|patch| patch.state) == Some(state?) {",
        broken: "if state.is_ok() {",
    },
    Switch {
        name: "engine: a patch of other bytes is applied",
        file: REPLAY,
        sound: "if hasher.finish() == patch.content {",
        broken: "if hasher.finish() == patch.content || true {",
    },
    Switch {
        name: "engine: a write that is redirected counts as written",
        file: TRANSPORT,
        sound: ".redirect(reqwest::redirect::Policy::none())",
        broken: ".redirect(reqwest::redirect::Policy::limited(3))",
    },
    Switch {
        name: "engine: credentials follow a read that is sent on",
        file: TRANSPORT,
        sound: "                headers.clear();\n",
        broken: "",
    },
    Switch {
        name: "engine: an error with status 200 counts as written",
        file: BARE,
        sound: "if written.etag().is_none() {",
        broken: "if false && written.etag().is_none() {",
    },
    Switch {
        name: "engine: a page that is no list is a list of nothing",
        file: ANSWER,
        sound: "                _ => Err(FOREIGN),\n            },\n            Self::Multistatus",
        broken: "                _ => Ok(said),\n            },\n            Self::Multistatus",
    },
    Switch {
        name: "engine: what a spool has spoilt is sent",
        file: SPOOL,
        sound: "spooled.digests.contains(&digest)",
        broken: "(true || spooled.digests.contains(&digest))",
    },
    Switch {
        name: "engine: a note of a store that was rolled back takes the place of a later one",
        file: NOTING,
        sound: "Err((noted, newest)) => Err(BackupError::NotedIsGone { noted, newest }),",
        broken: "Err(_) => Ok(true),",
    },
    Switch {
        name: "engine: a commit to a log is no change",
        file: SIGNATURE,
        sound: "            && self.log == earlier.log",
        broken: "",
    },
    Switch {
        name: "engine: a database is read without SQLite's shared lock",
        file: LOCK,
        sound: "let shared = try_lock(&file, Kind::Share, SHARED);",
        broken: "let shared = io::Result::Ok(true);",
    },
    Switch {
        name: "engine: a reader of a log does not hold its mark",
        file: MEMBER,
        sound: "if !lock.try_share(index)? {",
        broken: "if false && !lock.try_share(index)? {",
    },
    Switch {
        name: "engine: a log that is not folded in is left out",
        file: FILE,
        sound: "&& let Some(at) = commit.pages.get(&number)",
        broken: "&& let Some(at) = commit.pages.get(&number).filter(|_| false)",
    },
];
