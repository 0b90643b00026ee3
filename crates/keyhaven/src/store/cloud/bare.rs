//! One try of each operation, by the driver.

use std::future::Future;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use opendal::{Buffer, EntryMode, ErrorKind, HttpTransporter, OperationContext, Operator};
use tokio::runtime::Runtime;

use super::fault::{Doing, unreachable};
use super::transport::Transport;
use crate::store::body::Body;
use crate::store::credentials::{Credentials, HINT};
use crate::store::error::{Action, Outage, StoreError};
use crate::store::path::{ObjectFolder, ObjectPath, PATH_DEPTH_MAX};
use crate::store::patience::{CalledOff, Patience};
use crate::store::{LISTED_OBJECTS_MAX, Listed, OBJECT_BYTES_MAX, Store, StoreAddress};

/// Threads of the runtime. They only move bytes between sockets and buffers.
const THREADS: usize = 2;

/// How often a waiting call looks whether it was called off.
const LOOK_UP_EVERY: Duration = Duration::from_millis(100);

/// Objects of a listing that are handed over at a time.
const LISTED_AT_A_TIME: usize = 1000;

/// A listing's next entry may take this many times as long as an answer: it can lie some pages on.
const STALLS_PER_ENTRY: u32 = 5;

/// Where a WebDAV server keeps an object until it is whole. Not the name of any object.
const SPOOL: &str = ".spool";

/// The driver with a runtime.
#[derive(Debug)]
pub(super) struct Bare {
    // Taken out only when the store is dropped.
    runtime: Option<Runtime>,
    operator: Operator,
    place: String,
    kind: Kind,
    /// How long the next entry of a listing may take.
    entry_max: Duration,
    called_off: CalledOff,
}

/// What differs between services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Writes are atomic, listings flat.
    S3,
    /// Writes may be torn, so objects are moved into place; listings go folder by folder.
    WebDav,
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
        let transport = Transport::new(patience).map_err(|_| StoreError::NoMachinery)?;
        let context = OperationContext::new().with_http_transport(HttpTransporter::new(transport));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("keyhaven-cloud")
            .enable_all()
            .build()
            .map_err(|_| StoreError::NoMachinery)?;
        Ok(Self {
            runtime: Some(runtime),
            operator: operator.with_context(context),
            place,
            kind,
            entry_max: patience.stall_max.saturating_mul(STALLS_PER_ENTRY),
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
        let doing = self.doing(Action::Put, Some(path), body.len());
        let bytes = body_bytes(path, body)?;
        let operator = self.operator.clone();
        let (name, during, kind) = (path.to_string(), doing.clone(), self.kind);
        self.run(&doing, async move {
            let fault = |error: opendal::Error| during.fault(&error);
            match kind {
                Kind::S3 => {
                    operator.write(&name, bytes).await.map_err(fault)?;
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
        let listing = Listing {
            operator: self.operator.clone(),
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

/// Part of a listing, or its end.
enum Batch {
    Some(Vec<Listed>),
    End(Result<(), StoreError>),
}

/// A listing under way.
struct Listing {
    operator: Operator,
    is_flat: bool,
    entry_max: Duration,
    during: Doing,
    hand_over: SyncSender<Batch>,
}

impl Listing {
    async fn run(self, folder: ObjectFolder) {
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
                if batch.len() >= LISTED_AT_A_TIME && !self.pass_on(&mut batch) {
                    return Ok(());
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

/// Whether the driver says that a range's bytes are not all there. It has no kind of its own for
/// an answer that is short or long, and none of its other complaints about a read lead further.
fn is_short(error: &opendal::Error) -> bool {
    error.kind() == ErrorKind::RangeNotSatisfied
        || (error.kind() == ErrorKind::Unexpected && std::error::Error::source(error).is_none())
}

fn operator(
    address: &StoreAddress,
    credentials: Option<&Credentials>,
    place: &str,
) -> Result<(Operator, Kind), StoreError> {
    let refused = |_| StoreError::Refused {
        action: Action::Open,
        status: None,
    };
    match address {
        StoreAddress::Folder(_) => Err(StoreError::Refused {
            action: Action::Open,
            status: None,
        }),
        StoreAddress::S3(s3) => {
            let Some(credentials) = credentials else {
                return Err(StoreError::NoCredentials {
                    place: place.to_owned(),
                    hint: HINT,
                });
            };
            // Only what is given here counts: the driver must not pick up another identity from a
            // file or from the machine that it runs on.
            let mut builder = opendal::services::S3::default()
                .bucket(s3.bucket())
                .root(&format!("/{}", s3.prefix()))
                .region(s3.region().unwrap_or("us-east-1"))
                .access_key_id(credentials.user())
                .secret_access_key(credentials.secret())
                .disable_config_load()
                .disable_ec2_metadata();
            if let Some(endpoint) = s3.endpoint() {
                builder = builder.endpoint(endpoint);
            }
            if let Some(token) = credentials.token() {
                builder = builder.session_token(token);
            }
            Ok((Operator::new(builder).map_err(refused)?, Kind::S3))
        }
        StoreAddress::WebDav(dav) => {
            let mut builder = opendal::services::Webdav::default()
                .endpoint(&dav.endpoint())
                .root(&format!("/{}", dav.path()));
            if let Some(credentials) = credentials {
                builder = builder
                    .username(credentials.user())
                    .password(credentials.secret());
            }
            Ok((Operator::new(builder).map_err(refused)?, Kind::WebDav))
        }
    }
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
