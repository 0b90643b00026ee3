//! What a server sends, bounded: it may neither stand still nor go on for ever.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use opendal::{Buffer, HttpBody};
use tokio::time::{Instant, Sleep};

use super::fault::Fault;
use super::transport::fault_of;
use crate::store::OBJECT_BYTES_MAX;
use crate::store::error::Outage;

/// The longest answer that is read: an object, or a page of a listing. A WebDAV server lists a
/// folder in one piece, at some 500 bytes an object; packs are spread over 256 folders.
const ANSWER_BYTES_MAX: u64 = 2 * OBJECT_BYTES_MAX;

/// An answer's body, or the part of it that is due.
pub(super) struct Download {
    stream: Pin<Box<dyn Stream<Item = Result<Bytes, reqwest::Error>> + Send + Sync>>,
    stall: Pin<Box<Sleep>>,
    stall_max: Duration,
    left: u64,
    /// How long it is, if the server says so.
    length: Option<u64>,
    /// Bytes before what is due.
    skip: u64,
    /// Bytes that are due; what comes after them is not waited for.
    due: u64,
}

/// The range of an object that a request is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    first: u64,
    bytes: u64,
}

impl Asked {
    /// None if all of the object is asked for.
    pub(super) fn by(headers: &HeaderMap) -> Option<Self> {
        let range = headers.get(RANGE)?.to_str().ok()?;
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        let bytes = last.checked_sub(first)?.checked_add(1)?;
        Some(Self { first, bytes })
    }
}

impl Download {
    pub(super) fn of(answer: reqwest::Response, stall_max: Duration) -> Self {
        let headers = answer.headers();
        // Where the client unpacked an encoding, the header's length is not the body's.
        let length = match headers.contains_key(http::header::CONTENT_ENCODING) {
            true => None,
            false => number(headers.get(CONTENT_LENGTH)),
        };
        Self {
            stream: Box::pin(answer.bytes_stream()),
            stall: Box::pin(tokio::time::sleep(stall_max)),
            stall_max,
            left: ANSWER_BYTES_MAX,
            length,
            skip: 0,
            due: u64::MAX,
        }
    }

    /// As it comes.
    pub(super) fn streamed(self) -> HttpBody {
        let length = self.length;
        HttpBody::new(self, length)
    }

    /// All of it.
    pub(super) async fn whole(mut self) -> opendal::Result<Vec<u8>> {
        let mut said = Vec::new();
        while let Some(piece) = self.next().await {
            for piece in piece? {
                said.extend_from_slice(&piece);
            }
        }
        Ok(said)
    }

    /// An object, or the range of it that was asked for: a server need not know of ranges (RFC 9110, section 14.2), nor say how
    /// long its answers are (section 8.6). The driver wants both.
    pub(super) async fn object(
        mut self,
        mut response: Response<()>,
        asked: Option<Asked>,
    ) -> opendal::Result<Response<HttpBody>> {
        let Some(Asked { first, bytes }) = asked else {
            if self.length.is_some() {
                return Ok(response.map(|()| self.streamed()));
            }
            let said = self.whole().await?;
            let bytes = said.len() as u64;
            response.headers_mut().insert(CONTENT_LENGTH, bytes.into());
            return Ok(response.map(|()| at_once(said)));
        };
        match begins_at(response.headers()) {
            Some(begins) if begins != first => {
                return Err(Fault::outage(Outage::CutBody).into_error());
            }
            None if response.status() == StatusCode::OK => {
                (self.skip, self.due, self.length) = (first, bytes, None);
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            }
            Some(_) | None => {}
        }
        // The driver counts what comes.
        response.headers_mut().insert(CONTENT_LENGTH, bytes.into());
        Ok(response.map(|()| self.streamed()))
    }

    /// Keeps what is due of the next bytes.
    fn cut(&mut self, mut piece: Bytes) -> Bytes {
        let before = usize::try_from(self.skip).unwrap_or(usize::MAX);
        let before = before.min(piece.len());
        self.skip = self.skip.saturating_sub(before as u64);
        let mut piece = piece.split_off(before);
        piece.truncate(usize::try_from(self.due).unwrap_or(usize::MAX));
        self.due = self.due.saturating_sub(piece.len() as u64);
        piece
    }

    /// What is due of the next bytes, if they are not more than any answer has.
    fn take(&mut self, piece: Bytes) -> opendal::Result<Buffer> {
        if let Some(until) = Instant::now().checked_add(self.stall_max) {
            self.stall.as_mut().reset(until);
        }
        let left = self.left.checked_sub(piece.len() as u64);
        self.left = left.ok_or_else(|| Fault::Endless.into_error())?;
        Ok(Buffer::from(self.cut(piece)))
    }
}

impl Stream for Download {
    type Item = opendal::Result<Buffer>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        while this.due > 0 {
            return match this.stream.as_mut().poll_next(context) {
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Ready(Some(Err(error))) => {
                    Poll::Ready(Some(Err(fault_of(&error).into_error())))
                }
                Poll::Ready(Some(Ok(piece))) => match this.take(piece) {
                    // An empty piece would be the end to the driver.
                    Ok(piece) if piece.is_empty() => continue,
                    taken => Poll::Ready(Some(taken)),
                },
                Poll::Pending => match this.stall.as_mut().poll(context) {
                    Poll::Ready(()) => {
                        Poll::Ready(Some(Err(Fault::outage(Outage::TimedOut).into_error())))
                    }
                    Poll::Pending => Poll::Pending,
                },
            };
        }
        Poll::Ready(None)
    }
}

/// The first byte of the range that an answer says it is.
fn begins_at(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (first, _) = range.strip_prefix("bytes ")?.split_once('-')?;
    first.trim().parse().ok()
}

fn number(value: Option<&HeaderValue>) -> Option<u64> {
    value?.to_str().ok()?.trim().parse().ok()
}

/// A body that is all there.
pub(super) fn at_once(bytes: Vec<u8>) -> HttpBody {
    let length = bytes.len() as u64;
    let body = futures_util::stream::once(std::future::ready(Ok(Buffer::from(bytes))));
    HttpBody::new(body, Some(length))
}
