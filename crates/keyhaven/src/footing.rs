//! Where a backup goes on from: the snapshot that it follows, what this device remembers of it, and how far it can be trusted.

use std::collections::BTreeSet;
use std::sync::Arc;

use keyhaven_repo::entry::FileEntry;
use keyhaven_repo::names::{PackName, StoreId};
use keyhaven_repo::node::NodeError;
use keyhaven_repo::snapshot::{Completeness, Predecessor, Snapshot, Totals};
use keyhaven_repo::tree::Cursor;
use keyhaven_source::guard::Census;

use crate::backup::BackupOptions;
use crate::engine::backup::Start;
use crate::engine::contents::{Contents, Head};
use crate::engine::error::BackupError;
use crate::engine::history::{Access, HistoryError, Loaded};
use crate::engine::nodes::Nodes;
use crate::engine::outbox::Sent;
use crate::engine::salvage::salvage;
use crate::haven::{Keyhaven, fresh, note};
use crate::home::HomeError;
use crate::progress::{DamagedBackup, Meter, Notice};

/// Contents that are learnt again between two writes of the local state.
const RELEARN_BATCH: u64 = 4096;

/// What a run stands on.
pub(crate) struct Footing {
    pub(crate) loaded: Loaded,
    pub(crate) contents: Contents,
    pub(crate) start: Start,
    /// The newest backup, where it is damaged: nothing of it is referred to but what the store has.
    pub(crate) damaged: Option<DamagedBackup>,
    /// What was sent for an index of what is sound of it.
    pub(crate) index_sent: Sent,
    /// Whether what the store has was looked at, because something of it is damaged or was found to be.
    pub(crate) is_doubted: bool,
}

/// Whether the newest backup is taken as what it says it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust<'a> {
    /// As every run begins: what has not changed in the source is not looked at in the store.
    Whole,
    /// Damage was met, now or by a verification, which suspects these packs: each of its entries is
    /// held against the store.
    Checked(&'a BTreeSet<PackName>),
}

/// Whether the local state describes the snapshot that a run follows.
enum State {
    Known,
    Stale,
    /// It describes a newer one, which is in the store and does not open, or is lost.
    Ahead(DamagedBackup),
}

impl Keyhaven {
    /// Where a run goes on from. What is to be told of that is told.
    pub(crate) fn footing(
        &self,
        access: &Access,
        options: &BackupOptions<'_>,
        trust: Trust<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<Footing, BackupError> {
        let mut loaded = access.load()?;
        let mut contents = self.open_contents(access, meter)?;
        let started = match self.start(access, &loaded, &contents, false, meter) {
            Err(BackupError::RolledBack { .. }) => {
                loaded = self.look_again(access)?.unwrap_or(loaded);
                self.start(access, &loaded, &contents, options.accept_lost, meter)?
            }
            started => started?,
        };
        let (mut start, state) = started;

        if let Some(damage) = loaded.damage() {
            meter.notice(&damage);
        }
        if let Some(mended) = access.mend_marker()? {
            meter.notice(&mended);
        }
        if !matches!(state, State::Known) {
            // BACKUP-2: the newest backup may be one that a run left which was killed before its flush. Nothing is said of
            // it, and nothing learnt from it, before it is certain.
            access.store.flush()?;
        }
        let nothing = BTreeSet::new();
        let doubts = match (trust, &state) {
            (Trust::Checked(suspects), _) => Some(suspects),
            (Trust::Whole, State::Ahead(_)) => Some(&nothing),
            (Trust::Whole, State::Known) => None,
            (Trust::Whole, State::Stale) => {
                self.relearn(access, &start, &mut contents)?;
                meter.notice(&Notice::StateRebuilt);
                None
            }
        };
        let salvaged = match doubts {
            Some(suspects) => {
                let cancel = &options.cancel;
                salvage(access, &mut start, &mut contents, suspects, cancel)?
            }
            None => None,
        };
        let damaged = match state {
            State::Ahead(damaged) => Some(damaged),
            State::Known | State::Stale => salvaged.as_ref().map(|found| DamagedBackup {
                snapshot: start.follows.name,
                sequence: start.sequence,
                opens: true,
                reason: found.reason.clone(),
            }),
        };
        if let Some(damaged) = &damaged {
            meter.notice(&Notice::DamagedBackup(damaged.clone()));
        }
        Ok(Footing {
            loaded,
            contents,
            start,
            damaged,
            index_sent: salvaged.map(|found| found.sent).unwrap_or_default(),
            is_doubted: doubts.is_some(),
        })
    }

    /// Local state; one that is damaged is begun anew.
    fn open_contents(
        &self,
        access: &Access,
        meter: &mut Meter<'_>,
    ) -> Result<Contents, BackupError> {
        let path = self.home.contents();
        let store = || Arc::clone(&access.store);
        match Contents::open(&path, store()) {
            Ok(contents) => Ok(contents),
            Err(error) if error.is_damaged() => {
                std::fs::remove_file(&path).map_err(|cause| HomeError::Io {
                    path: path.clone(),
                    cause,
                })?;
                meter.notice(&Notice::StateRebuilt);
                Ok(Contents::open(&path, store())?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Where this run goes on from.
    ///
    /// BACKUP-4: a store that no longer has what this device wrote is not written to, unless a person says so. One that has it,
    /// damaged, is. The next backup follows what was lost, and refers to nothing that was not looked for.
    fn start(
        &self,
        access: &Access,
        loaded: &Loaded,
        contents: &Contents,
        accept_lost: bool,
        meter: &mut Meter<'_>,
    ) -> Result<(Start, State), BackupError> {
        let writer = self.writer()?;
        let described = contents.head()?.filter(|head| head.store == access.id);
        let noted = Contents::newest(&self.home.contents(), access.id);
        let newest = described.into_iter().chain(noted);
        let newest = newest.max_by_key(|head| head.sequence);
        let remembered = newest.map(|head| note(head.sequence, head.digest));
        let judged = loaded.history.judge(remembered.as_ref());
        let ahead = match (fresh(judged.freshness), newest) {
            (Ok(_), _) => None,
            (Err((noted, served)), newest) => {
                let why = |head: &Head| {
                    let lost = accept_lost.then(|| "the store does not have it".to_owned());
                    loaded.fault(&head.name).or(lost)
                };
                let given_up = newest.and_then(|head| Some((head, why(&head)?)));
                let gone_back = BackupError::RolledBack {
                    noted,
                    newest: served,
                };
                Some(given_up.ok_or(gone_back)?)
            }
        };
        let heads = loaded.history.heads();
        // A device goes on from its own newest snapshot; one that has none here, from the newest.
        let head = match (remembered, &ahead) {
            (Some(_), None) => judged.head,
            (None, _) | (_, Some(_)) => heads
                .iter()
                .find(|link| link.writer == writer)
                .or(heads.first())
                .copied(),
        };
        let digest = head.map(|link| link.digest).ok_or(HistoryError::Empty)?;
        let others = heads.iter().filter(|link| link.digest != digest).count();
        if others > 0 {
            meter.notice(&Notice::OtherHeads { count: others });
        }
        let open = loaded.open.get(&digest).ok_or(HistoryError::Empty)?;
        if newest.is_some_and(|head| open.keyring.current() < head.epoch) {
            return Err(BackupError::OldEpoch);
        }
        let start = Start {
            root: open.snapshot.root,
            sequence: match &ahead {
                None => open.snapshot.sequence,
                Some((head, _)) => head.sequence.max(open.snapshot.sequence),
            },
            follows: Predecessor {
                name: open.name,
                digest,
            },
            unreadable: ahead.as_ref().map(|(head, _)| Predecessor {
                name: head.name,
                digest: head.digest,
            }),
            keyring: Arc::new(open.keyring.clone()),
            writer,
            profile: open.snapshot.profile.clone(),
        };
        if let Some((head, reason)) = ahead {
            let damaged = DamagedBackup {
                snapshot: head.name,
                sequence: head.sequence,
                opens: false,
                reason,
            };
            return Ok((start, State::Ahead(damaged)));
        }
        // Local state is used as it is only if it describes the snapshot that this run follows.
        if described.is_none_or(|head| head.digest != digest) && start.root.is_some() {
            return Ok((start, State::Stale));
        }
        Ok((start, State::Known))
    }

    /// Learns again from the manifest which contents the store has.
    fn relearn(
        &self,
        access: &Access,
        start: &Start,
        contents: &mut Contents,
    ) -> Result<(), BackupError> {
        let (store, keyring) = (Arc::clone(&access.store), Arc::clone(&start.keyring));
        let mut nodes =
            Nodes::new(store, keyring, access.cache.as_deref()).map_err(NodeError::from)?;
        let mut cursor = Cursor::new(start.root);
        let mut learnt = 0_u64;
        while let Some((_, entry)) = cursor.next(&mut nodes)? {
            if let FileEntry::File {
                stat,
                content,
                extents,
            } = entry
            {
                let extents = extents.load(stat.size, &mut nodes)?;
                contents.add(content, stat.size, extents);
                learnt = learnt.saturating_add(1);
                if learnt.is_multiple_of(RELEARN_BATCH) {
                    contents.keep_sent(None)?;
                }
            }
        }
        Ok(contents.keep_sent(None)?)
    }

    /// Where nothing has changed, and the run that made the newest snapshot did not come as far as to remember it: it is in the
    /// store for good, and this device would not miss it there (BACKUP-4). The first snapshot of a store holds nothing, and
    /// is nobody's to miss.
    pub(crate) fn catch_up(
        &self,
        store: StoreId,
        start: &Start,
        contents: &mut Contents,
    ) -> Result<(), BackupError> {
        let head = Head {
            store,
            name: start.follows.name,
            digest: start.follows.digest,
            sequence: start.sequence,
            epoch: start.keyring.current(),
        };
        let noted = Contents::newest(&self.home.contents(), store);
        let is_known = contents.head()? == Some(head) && noted == Some(head);
        match is_known || start.root.is_none() {
            true => Ok(()),
            false => Ok(contents.set_head(&head)?),
        }
    }
}

impl Loaded {
    pub(crate) fn snapshot(&self, start: &Start) -> Option<&Snapshot> {
        Some(&self.open.get(&start.follows.digest)?.snapshot)
    }

    pub(crate) fn totals(&self, start: &Start) -> Totals {
        self.snapshot(start)
            .map(|snapshot| snapshot.totals)
            .unwrap_or_default()
    }

    /// What the guard compares with: nothing, before the first backup. These are the snapshot's own
    /// totals, so that a damaged index does not blind it.
    pub(crate) fn census(&self, start: &Start) -> Option<Census> {
        let Totals {
            files,
            bytes,
            databases,
        } = self.totals(start);
        let had_files = self.snapshot(start)?.root.is_some();
        had_files.then_some(Census {
            files,
            bytes,
            databases,
        })
    }

    pub(crate) fn is_complete(&self, start: &Start) -> bool {
        self.snapshot(start)
            .is_some_and(|snapshot| matches!(snapshot.completeness, Completeness::Complete))
    }
}
