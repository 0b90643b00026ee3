//! Databases whose pages cannot be understood without a key: copied only while nobody has them
//! open.

use std::ops::ControlFlow;
use std::path::Path;

use crate::database::header::PageSize;
use crate::database::live::committed_log;
use crate::database::quiet::{Files, proceed};
use crate::database::state::{Held, LogState, Witness};
use crate::database::{DatabaseError, Patience};
use crate::stat::{Stat, now_ns};

/// Reads the bytes of an encrypted database while no program has it open, and gives the stat to
/// remember.
///
/// SQLCipher keeps SQLite's locks and its log, and encrypts what lies in the pages: so a log that
/// a closed program left is laid over the main file exactly as its next start would do, without
/// the key.
///
/// # Errors
/// `InUse` when a program has it open; what `sink` took is then worth nothing, as after any error.
pub fn read_opaque(
    path: &Path,
    patience: Patience,
    sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<Stat, DatabaseError> {
    let held = Held::open(path, patience).map_err(|error| {
        if error == DatabaseError::Locked {
            DatabaseError::InUse
        } else {
            error
        }
    })?;
    let begun_ns = now_ns();
    held.refuse_hot_journal(patience)?;
    let (witness, is_logged) = match held.log_state()? {
        LogState::Absent => (Witness::LogAbsent, false),
        LogState::Unused { log, witness } => (witness, log.size > 0),
        LogState::Shared { .. } => return Err(DatabaseError::InUse),
    };
    if !held.can_tell_by(&witness)? {
        return Err(DatabaseError::Changed);
    }
    match committed_log(&held)? {
        Some((file, commit)) => {
            let files = Files::new(&held, commit.page_size, Some((&file, &commit)))?;
            files.each_page(commit.page_count, &mut |_, page| sink(page))?;
        }
        None => copy(&held, sink)?,
    }
    let after = held.restat()?;
    if held.still_holds(&witness)? && after.is_unchanged_since(&held.stat) {
        // What comes to the log later, or leaves it, need not show in the main file.
        let stat = held.stat.settled_at(begun_ns);
        Ok(if is_logged { stat.unsettled() } else { stat })
    } else {
        Err(DatabaseError::Changed)
    }
}

/// Copies the main file as it is, however its size relates to pages.
fn copy(held: &Held, sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> Result<(), DatabaseError> {
    // Any page size serves to cut the file; the last cut is shortened to the file's end.
    let cut = PageSize::new(65_536).ok_or(DatabaseError::BadSource)?;
    let size = held.stat.size;
    let cuts =
        u32::try_from(size.div_ceil(u64::from(cut.bytes()))).map_err(|_| DatabaseError::Corrupt)?;
    let files = Files::new(held, cut, None)?;
    let mut left = size;
    files.each_page(cuts, &mut |_, bytes| {
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        left = left.saturating_sub(u64::try_from(take).unwrap_or(u64::MAX));
        sink(bytes.get(..take).unwrap_or_default())
    })?;
    proceed(ControlFlow::Continue(()))
}
