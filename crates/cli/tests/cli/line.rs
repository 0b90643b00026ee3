//! A line to a server that counts what goes over it, and that may go dead in the middle of anything.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Bytes that are handed on at a time.
const PIECE_BYTES: usize = 4096;

/// A line, by the address that stands for the server's. Its threads end with the test's process.
pub(crate) struct Line {
    pub(crate) address: String,
    state: Arc<State>,
}

struct State {
    server: String,
    /// Bytes that may still go over it, in both directions together; the line is dead when they are used up.
    left: AtomicU64,
    has_stalled: AtomicBool,
    sent: AtomicU64,
}

impl Line {
    pub(crate) fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State {
            server: server.to_owned(),
            left: AtomicU64::new(u64::MAX),
            has_stalled: AtomicBool::new(false),
            sent: AtomicU64::new(0),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || serve(&client, &state));
            }
        });
        Self { address, state }
    }

    /// It goes dead after so many bytes more, and says nothing of it: nobody is told, nothing is closed.
    pub(crate) fn dies_after(&self, bytes: u64) {
        self.state.has_stalled.store(false, Ordering::SeqCst);
        self.state.left.store(bytes, Ordering::SeqCst);
    }

    pub(crate) fn mend(&self) {
        self.state.left.store(u64::MAX, Ordering::SeqCst);
    }

    /// Waits until somebody waits for it.
    pub(crate) fn until_stalled(&self) {
        until(|| self.state.has_stalled.load(Ordering::SeqCst));
    }

    /// Bytes that clients have sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.state.sent.load(Ordering::SeqCst)
    }

    pub(crate) fn until_sent(&self, bytes: u64) {
        until(|| self.sent() >= bytes);
    }
}

fn until(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing comes");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn serve(client: &TcpStream, state: &State) {
    let Ok(server) = TcpStream::connect(&state.server) else {
        return;
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            hand_on(client, &server, state, &|bytes| {
                state.sent.fetch_add(bytes, Ordering::SeqCst);
            })
        });
        hand_on(&server, client, state, &|_| {});
    });
}

fn hand_on(mut from: &TcpStream, mut to: &TcpStream, state: &State, count: &dyn Fn(u64)) {
    let mut piece = [0; PIECE_BYTES];
    while let Ok(len @ 1..) = from.read(&mut piece) {
        let bytes = len as u64;
        while state
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(bytes)
            })
            .is_err()
        {
            state.has_stalled.store(true, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(5));
        }
        count(bytes);
        if to.write_all(&piece[..len]).is_err() {
            break;
        }
    }
    // Whoever hangs up at one end does so at the other.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
