//! The newest backup, noted at the vault: what a new device knows of a store before it has seen it (BACKUP-4).

use keyhaven_repo::names::SnapshotDigest;
use keyhaven_repo::snapshot::{History, Note};

use crate::engine::backup::Start;
use crate::engine::error::BackupError;
use crate::engine::history::Access;
use crate::files::{self, Mode};
use crate::haven::{Keyhaven, OpenError, fresh, note};
use crate::progress::{Meter, Notice};

/// Bytes of a snapshot's digest.
const DIGEST_BYTES: u64 = 32;

/// The snapshots of a store, and which of them a run follows: what a note at the vault is judged by.
pub(crate) struct Line<'a> {
    history: &'a History,
    follows: Vec<SnapshotDigest>,
    accept_lost: bool,
}

impl<'a> Line<'a> {
    pub(crate) fn of(history: &'a History, start: &Start, accept_lost: bool) -> Self {
        let unreadable = start.unreadable.iter();
        let follows = unreadable
            .chain([&start.follows])
            .map(|before| before.digest);
        Self {
            history,
            follows: follows.collect(),
            accept_lost,
        }
    }

    /// Whether `newest` takes the place of what the vault has noted.
    ///
    /// BACKUP-4: a device that knows less than the vault, an old phone or a home that was put back, writes to a store without
    /// knowing that it was rolled back. Its note in the place of the later one would hide that for good.
    fn exchanges(
        &self,
        history: &History,
        noted: &Note,
        newest: &Note,
    ) -> Result<bool, BackupError> {
        let follows = |digest| history.descends_from(digest, &noted.digest);
        if self.follows.iter().any(follows) {
            return Ok(true);
        }
        match fresh(history.judge(Some(noted)).freshness) {
            // It is another device's: the later of the two tells more.
            Ok(_) => Ok(noted.sequence < newest.sequence),
            Err(_) if self.accept_lost => Ok(true),
            Err((noted, newest)) => Err(BackupError::NotedIsGone { noted, newest }),
        }
    }
}

impl Keyhaven {
    /// Where nothing has changed, and the run that made the newest snapshot did not come as far as to note it, or found the
    /// vault away (BACKUP-4).
    pub(crate) fn note_if_late(
        &self,
        access: &Access,
        line: &Line<'_>,
        newest: Note,
        meter: &mut Meter<'_>,
    ) -> Result<(), BackupError> {
        let noted = files::read_small(&self.home.noted(), DIGEST_BYTES);
        if noted.is_ok_and(|noted| noted == newest.digest.as_bytes()) {
            return Ok(());
        }
        self.note_newest(access, line, newest, meter)
    }

    /// Tells the vault of the newest snapshot, so that a new device can tell a store that goes back
    /// (BACKUP-4). The backup is good without it, so that a vault that is away fails nothing; and who calls the run off does
    /// not wait for one that says nothing.
    ///
    /// # Errors
    /// [`BackupError::NotedIsGone`]: the note is worth more than one of such a store, and stays.
    pub(crate) fn note_newest(
        &self,
        access: &Access,
        line: &Line<'_>,
        newest: Note,
        meter: &mut Meter<'_>,
    ) -> Result<(), BackupError> {
        let told = || -> Result<Result<(), BackupError>, OpenError> {
            let Some(mut link) = self.link_until(access.called_off.clone())? else {
                return Ok(Ok(()));
            };
            let device = self.device()?;
            let (standing, _) = link.standing(&device)?;
            if let Some(noted) = standing.owner.and_then(|owner| owner.freshness) {
                let digest = SnapshotDigest::from_bytes(*noted.digest.as_bytes());
                let noted = note(noted.sequence, digest);
                let mut judged = line.exchanges(line.history, &noted, &newest);
                if judged.is_err()
                    && let Ok(Some(again)) = self.look_again(access)
                {
                    judged = line.exchanges(&again.history, &noted, &newest);
                }
                match judged {
                    Ok(true) => {}
                    Ok(false) => return Ok(Ok(())),
                    Err(gone) => return Ok(Err(gone)),
                }
            }
            let digest = *newest.digest.as_bytes();
            link.note(newest.sequence, digest, &device)?;
            // What is not remembered is noted once more.
            let _ = files::replace(&self.home.noted(), &digest, Mode::Private);
            Ok(Ok(()))
        };
        told().unwrap_or_else(|error| {
            meter.notice(&Notice::NotNoted {
                reason: error.to_string(),
            });
            Ok(())
        })
    }
}
