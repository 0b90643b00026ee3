//! An HTTP server that answers as it is told, byte for byte.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What the server does with a request.
pub(crate) enum Answer {
    /// Sends these bytes and closes the connection.
    Bytes(Vec<u8>),
    /// Sends these bytes and then zeros, without end.
    Endless(Vec<u8>),
    /// Sends these bytes and then nothing, without closing.
    Stall(Vec<u8>),
}

impl Answer {
    /// A whole answer with a body.
    pub(crate) fn whole(status: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        Self::Bytes(
            format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
                .into_bytes(),
        )
    }

    /// The answer to a HEAD request.
    pub(crate) fn head(length: u64) -> Self {
        Self::Bytes(
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
                .into_bytes(),
        )
    }
}

pub(crate) struct Rude {
    pub(crate) address: String,
    requests: Arc<AtomicUsize>,
}

impl Rude {
    /// `answer` is told the request's head and its number, from 0.
    pub(crate) fn start(answer: impl Fn(&str, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        let answer = Arc::new(answer);
        // The threads end with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (counter, answer) = (Arc::clone(&counter), Arc::clone(&answer));
                std::thread::spawn(move || {
                    // A client that hangs up is none of our business.
                    let _ = stream.and_then(|stream| serve(stream, &counter, &*answer));
                });
            }
        });
        Self { address, requests }
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn serve(
    mut stream: TcpStream,
    counter: &AtomicUsize,
    answer: &dyn Fn(&str, usize) -> Answer,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(());
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, value)| value.trim().parse::<u64>().unwrap());
    std::io::copy(&mut (&mut stream).take(length), &mut std::io::sink())?;
    let number = counter.fetch_add(1, Ordering::SeqCst);
    match answer(&head, number) {
        Answer::Bytes(bytes) => stream.write_all(&bytes),
        Answer::Endless(bytes) => {
            stream.write_all(&bytes)?;
            loop {
                stream.write_all(&[0; 1 << 16])?;
            }
        }
        Answer::Stall(bytes) => {
            stream.write_all(&bytes)?;
            std::thread::sleep(std::time::Duration::from_secs(3600));
            Ok(())
        }
    }
}
