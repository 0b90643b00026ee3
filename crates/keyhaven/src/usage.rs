//! How many bytes a store holds, and what they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use keyhaven_repo::layout::SizeClass;
use keyhaven_repo::names::PackName;
use keyhaven_repo::pack::Footer;

use crate::engine::error::RestoreError;
use crate::engine::fetch::{FetchError, Fetcher};
use crate::engine::footers;
use crate::engine::history::snapshots_folder;
use crate::engine::lost::ends_the_run;
use crate::engine::packs::Packs;
use crate::engine::usage::uses;
use crate::haven::Keyhaven;
use crate::restore::reader;
use crate::store::patience::CalledOff;

/// Ends of packs that one look reads: over a network each is two requests. The next look goes on.
const FOOTERS_READ_MAX: usize = 1024;

/// What the bytes of a store are. `stored` is the sum of `live`, `padding` and `other`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Bytes of all packs and snapshots.
    pub stored_bytes: u64,
    /// How many those are.
    pub stored_objects: u64,
    /// Bytes in packs that the newest backup refers to; what several files share counts once.
    pub live_bytes: u64,
    /// Packs that the newest backup needs.
    pub live_objects: u64,
    /// Packs that the newest backup needs and the store does not list, or lists with a length that no pack has.
    pub lost_objects: u64,
    /// Zeros at the ends of packs, which hide how much is in them (BACKUP-8).
    pub padding_bytes: u64,
    /// All else: what older backups alone refer to, what interrupted runs left, snapshots, and what sealing takes.
    pub other_bytes: u64,
    /// Packs whose padding is not known yet, or cannot be read: it counts as `other`.
    pub unmeasured_objects: u64,
}

impl Keyhaven {
    /// Lists the store, reads the index of the newest backup, and says what the store's bytes are. How much of
    /// each pack is padding is remembered; where it is not known, the ends of packs are read, at most 1,024 in
    /// one call.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn usage(&self) -> Result<Usage, RestoreError> {
        let access = self.access(CalledOff::never())?;
        let chosen = self.choose(&access, None, None)?;
        let packs = Packs::of(access.store.as_ref())?;
        let snapshots = access.store.list(&snapshots_folder())?;
        let (mut nodes, keyring) = reader(&access, &chosen)?;
        let live = uses(chosen.open.snapshot.root, &mut nodes, &|_| false)?;
        let mut fetcher = Fetcher::new(Arc::clone(&access.store), keyring);
        let known = self.footers(&packs, &mut fetcher)?;

        let mut usage = Usage::default();
        let lens = snapshots.iter().map(|snapshot| snapshot.len);
        for len in lens.chain(packs.iter().map(|(_, len)| len)) {
            usage.stored_bytes = usage.stored_bytes.saturating_add(len);
            usage.stored_objects = usage.stored_objects.saturating_add(1);
        }
        let lost = live.keys().filter(|pack| packs.fault(pack).is_some());
        usage.lost_objects = u64::try_from(lost.count()).unwrap_or(u64::MAX);
        for (pack, len) in packs.iter() {
            if let Some(used) = live.get(&pack) {
                usage.live_bytes = usage.live_bytes.saturating_add(used.live);
                usage.live_objects = usage.live_objects.saturating_add(1);
            }
            match padding(known.get(&pack), len) {
                Some(zeros) => usage.padding_bytes = usage.padding_bytes.saturating_add(zeros),
                None => usage.unmeasured_objects = usage.unmeasured_objects.saturating_add(1),
            }
        }
        usage.other_bytes = usage
            .stored_bytes
            .saturating_sub(usage.live_bytes)
            .saturating_sub(usage.padding_bytes);
        Ok(usage)
    }

    /// How much of each pack is content: as it is remembered, and then as the packs say.
    fn footers(
        &self,
        packs: &Packs,
        fetcher: &mut Fetcher,
    ) -> Result<BTreeMap<PackName, Footer>, RestoreError> {
        let file = self.home.footers();
        let mut known = footers::recall(&file);
        known.retain(|pack, footer| {
            let len = packs.len(pack);
            len.is_some_and(|len| padding(Some(footer), len).is_some())
        });
        let unknown = packs.names().filter(|pack| !known.contains_key(pack));
        let unknown: Vec<PackName> = unknown.take(FOOTERS_READ_MAX).copied().collect();
        for &pack in &unknown {
            match fetcher.footer(pack) {
                Ok(footer) => {
                    known.insert(pack, footer);
                }
                Err(FetchError::Store(cause)) if ends_the_run(&cause) => return Err(cause.into()),
                // Damage is for `verify` to tell.
                Err(_) => {}
            }
        }
        if !unknown.is_empty() {
            // Where it cannot be remembered, it is read again.
            let _ = footers::replace(&file, &known);
        }
        Ok(known)
    }
}

/// Zeros in a pack of that length, if the footer can be its own.
fn padding(footer: Option<&Footer>, len: u64) -> Option<u64> {
    let class = SizeClass::of_object(len)?;
    footer?.padding(class).map(u64::from)
}
