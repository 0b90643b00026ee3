//! A listing under way: page by page, folder by folder, with limits on both.

use std::future::Future;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use futures_util::StreamExt;
use opendal::{EntryMode, ErrorKind, Operator};

use super::fault::{Doing, unreachable};
use super::transport::Budget;
use crate::store::error::{Outage, StoreError};
use crate::store::path::{ObjectFolder, ObjectPath, PATH_DEPTH_MAX};
use crate::store::{LISTED_OBJECTS_MAX, Listed};

/// Objects of a listing that are handed over at a time.
const LISTED_AT_A_TIME: usize = 1000;

/// Further requests for each batch that was handed over: ten objects a page are few.
const REQUESTS_PER_BATCH: u64 = 100;

/// Part of a listing, or its end.
pub(super) enum Batch {
    Some(Vec<Listed>),
    End(Result<(), StoreError>),
}

/// A listing under way.
pub(super) struct Listing {
    /// With a transport that spends from `budget`.
    pub(super) operator: Operator,
    pub(super) budget: Budget,
    pub(super) is_flat: bool,
    pub(super) entry_max: Duration,
    pub(super) during: Doing,
    pub(super) hand_over: SyncSender<Batch>,
}

impl Listing {
    pub(super) async fn run(self, folder: ObjectFolder) {
        let outcome = self.walk(folder).await;
        // If the other side is gone, nobody wants to know.
        tokio::task::block_in_place(|| {
            let _ = self.hand_over.send(Batch::End(outcome));
        });
    }

    async fn walk(&self, folder: ObjectFolder) -> Result<(), StoreError> {
        let mut seen: u64 = 0;
        let mut waiting = vec![folder];
        while let Some(folder) = waiting.pop() {
            let name = match folder.as_str() {
                "" => "/".to_owned(),
                name => format!("{name}/"),
            };
            let lister = self
                .operator
                .lister_with(&name)
                .recursive(self.is_flat)
                .await;
            let mut lister = match lister {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                other => other.map_err(|error| self.during.fault(&error))?,
            };
            let mut batch = Vec::new();
            while let Some(entry) = self.within(lister.next()).await? {
                let entry = match entry {
                    Err(error) if error.kind() == ErrorKind::NotFound => break,
                    other => other.map_err(|error| self.during.fault(&error))?,
                };
                seen = seen.saturating_add(1);
                if seen > LISTED_OBJECTS_MAX {
                    return Err(StoreError::ListTooLong {
                        objects_max: LISTED_OBJECTS_MAX,
                    });
                }
                let (path, found) = entry.into_parts();
                match found.mode() {
                    EntryMode::FILE => {
                        if let Ok(path) = ObjectPath::parse(&path) {
                            let len = found.content_length();
                            batch.push(Listed { path, len });
                        }
                    }
                    EntryMode::DIR if !self.is_flat => {
                        // A folder names itself in its own listing; only what is below it counts,
                        // or a server could lead in a circle.
                        if let Ok(below) = ObjectFolder::parse(&path)
                            && below.components().count()
                                == folder.components().count().saturating_add(1)
                            && below.components().count() < PATH_DEPTH_MAX
                        {
                            waiting.push(below);
                        }
                    }
                    EntryMode::DIR | EntryMode::Unknown => {}
                }
                if batch.len() >= LISTED_AT_A_TIME {
                    self.budget.add(REQUESTS_PER_BATCH);
                    if !self.pass_on(&mut batch) {
                        return Ok(());
                    }
                }
            }
            if !self.pass_on(&mut batch) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// A server may answer every page at once with nothing but the promise of another one: the
    /// next entry has to come in time, whatever the pages do.
    async fn within<T>(&self, next: impl Future<Output = T>) -> Result<T, StoreError> {
        tokio::time::timeout(self.entry_max, next)
            .await
            .map_err(|_| unreachable(Outage::TimedOut))
    }

    /// Hands a batch over; tells whether anybody still wants more.
    fn pass_on(&self, batch: &mut Vec<Listed>) -> bool {
        let batch = std::mem::take(batch);
        // The other side may take its time, and use this very store meanwhile: the runtime is told
        // that this thread waits, and works on with another.
        batch.is_empty()
            || tokio::task::block_in_place(|| self.hand_over.send(Batch::Some(batch)).is_ok())
    }
}
