//! A fixed number of large buffers that go round: memory that does not grow with the backup.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// A pool of at most so many buffers. Cloning it is cheap and gives the same pool.
///
/// A buffer is allocated when it is first needed and reused afterwards. Whoever takes one when all
/// are out waits: that is the backpressure between sealing and a slow store.
#[derive(Clone)]
pub struct BufferPool {
    shared: Arc<Shared>,
}

struct Shared {
    bytes: usize,
    count_max: usize,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Vec<u8>>,
    out: usize,
}

impl BufferPool {
    /// A pool of `count_max` buffers (at least one) with room for `bytes` each.
    #[must_use]
    pub fn new(count_max: usize, bytes: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                bytes,
                count_max: count_max.max(1),
                state: Mutex::new(State::default()),
                returned: Condvar::new(),
            }),
        }
    }

    /// An empty buffer; waits until one comes back if all are out.
    #[must_use]
    pub fn take(&self) -> PooledBuffer {
        let mut state = self.shared.lock();
        while state.out >= self.shared.count_max {
            state = self
                .shared
                .returned
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        self.hand_out(&mut state)
    }

    /// How many buffers are out.
    #[must_use]
    pub fn out(&self) -> usize {
        self.shared.lock().out
    }

    fn hand_out(&self, state: &mut State) -> PooledBuffer {
        state.out = state.out.saturating_add(1);
        let mut bytes = state.idle.pop().unwrap_or_default();
        bytes.reserve_exact(self.shared.bytes);
        PooledBuffer {
            bytes,
            home: Some(Arc::clone(&self.shared)),
        }
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferPool")
            .field("bytes", &self.shared.bytes)
            .field("count_max", &self.shared.count_max)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // The state is two plain values, whole after every statement: a panic elsewhere while the
        // lock was held cannot have torn it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A buffer that returns to its pool when it is dropped. It may also have no pool.
pub struct PooledBuffer {
    bytes: Vec<u8>,
    home: Option<Arc<Shared>>,
}

impl PooledBuffer {
    /// The bytes, to fill, seal and shorten in place.
    #[must_use]
    pub fn as_vec_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl AsRef<[u8]> for PooledBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl From<Vec<u8>> for PooledBuffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, home: None }
    }
}

impl fmt::Debug for PooledBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PooledBuffer({} bytes)", self.bytes.len())
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        let Some(home) = self.home.take() else { return };
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        let mut state = home.lock();
        state.out = state.out.saturating_sub(1);
        // A buffer that its holder swapped for a small or a huge one is not worth keeping.
        if bytes.capacity() >= home.bytes && bytes.capacity() <= home.bytes.saturating_mul(2) {
            state.idle.push(bytes);
        }
        drop(state);
        home.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_go_round_and_their_number_is_bounded() {
        let pool = BufferPool::new(2, 4096);
        let mut first = pool.take();
        first.as_vec_mut().extend_from_slice(b"sealed");
        let place = first.as_slice().as_ptr();
        let second = pool.take();
        assert_eq!(pool.out(), 2);
        drop(first);
        let again = pool.take();
        assert_eq!(
            again.as_slice().as_ptr(),
            place,
            "the same memory came back"
        );
        assert!(again.is_empty());
        drop((again, second));
        assert_eq!(pool.out(), 0);
    }

    #[test]
    fn whoever_takes_when_all_are_out_waits_for_a_return() {
        let pool = BufferPool::new(1, 16);
        let held = pool.take();
        let waiting = std::thread::spawn({
            let pool = pool.clone();
            move || pool.take().len()
        });
        std::thread::sleep(std::time::Duration::from_millis(10));
        assert!(!waiting.is_finished());
        drop(held);
        assert_eq!(waiting.join().unwrap(), 0);
    }
}
