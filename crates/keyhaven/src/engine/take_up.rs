//! What a run that was cut off had sent, or had on its way: which of it the next run need not send again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use keyhaven_repo::keyring::Keyring;
use keyhaven_repo::names::PackName;

use super::error::BackupError;
use super::outbox::packs_folder;
use super::packs::Packs;
use super::sent_log::Left;
use crate::spool::SpooledStore;
use crate::store::{ObjectPath, Store};

/// Takes up what a run that was cut off had on its way: its packs in the spool are sent, and what they
/// and the packs in the store hold is not sealed again. A pack that no local state knows is named by
/// nothing, and dropped.
///
/// BACKUP-1: so is one that is not what was sealed any more, for a disk may have spoilt it since: what it held is sealed anew,
/// also where the store has something under its name.
pub(crate) fn from_spool(
    spool: &SpooledStore,
    remote: &dyn Store,
    left: Left,
    keyring: &Keyring,
) -> Result<Left, BackupError> {
    let mut known = left.packs();
    if known.is_empty() {
        spool.drop_leftovers()?;
        return Ok(left);
    }
    let mut waiting = BTreeMap::new();
    for left in spool.leftovers() {
        let Ok(pack) = PackName::parse_path(left.path.as_str()) else {
            continue;
        };
        if !known.contains(&pack) {
            continue;
        }
        if Packs::read(spool, pack, keyring)?.is_some() {
            known.remove(&pack);
        } else {
            waiting.insert(pack, left.len);
        }
    }
    let pack = |path: &ObjectPath| {
        let pack = PackName::parse_path(path.as_str()).ok();
        pack.filter(|pack| known.contains(pack))
    };
    let mut there: BTreeSet<PackName> = waiting.keys().copied().collect();
    let mut arrived = BTreeSet::new();
    remote.visit(&packs_folder(), &mut |listed| {
        if let Some(pack) = pack(&listed.path) {
            there.insert(pack);
            // One that was cut off on its way is shorter.
            if waiting.get(&pack) == Some(&listed.len) {
                arrived.insert(pack);
            }
        }
        ControlFlow::Continue(())
    })?;
    spool.resend_leftovers(|path| pack(path).is_some_and(|pack| !arrived.contains(&pack)))?;
    Ok(left.within(&there))
}

/// Takes up what a run that was cut off had sent to a store that needs no spool: its packs that have a name there.
pub(crate) fn from_store(store: &dyn Store, left: Left) -> Result<Left, BackupError> {
    let known = left.packs();
    if known.is_empty() {
        return Ok(left);
    }
    let mut there = BTreeMap::new();
    store.visit(&packs_folder(), &mut |listed| {
        let pack = PackName::parse_path(listed.path.as_str());
        if let Some(pack) = pack.ok().filter(|pack| known.contains(pack)) {
            there.insert(pack, listed.path);
        }
        ControlFlow::Continue(())
    })?;
    // BACKUP-2: its names may be on no disk yet.
    there.values().try_for_each(|path| store.adopt(path))?;
    Ok(left.within(&there.into_keys().collect()))
}
