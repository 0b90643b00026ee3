//! Trying again, with limits.
//!
//! Clouds fail in passing: they throttle, time out, cut answers off, and time out after having
//! done what was asked. Every operation of a [`Store`] may be repeated (names are written once with
//! the same bytes, deleting twice is deleting), so [`Patient`] repeats what may pass, a bounded
//! number of times, with pauses that double.

use std::fmt;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use keyhaven_repo::names::MARKER_PATH;

use super::body::Body;
use super::error::StoreError;
use super::path::{ObjectFolder, ObjectPath};
use super::{Listed, Store};

/// How long a store is waited for, and how often it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Tries of one operation, the first included.
    pub attempts_max: u32,
    /// The pause after the first failure; it doubles with each further one.
    pub pause_first: Duration,
    /// The longest pause, also where a server asks for more.
    pub pause_max: Duration,
    /// How long making a connection may take.
    pub connect_max: Duration,
    /// How long a request or an answer may stand still.
    pub stall_max: Duration,
}

impl Default for Patience {
    /// Six tries with 0.5, 1, 2, 4 and 8 seconds between them: a server's restart or a change of
    /// networks passes in that, and a person still learns within a minute that one is down.
    fn default() -> Self {
        Self {
            attempts_max: 6,
            pause_first: Duration::from_millis(500),
            pause_max: Duration::from_secs(30),
            connect_max: Duration::from_secs(10),
            stall_max: Duration::from_secs(60),
        }
    }
}

/// Whether the caller wants to go on: cancellation, as the store sees it.
#[derive(Clone)]
pub struct CalledOff(Arc<dyn Fn() -> bool + Send + Sync>);

impl CalledOff {
    /// Asks `asked`, often and from any thread.
    pub fn when(asked: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(asked))
    }

    /// Never.
    #[must_use]
    pub fn never() -> Self {
        Self::when(|| false)
    }

    /// Fails if the work is called off.
    ///
    /// # Errors
    ///
    /// [`StoreError::Cancelled`].
    pub fn check(&self) -> Result<(), StoreError> {
        if (self.0)() {
            Err(StoreError::Cancelled)
        } else {
            Ok(())
        }
    }

    /// Sleeps, looking up every so often.
    pub(crate) fn sleep(&self, mut left: Duration) -> Result<(), StoreError> {
        const LOOK_UP_EVERY: Duration = Duration::from_millis(100);
        loop {
            self.check()?;
            if left.is_zero() {
                return Ok(());
            }
            let nap = left.min(LOOK_UP_EVERY);
            std::thread::sleep(nap);
            left = left.saturating_sub(nap);
        }
    }
}

impl fmt::Debug for CalledOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CalledOff(..)")
    }
}

/// A store that repeats what fails in passing.
#[derive(Debug)]
pub struct Patient<S> {
    store: S,
    patience: Patience,
    called_off: CalledOff,
}

impl<S: Store> Patient<S> {
    /// Wraps `store`.
    pub fn new(store: S, patience: Patience, called_off: CalledOff) -> Self {
        Self {
            store,
            patience,
            called_off,
        }
    }

    /// The store inside.
    pub fn inner(&self) -> &S {
        &self.store
    }

    fn repeat<T>(
        &self,
        mut attempt: impl FnMut() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut tries: u32 = 1;
        loop {
            self.called_off.check()?;
            let (outage, pause) = match attempt() {
                Err(StoreError::Unreachable { outage, pause, .. }) => (outage, pause),
                done => return done,
            };
            if tries >= self.patience.attempts_max {
                return Err(StoreError::Unreachable {
                    outage,
                    attempts: tries,
                    pause,
                });
            }
            self.called_off.sleep(self.pause_after(tries, pause))?;
            tries = tries.saturating_add(1);
        }
    }

    /// As [`Self::repeat`], to read an object. A server that is well but for this object is no outage: the work can go on
    /// without it.
    fn repeat_for<T>(
        &self,
        path: &ObjectPath,
        mut attempt: impl FnMut() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let (outage, attempts, pause) = match self.repeat(&mut attempt) {
            Err(StoreError::Unreachable {
                outage,
                attempts,
                pause,
            }) => (outage, attempts, pause),
            done => return done,
        };
        let unreachable = || StoreError::Unreachable {
            outage,
            attempts,
            pause,
        };
        // Between two refusals it gives something else.
        let other = ObjectPath::parse(MARKER_PATH).map_err(|_| unreachable())?;
        self.store.get(&other, None).map_err(|_| unreachable())?;
        match attempt() {
            Err(StoreError::Unreachable { .. }) => Err(StoreError::Withheld {
                path: path.clone(),
                outage,
                attempts: attempts.saturating_add(1),
            }),
            done => done,
        }
    }

    /// Doubling pauses of which a random half is left out, so that many clients that failed
    /// together do not come back together.
    fn pause_after(&self, tries: u32, asked: Option<Duration>) -> Duration {
        let doublings = tries.saturating_sub(1).min(16);
        let full = self
            .patience
            .pause_first
            .saturating_mul(2_u32.saturating_pow(doublings));
        let mut random = [0; 1];
        // Without randomness the pause is simply the full one.
        let share = getrandom::fill(&mut random).map_or(255, |()| {
            let [byte] = random;
            u32::from(byte)
        });
        let half = full.checked_div(2).unwrap_or_default();
        let jitter = half
            .saturating_mul(share)
            .checked_div(255)
            .unwrap_or_default();
        half.saturating_add(jitter)
            .max(asked.unwrap_or_default())
            .min(self.patience.pause_max)
    }
}

impl<S: Store> Store for Patient<S> {
    fn put(&self, path: &ObjectPath, body: Body<'_>) -> Result<(), StoreError> {
        match body {
            Body::Bytes(bytes) => self.repeat(|| self.store.put(path, Body::Bytes(bytes))),
            // The buffer goes back to its pool when the last try has let go of it.
            Body::Buffer(buffer) => {
                let bytes = Bytes::from_owner(buffer);
                self.repeat(|| self.store.put(path, Body::Shared(bytes.clone())))
            }
            Body::Shared(bytes) => {
                self.repeat(|| self.store.put(path, Body::Shared(bytes.clone())))
            }
            Body::File { file, len } => self.repeat(|| {
                let file = file.try_clone().map_err(|error| StoreError::Disk {
                    action: super::Action::Put,
                    kind: error.kind(),
                    code: error.raw_os_error(),
                })?;
                self.store.put(path, Body::File { file, len })
            }),
        }
    }

    fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Vec<u8>, StoreError> {
        self.repeat_for(path, || self.store.get(path, range.clone()))
    }

    fn get_into(&self, path: &ObjectPath, offset: u64, out: &mut [u8]) -> Result<(), StoreError> {
        self.repeat_for(path, || self.store.get_into(path, offset, out))
    }

    fn length(&self, path: &ObjectPath) -> Result<u64, StoreError> {
        self.repeat(|| self.store.length(path))
    }

    fn visit(
        &self,
        folder: &ObjectFolder,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.repeat(|| self.store.visit(folder, each))
    }

    fn delete(&self, path: &ObjectPath) -> Result<(), StoreError> {
        self.repeat(|| self.store.delete(path))
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.repeat(|| self.store.flush())
    }

    fn adopt(&self, path: &ObjectPath) -> Result<(), StoreError> {
        self.repeat(|| self.store.adopt(path))
    }

    fn free_space(&self) -> Result<Option<u64>, StoreError> {
        self.repeat(|| self.store.free_space())
    }

    fn describe(&self) -> String {
        self.store.describe()
    }
}
