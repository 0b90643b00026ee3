//! One try of each operation, by the driver.

use std::future::Future;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt;
use opendal::{Buffer, ErrorKind, HttpTransporter, OperationContext, Operator};
use tokio::runtime::Runtime;

use super::fault::{Doing, unreachable};
use super::listing::{Batch, Listing};
use super::service::{Kind, has_tls, operator};
use super::transport::{Budget, Transport};
use crate::store::body::Body;
use crate::store::credentials::Credentials;
use crate::store::error::{Action, Outage, StoreError};
use crate::store::path::{ObjectFolder, ObjectPath};
use crate::store::patience::{CalledOff, Patience};
use crate::store::{Listed, OBJECT_BYTES_MAX, Store, StoreAddress};

/// Threads of the runtime. They only move bytes between sockets and buffers.
const THREADS: usize = 2;

/// How often a waiting call looks whether it was called off.
const LOOK_UP_EVERY: Duration = Duration::from_millis(100);

/// A listing's next entry may take this many times as long as an answer: it can lie some pages on.
const STALLS_PER_ENTRY: u32 = 5;

/// Requests that any listing may take; each object that is found allows for a little more. Honest
/// servers name hundreds or thousands in a page, and packs are spread over 256 folders.
const REQUESTS_PER_LISTING: u64 = 4096;

/// Cut uploads are left alone for this long: another device may be at it.
const LEFTOVER_AGE_MIN: Duration = Duration::from_secs(7 * 24 * 3600);

/// Cut uploads that one run looks at.
const LEFTOVERS_LOOKED_AT_MAX: usize = 1000;

/// Where a WebDAV server keeps an object until it is whole. Not the name of any object.
const SPOOL: &str = ".spool";

/// The driver with a runtime.
#[derive(Debug)]
pub(super) struct Bare {
    // Taken out only when the store is dropped.
    runtime: Option<Runtime>,
    operator: Operator,
    transport: Transport,
    place: String,
    kind: Kind,
    /// How long the next entry of a listing may take.
    entry_max: Duration,
    /// Whether this run has looked for what earlier ones left in a WebDAV server's spool.
    has_swept: AtomicBool,
    called_off: CalledOff,
}

impl Bare {
    pub(super) fn connect(
        address: &StoreAddress,
        credentials: Option<&Credentials>,
        patience: &Patience,
        called_off: CalledOff,
    ) -> Result<Self, StoreError> {
        let place = address.to_string();
        let (operator, kind) = operator(address, credentials, &place)?;
        let transport =
            Transport::new(patience, has_tls(address)).map_err(|_| StoreError::NoMachinery)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("keyhaven-cloud")
            .enable_all()
            .build()
            .map_err(|_| StoreError::NoMachinery)?;
        Ok(Self {
            runtime: Some(runtime),
            operator: over(operator, transport.clone()),
            transport,
            place,
            kind,
            entry_max: patience.stall_max.saturating_mul(STALLS_PER_ENTRY),
            has_swept: AtomicBool::new(false),
            called_off,
        })
    }

    fn doing(&self, action: Action, path: Option<&ObjectPath>, bytes: u64) -> Doing {
        Doing {
            action,
            place: self.place.clone(),
            path: path.cloned(),
            bytes,
        }
    }

    /// Runs `work` on the runtime and waits for it.
    fn run<T: Send + 'static>(
        &self,
        doing: &Doing,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let Some(runtime) = &self.runtime else {
            return Err(StoreError::NoMachinery);
        };
        let (done, result) = sync_channel(1);
        let task = runtime.spawn(async move {
            // The waiting side may have been called off; then nobody wants the result.
            let _ = done.send(work.await);
        });
        loop {
            match result.recv_timeout(LOOK_UP_EVERY) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Timeout) => {
                    if let Err(called_off) = self.called_off.check() {
                        task.abort();
                        return Err(called_off);
                    }
                }
                // The driver fell over an answer that no honest server gives.
                Err(RecvTimeoutError::Disconnected) => return Err(doing.refused()),
            }
        }
    }

    /// Removes what uploads of earlier runs left in a WebDAV server's spool, once a run. Whatever
    /// fails here is left for the next run.
    fn sweep(&self) {
        if self.kind != Kind::WebDav || self.has_swept.swap(true, Ordering::Relaxed) {
            return;
        }
        let doing = self.doing(Action::Delete, None, 0);
        let operator = self.operator.clone();
        let entry_max = self.entry_max;
        let _ = self.run(&doing, async move {
            let sweep = async {
                let Ok(lister) = operator.lister(&format!("{SPOOL}/")).await else {
                    return;
                };
                let mut entries = lister.take(LEFTOVERS_LOOKED_AT_MAX);
                while let Some(Ok(entry)) = entries.next().await {
                    let name = entry.path().strip_prefix(SPOOL);
                    let name = name.and_then(|name| name.strip_prefix('/'));
                    let is_ours = name.is_some_and(|name| ObjectPath::parse(name).is_ok());
                    if is_ours && is_old(entry.metadata()) {
                        let _ = operator.delete(entry.path()).await;
                    }
                }
            };
            let _ = tokio::time::timeout(entry_max, sweep).await;
            Ok(())
        });
    }

    /// Reads `range`, or the whole object.
    fn read(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Buffer, StoreError> {
        let doing = self.doing(Action::Get, Some(path), 0);
        let operator = self.operator.clone();
        let (name, during) = (path.to_string(), doing.clone());
        let asked = range.clone();
        let is_about_range = range.is_some();
        let read = self.run(&doing, async move {
            let read = operator.read_with(&name);
            let read = match asked {
                Some(range) => read.range(range),
                None => read,
            };
            match read.await {
                Ok(buffer) => Ok(Some(buffer)),
                // The driver got fewer bytes than it asked for, or none of the range.
                Err(error) if is_about_range && is_short(&error) => Ok(None),
                Err(error) => Err(during.fault(&error)),
            }
        })?;
        match (read, range) {
            (Some(buffer), None) => Ok(buffer),
            (Some(buffer), Some(range))
                if buffer.len() as u64 == range.end.saturating_sub(range.start) =>
            {
                Ok(buffer)
            }
            (_, Some(range)) => {
                // Too few or too many bytes. Either the object is too short, which stays so, or
                // the answer was cut or the range ignored, which may pass.
                let len = self.length(path)?;
                if range.end > len {
                    Err(StoreError::WrongLength {
                        path: path.clone(),
                        expected: range.end,
                        got: len,
                    })
                } else {
                    Err(unreachable(Outage::CutBody))
                }
            }
            (None, None) => Err(doing.refused()),
        }
    }
}

impl Store for Bare {
    fn put(&self, path: &ObjectPath, body: Body<'_>) -> Result<(), StoreError> {
        self.sweep();
        let doing = self.doing(Action::Put, Some(path), body.len());
        let bytes = body_bytes(path, body)?;
        let operator = self.operator.clone();
        let (name, during, kind) = (path.to_string(), doing.clone(), self.kind);
        self.run(&doing, async move {
            let fault = |error: opendal::Error| during.fault(&error);
            match kind {
                Kind::S3 => {
                    let written = operator.write(&name, bytes).await.map_err(fault)?;
                    // BACKUP-2: a server of S3 names what it has written; an error that comes with 200, or a login page, does not.
                    if written.etag().is_none() {
                        return Err(unreachable(Outage::Foreign));
                    }
                }
                Kind::WebDav => {
                    // A server may keep what it got of an upload that was cut off. It keeps that
                    // under a name that means nothing, and the same one at the next try.
                    let spooled = format!("{SPOOL}/{}", name.replace('/', "-"));
                    operator.write(&spooled, bytes).await.map_err(fault)?;
                    operator.rename(&spooled, &name).await.map_err(fault)?;
                }
            }
            Ok(())
        })
    }

    fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Vec<u8>, StoreError> {
        if let Some(range) = &range {
            crate::store::check_range(path, range, u64::MAX)?;
        }
        let buffer = self.read(path, range)?;
        let bytes = buffer.len() as u64;
        if bytes > OBJECT_BYTES_MAX {
            return Err(StoreError::TooLarge {
                path: path.clone(),
                bytes,
                bytes_max: OBJECT_BYTES_MAX,
            });
        }
        Ok(buffer.to_vec())
    }

    fn get_into(&self, path: &ObjectPath, offset: u64, out: &mut [u8]) -> Result<(), StoreError> {
        let range = offset..offset.saturating_add(out.len() as u64);
        crate::store::check_range(path, &range, u64::MAX)?;
        if range.is_empty() {
            return self.length(path).map(|_| ());
        }
        let buffer = self.read(path, Some(range))?;
        let mut rest = out;
        for piece in buffer {
            // `read` has checked the sum of the lengths.
            let Some((here, after)) = rest.split_at_mut_checked(piece.len()) else {
                return Err(unreachable(Outage::CutBody));
            };
            here.copy_from_slice(&piece);
            rest = after;
        }
        Ok(())
    }

    fn length(&self, path: &ObjectPath) -> Result<u64, StoreError> {
        let doing = self.doing(Action::Get, Some(path), 0);
        let operator = self.operator.clone();
        let (path, during) = (path.clone(), doing.clone());
        self.run(&doing, async move {
            let found = operator
                .stat(path.as_str())
                .await
                .map_err(|error| during.fault(&error))?;
            if found.is_file() {
                Ok(found.content_length())
            } else {
                Err(StoreError::NotAnObject { path })
            }
        })
    }

    fn visit(
        &self,
        folder: &ObjectFolder,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let Some(runtime) = &self.runtime else {
            return Err(StoreError::NoMachinery);
        };
        let doing = self.doing(Action::List, None, 0);
        // One batch at a time is under way: a listing of any length takes little memory.
        let (hand_over, batches) = sync_channel(1);
        let budget = Budget::new(REQUESTS_PER_LISTING);
        let listing = Listing {
            operator: over(
                self.operator.clone(),
                self.transport.with_budget(budget.clone()),
            ),
            budget,
            is_flat: self.kind == Kind::S3,
            entry_max: self.entry_max,
            during: doing.clone(),
            hand_over,
        };
        let task = runtime.spawn(listing.run(folder.clone()));
        loop {
            match batches.recv_timeout(LOOK_UP_EVERY) {
                Ok(Batch::Some(listed)) => {
                    for listed in listed {
                        if folder.holds(&listed.path) && each(listed).is_break() {
                            task.abort();
                            return Ok(());
                        }
                    }
                }
                Ok(Batch::End(outcome)) => return outcome,
                Err(RecvTimeoutError::Timeout) => {
                    if let Err(called_off) = self.called_off.check() {
                        task.abort();
                        return Err(called_off);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Err(doing.refused()),
            }
        }
    }

    fn delete(&self, path: &ObjectPath) -> Result<(), StoreError> {
        let doing = self.doing(Action::Delete, Some(path), 0);
        let operator = self.operator.clone();
        let (name, during) = (path.to_string(), doing.clone());
        self.run(&doing, async move {
            match operator.delete(&name).await {
                Ok(()) => Ok(()),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                Err(error) => Err(during.fault(&error)),
            }
        })
    }

    fn flush(&self) -> Result<(), StoreError> {
        // A server's acknowledgement is all that there is to have.
        Ok(())
    }

    fn adopt(&self, _: &ObjectPath) -> Result<(), StoreError> {
        Ok(())
    }

    fn free_space(&self) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }

    fn describe(&self) -> String {
        self.place.clone()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // Waiting for the threads is forbidden where the caller is itself asynchronous, and
        // nothing is under way that anybody waits for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The driver over a transport.
fn over(operator: Operator, transport: Transport) -> Operator {
    let transport = HttpTransporter::new(transport);
    operator.with_context(OperationContext::new().with_http_transport(transport))
}

/// Whether a server's file was last written long ago, by the server's clock against ours.
fn is_old(file: &opendal::Metadata) -> bool {
    file.last_modified()
        .map(SystemTime::from)
        .and_then(|written| SystemTime::now().duration_since(written).ok())
        .is_some_and(|age| file.is_file() && age >= LEFTOVER_AGE_MIN)
}

/// Whether the driver says that a range's bytes are not all there. It has no kind of its own for
/// an answer that is short or long, and none of its other complaints about a read lead further.
fn is_short(error: &opendal::Error) -> bool {
    error.kind() == ErrorKind::RangeNotSatisfied
        || (error.kind() == ErrorKind::Unexpected && std::error::Error::source(error).is_none())
}

/// The body as shared bytes; only borrowed bytes and files are copied.
fn body_bytes(path: &ObjectPath, body: Body<'_>) -> Result<Bytes, StoreError> {
    match body {
        Body::Bytes(bytes) => Ok(Bytes::copy_from_slice(bytes)),
        Body::Buffer(buffer) => Ok(Bytes::from_owner(buffer)),
        Body::Shared(bytes) => Ok(bytes),
        Body::File { file, len } => {
            let room = crate::store::check_range(path, &(0..len), u64::MAX)?;
            let mut bytes = vec![0; room];
            file.read_exact_at(&mut bytes, 0)
                .map_err(|error| StoreError::Disk {
                    action: Action::Put,
                    kind: error.kind(),
                    code: error.raw_os_error(),
                })?;
            Ok(bytes.into())
        }
    }
}
