//! A store that fails as clouds do: in passing, and not always honestly (F16).

use std::collections::VecDeque;
use std::fmt;
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex, PoisonError};

use keyhaven::store::{Body, Listed, ObjectFolder, ObjectPath, Outage, Store, StoreError};

use crate::memory::body_bytes;

/// How often each fault strikes, in calls of a thousand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// "Fewer requests, please" (429).
    pub throttled: u16,
    /// A fault of the server (5xx).
    pub server_fault: u16,
    /// No answer, and nothing happened.
    pub timed_out_before: u16,
    /// No answer, though it was done.
    pub timed_out_after: u16,
    /// The body of a get or a put is cut off; a put leaves nothing.
    pub cut_body: u16,
    /// A put is cut off and leaves a torn object under its name, as a server does that writes in
    /// place. It is in none of the sets below: a [`Store`] promises that a put which fails leaves nothing under the name, and
    /// those that ship keep it. A folder renames what is whole, an S3 object is one request, and on WebDAV, where servers do
    /// write in place, an object is moved from `.spool/`. It is for what stands before such a server: patience and a spool
    /// repeat a put until it is whole.
    pub torn_put: u16,
    /// A length, or a whole object, comes back one byte short without an error.
    pub wrong_length: u16,
    /// A listing does not show the newest objects yet.
    pub stale_list: u16,
    /// A delete is acknowledged and forgotten.
    pub lost_delete: u16,
    /// The credentials end, for this call and all later ones until they are [renewed](Flaky::renew). It does not pass by itself,
    /// so it is in none of the sets below.
    pub expired: u16,
}

impl Rates {
    /// Every fault that passes when the call is repeated, each at `rate` in a thousand.
    #[must_use]
    pub fn passing(rate: u16) -> Self {
        Self {
            throttled: rate,
            server_fault: rate,
            timed_out_before: rate,
            timed_out_after: rate,
            cut_body: rate,
            ..Self::default()
        }
    }

    /// Every fault that a store may have, each at `rate` in a thousand.
    #[must_use]
    pub fn all(rate: u16) -> Self {
        Self {
            wrong_length: rate,
            stale_list: rate,
            lost_delete: rate,
            ..Self::passing(rate)
        }
    }
}

/// How many of the newest objects a stale listing leaves out.
const STALE_OBJECTS: usize = 3;

/// A store that fails at random, the same way for the same seed and the same calls.
pub struct Flaky {
    store: Arc<dyn Store>,
    rates: Rates,
    state: Mutex<State>,
}

struct State {
    random: u64,
    newest: VecDeque<ObjectPath>,
    struck: u64,
    has_expired: bool,
}

impl Flaky {
    /// Wraps `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, seed: u64, rates: Rates) -> Self {
        Self {
            store,
            rates,
            state: Mutex::new(State {
                random: seed,
                newest: VecDeque::new(),
                struck: 0,
                has_expired: false,
            }),
        }
    }

    /// How many faults struck so far.
    #[must_use]
    pub fn struck(&self) -> u64 {
        self.with(|state| state.struck)
    }

    /// The credentials are good again.
    pub fn renew(&self) {
        self.with(|state| state.has_expired = false);
    }

    /// Whether the credentials are still good.
    fn admits(&self) -> Result<(), StoreError> {
        if self.rates.expired > 0 && self.strikes(self.rates.expired) {
            self.with(|state| state.has_expired = true);
        }
        match self.with(|state| state.has_expired) {
            true => Err(StoreError::Expired {
                place: self.describe(),
            }),
            false => Ok(()),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn strikes(&self, rate: u16) -> bool {
        self.with(|state| {
            let strikes = state.draw() % 1000 < u64::from(rate);
            state.struck = state.struck.saturating_add(u64::from(strikes));
            strikes
        })
    }

    /// The faults that any call may meet.
    fn pass<T>(&self, call: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.admits()?;
        for (rate, outage) in [
            (self.rates.throttled, Outage::Throttled),
            (self.rates.server_fault, Outage::ServerFault),
            (self.rates.timed_out_before, Outage::TimedOut),
        ] {
            if self.strikes(rate) {
                return Err(unreachable(outage));
            }
        }
        let outcome = call()?;
        if self.strikes(self.rates.timed_out_after) {
            return Err(unreachable(Outage::TimedOut));
        }
        Ok(outcome)
    }
}

impl State {
    /// `SplitMix64` (Steele, Lea, Flood 2014): one word of state, every seed good.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.random;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

fn unreachable(outage: Outage) -> StoreError {
    StoreError::Unreachable {
        outage,
        attempts: 1,
        pause: None,
    }
}

impl Store for Flaky {
    fn put(&self, path: &ObjectPath, body: Body<'_>) -> Result<(), StoreError> {
        if self.strikes(self.rates.cut_body) {
            return Err(unreachable(Outage::CutBody));
        }
        if self.strikes(self.rates.torn_put) {
            self.admits()?;
            let bytes = body_bytes(body)?;
            let torn = bytes.get(..bytes.len() >> 1).unwrap_or_default();
            self.store.put(path, Body::Bytes(torn))?;
            return Err(unreachable(Outage::CutBody));
        }
        self.with(|state| {
            state.newest.push_back(path.clone());
            if state.newest.len() > STALE_OBJECTS {
                state.newest.pop_front();
            }
        });
        self.pass(|| self.store.put(path, body))
    }

    fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Vec<u8>, StoreError> {
        if self.strikes(self.rates.cut_body) {
            return Err(unreachable(Outage::CutBody));
        }
        let is_whole = range.is_none();
        let mut bytes = self.pass(|| self.store.get(path, range))?;
        if is_whole && self.strikes(self.rates.wrong_length) {
            bytes.pop();
        }
        Ok(bytes)
    }

    fn get_into(&self, path: &ObjectPath, offset: u64, out: &mut [u8]) -> Result<(), StoreError> {
        if self.strikes(self.rates.cut_body) {
            // Some bytes came, and what they are must not matter.
            out.fill(0xa5);
            return Err(unreachable(Outage::CutBody));
        }
        self.pass(|| self.store.get_into(path, offset, out))
    }

    fn length(&self, path: &ObjectPath) -> Result<u64, StoreError> {
        let length = self.pass(|| self.store.length(path))?;
        if self.strikes(self.rates.wrong_length) {
            return Ok(length.saturating_sub(1));
        }
        Ok(length)
    }

    fn visit(
        &self,
        folder: &ObjectFolder,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let hidden = if self.strikes(self.rates.stale_list) {
            self.with(|state| state.newest.clone())
        } else {
            VecDeque::new()
        };
        self.pass(|| {
            self.store.visit(folder, &mut |listed| {
                if hidden.contains(&listed.path) {
                    ControlFlow::Continue(())
                } else {
                    each(listed)
                }
            })
        })
    }

    fn delete(&self, path: &ObjectPath) -> Result<(), StoreError> {
        if self.strikes(self.rates.lost_delete) {
            self.admits()?;
            return Ok(());
        }
        self.pass(|| self.store.delete(path))
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.pass(|| self.store.flush())
    }

    fn adopt(&self, path: &ObjectPath) -> Result<(), StoreError> {
        self.pass(|| self.store.adopt(path))
    }

    fn free_space(&self) -> Result<Option<u64>, StoreError> {
        self.pass(|| self.store.free_space())
    }

    fn describe(&self) -> String {
        self.store.describe()
    }
}

impl fmt::Debug for Flaky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flaky")
            .field("rates", &self.rates)
            .finish_non_exhaustive()
    }
}
