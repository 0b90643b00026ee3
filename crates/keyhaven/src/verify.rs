//! Reading a backup back and checking it.

use std::sync::Arc;

use keyhaven_repo::keyring::Keyring;
use keyhaven_repo::names::{MARKER_PATH, PackName};
use keyhaven_repo::node::NodeError;
use keyhaven_repo::snapshot::Note;

use crate::engine::check::{Checker, Reading};
use crate::engine::contents::Contents;
use crate::engine::entropy::OsEntropy;
use crate::engine::error::RestoreError;
use crate::engine::history::{Access, HistoryError, Loaded};
use crate::engine::lost::Lost;
use crate::engine::nodes::Nodes;
use crate::engine::restore::{Plan, measure};
use crate::engine::sample::{self, Share};
use crate::engine::suspects;
use crate::haven::{Keyhaven, SnapshotInfo, fresh, note};
use crate::progress::{Cancel, Meter, Observer, Phase};
use crate::restore::reader;
use crate::store::patience::CalledOff;

/// How much is read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The whole index, and that every object that it lies in or names is there, as long as its start says.
    Structure,
    /// Every byte of the snapshot.
    All,
    /// As `Structure`, and a share of the store's packs in whole, whichever backup they belong to:
    /// those that were not read for longest. So a share of 5% reads all of the store in 20 runs.
    Sample(Share),
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The snapshot.
    pub snapshot: SnapshotInfo,
    /// Files and databases that were checked.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What of the snapshot cannot be brought back whole.
    pub lost: Vec<Lost>,
    /// The other backups that the same damage takes something from, newest first.
    pub affected: Vec<Affected>,
    /// The objects that are missing or damaged, by name.
    pub damaged: Vec<DamagedObject>,
    /// What was read of the store's packs as a sample.
    pub sample: Option<Sample>,
    /// Snapshots that are in the store and do not open.
    pub damaged_snapshots: u64,
    /// Whether the store no longer serves the newest backup that this device knows of (BACKUP-4).
    pub gone_back: Option<GoneBack>,
    /// Objects in the store that this snapshot does not need: those of others, and what interrupted
    /// runs left.
    pub other_objects: u64,
}

impl VerifyReport {
    /// Whether nothing was found missing or damaged.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.lost.is_empty()
            && self.damaged.is_empty()
            && self.damaged_snapshots == 0
            && self.gone_back.is_none()
    }
}

/// A store that serves an older state than this device knows of: it was rolled back or forked, another copy of it is
/// connected, or parts are hidden or damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GoneBack {
    /// The number of the newest backup that this device knows of.
    pub noted: u64,
    /// The number of the newest that the store serves.
    pub newest: u64,
}

/// A backup that damage takes something from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Affected {
    /// The backup.
    pub snapshot: SnapshotInfo,
    /// What of it cannot be brought back whole.
    pub lost: Vec<Lost>,
}

/// An object of the store that is missing or damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DamagedObject {
    /// Its path in the store.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
}

/// How much of a store was read as a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sample {
    /// Packs that were read.
    pub packs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packs in the store.
    pub of_packs: u64,
    /// Their bytes.
    pub of_bytes: u64,
}

impl Keyhaven {
    /// Verifies a snapshot: the newest, or the one whose name begins so. Which packs it finds damaged is
    /// remembered, and the next backup sends again what they hold, as far as the source has it.
    ///
    /// # Errors
    /// [`RestoreError`] if the verification cannot come to its end; what it finds is in the report.
    pub fn verify(
        &self,
        depth: Depth,
        snapshot: Option<&str>,
        cancel: &Cancel,
        observer: &mut dyn Observer,
    ) -> Result<VerifyReport, RestoreError> {
        // What is kept on this device proves nothing about the store.
        let called_off = cancel.clone();
        let called_off = CalledOff::when(move || called_off.is_cancelled());
        let access = Access {
            cache: None,
            ..self.access(called_off)?
        };
        let known = self.known(&access);
        let chosen = self.choose(&access, snapshot, None)?;
        let loaded = access.load()?;
        let gone_back = self.gone_back_in(&access, &loaded, known)?;
        let (mut nodes, keyring) = reader(&access, &chosen)?;
        let mut meter = Meter::new(observer);
        let place = self.home.state_made();
        let keyring = newest_keys(&loaded).unwrap_or(keyring);
        let mut checker = Checker::new(&access, keyring, place, cancel)?;

        let mut sampled = None;
        let reading = match depth {
            Depth::All => Reading::All,
            Depth::Structure => Reading::Doubtful,
            Depth::Sample(share) => {
                sampled = Some(self.sample(share, &mut checker, &mut meter)?);
                Reading::Doubtful
            }
        };
        let root = chosen.open.snapshot.root;
        let plan = Plan {
            root,
            below: None,
            overwrite: false,
            does_without: false,
            cancel,
        };
        // A damaged root is found once more, and told, below.
        let (files, bytes) = match measure(&plan, &mut nodes) {
            Ok(measure) => (measure.files, measure.bytes),
            Err(_) => (0, 0),
        };
        if reading == Reading::All {
            meter.begin(Phase::Verify, files, bytes);
        }
        let mut lost = checker.backup(root, reading, &mut nodes, &mut meter)?;
        // BACKUP-4: what lies in a pack that is too long or too short may be there all the same, which who reads it knows by now.
        if checker.lengths()? && reading == Reading::Doubtful {
            lost = checker.backup(root, reading, &mut nodes, &mut meter)?;
        }
        let of_this = checker.needed.clone();
        let affected = self.affected(&loaded, &chosen.info, &access, &mut checker, &mut meter)?;
        meter.end();
        // The next backup sends again what they hold. Where they cannot be written down, the next
        // verification finds them again.
        let _ = suspects::remember(&self.home.suspects(), checker.damaged.keys());
        let others = |pack: &&PackName| !of_this.contains(*pack);
        let other_objects = checker.packs().names().filter(others).count();
        let marker = access.marker_fault.as_ref().map(|reason| DamagedObject {
            path: MARKER_PATH.to_owned(),
            reason: reason.clone(),
        });
        let object = |(pack, reason): (&PackName, &String)| DamagedObject {
            path: pack.path(),
            reason: reason.clone(),
        };
        Ok(VerifyReport {
            snapshot: chosen.info,
            files,
            bytes,
            lost,
            affected,
            damaged: marker
                .into_iter()
                .chain(checker.damaged.iter().map(object))
                .collect(),
            sample: sampled,
            damaged_snapshots: count(loaded.damaged.len()),
            gone_back,
            other_objects: count(other_objects),
        })
    }

    /// Whether the store serves an older state than this device knows of.
    ///
    /// # Errors
    /// [`RestoreError`] if its snapshots cannot be read.
    pub fn gone_back(&self) -> Result<Option<GoneBack>, RestoreError> {
        let access = self.access(CalledOff::never())?;
        let known = self.known(&access);
        let loaded = access.load()?;
        Ok(self.gone_back_in(&access, &loaded, known)?)
    }

    /// The newest backup that this device knows of. It is asked for before the store is: a backup that is made meanwhile is in
    /// the store first.
    fn known(&self, access: &Access) -> Option<Note> {
        let head = Contents::newest(&self.home.contents(), access.id)?;
        Some(note(head.sequence, head.digest))
    }

    /// BACKUP-4: where nothing is written and nothing brought back, it is to be told all the same.
    fn gone_back_in(
        &self,
        access: &Access,
        loaded: &Loaded,
        known: Option<Note>,
    ) -> Result<Option<GoneBack>, HistoryError> {
        let judge = |loaded: &Loaded| {
            let freshness = loaded.history.judge(known.as_ref()).freshness;
            let gone_back = fresh(freshness).err();
            gone_back.map(|(noted, newest)| GoneBack { noted, newest })
        };
        match judge(loaded) {
            None => Ok(None),
            found => Ok(match self.look_again(access)? {
                Some(again) => judge(&again),
                None => found,
            }),
        }
    }

    /// Reads the packs whose turn it is.
    fn sample(
        &self,
        share: Share,
        checker: &mut Checker<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<Sample, RestoreError> {
        let all: Vec<_> = checker.packs().iter().collect();
        let mark = self.home.sampled();
        // Who remembers nothing begins anywhere: a device that is always new reads other packs, too.
        let last = sample::recall(&mark).unwrap_or_else(|| sample::anywhere(&mut OsEntropy));
        let packs = sample::choose(&all, share, &last);
        let total = |packs: &[(PackName, u64)]| {
            let lengths = packs.iter().map(|(_, len)| *len);
            lengths.fold(0_u64, u64::saturating_add)
        };
        meter.begin(Phase::Verify, count(packs.len()), total(&packs));
        let mut last = None;
        let mut result = Ok(());
        for (pack, len) in &packs {
            result = checker.pack(*pack);
            if result.is_err() {
                break;
            }
            last = Some(*pack);
            meter.add(1, *len);
        }
        // One that was cut off goes on there.
        if let Some(last) = last {
            sample::remember(&mark, &last);
        }
        result.map(|()| Sample {
            packs: count(packs.len()),
            bytes: total(&packs),
            of_packs: count(all.len()),
            of_bytes: total(&all),
        })
    }

    /// What the damage that was found takes from the other backups.
    fn affected(
        &self,
        loaded: &Loaded,
        chosen: &SnapshotInfo,
        access: &Access,
        checker: &mut Checker<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<Vec<Affected>, RestoreError> {
        let mut affected = Vec::new();
        if checker.damaged.is_empty() {
            return Ok(affected);
        }
        for link in loaded.history.newest_first() {
            let other = loaded.open.get(&link.digest);
            let Some(open) = other.filter(|_| link.digest != chosen.digest) else {
                continue;
            };
            let keyring = Arc::new(open.keyring.clone());
            let store = Arc::clone(&access.store);
            let mut nodes = Nodes::new(store, keyring, None).map_err(NodeError::from)?;
            let lost = checker.backup(open.snapshot.root, Reading::Doubtful, &mut nodes, meter)?;
            if let Some(snapshot) = self.info(loaded, &link.digest)
                && !lost.is_empty()
            {
                affected.push(Affected { snapshot, lost });
            }
        }
        Ok(affected)
    }
}

/// The keys of the snapshot that has the most of them.
fn newest_keys(loaded: &Loaded) -> Option<Arc<Keyring>> {
    let keyrings = loaded.open.values().map(|open| &open.keyring);
    let newest = keyrings.max_by_key(|keyring| keyring.current())?;
    Some(Arc::new(newest.clone()))
}

fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
