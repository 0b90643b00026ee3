//! The HTTP client under the cloud driver, with limits on everything that a server decides.
//!
//! A server may answer never, slowly, without end, with a redirect to somewhere else, or with a
//! status that means "later". Here each of these becomes a bounded wait and a typed fault, which
//! [`super::fault`] finds again in the driver's error.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http::{Request, Response, StatusCode};
use opendal::{Buffer, Error, ErrorKind, HttpBody, HttpTransport};
use tokio::time::{Instant, Sleep};

use super::fault::Fault;
use crate::store::OBJECT_BYTES_MAX;
use crate::store::error::Outage;
use crate::store::patience::Patience;

/// The longest answer that is read: an object, or a page of a listing. A WebDAV server lists a
/// folder in one piece, at some 500 bytes an object; packs are spread over 256 folders.
const ANSWER_BYTES_MAX: u64 = 2 * OBJECT_BYTES_MAX;

/// What is handed to the connection at a time, so that progress can be seen.
const PIECE_BYTES: usize = 64 << 10;

/// What is read of a refusal. S3's are some hundred bytes, and begin with their code.
const REFUSAL_BYTES_MAX: usize = 4 << 10;

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 3;

/// The HTTP client. A clone shares its connections.
#[derive(Debug, Clone)]
pub(super) struct Transport {
    client: reqwest::Client,
    stall_max: Duration,
    budget: Option<Budget>,
}

/// How many more requests one listing may take.
#[derive(Debug, Clone)]
pub(super) struct Budget(Arc<AtomicU64>);

impl Budget {
    pub(super) fn new(requests: u64) -> Self {
        Self(Arc::new(AtomicU64::new(requests)))
    }

    pub(super) fn add(&self, requests: u64) {
        self.0.fetch_add(requests, Ordering::Relaxed);
    }

    fn spend(&self) -> Result<(), Fault> {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            })
            .map(|_| ())
            .map_err(|_| Fault::Endless)
    }
}

impl Transport {
    pub(super) fn new(patience: &Patience) -> Result<Self, reqwest::Error> {
        let follow = reqwest::redirect::Policy::custom(|attempt| {
            let begun_with_tls = attempt
                .previous()
                .first()
                .is_some_and(|url| url.scheme() == "https");
            // A redirect never takes a request out of TLS: the client would send the password.
            if attempt.previous().len() > REDIRECTS_MAX
                || (begun_with_tls && attempt.url().scheme() != "https")
            {
                attempt.stop()
            } else {
                attempt.follow()
            }
        });
        let client = reqwest::Client::builder()
            .user_agent(concat!("keyhaven/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(patience.connect_max)
            .redirect(follow)
            .build()?;
        Ok(Self {
            client,
            stall_max: patience.stall_max,
            budget: None,
        })
    }

    /// The same client with a budget.
    pub(super) fn with_budget(&self, budget: Budget) -> Self {
        Self {
            budget: Some(budget),
            ..self.clone()
        }
    }

    /// Tells by its code why S3 refused a request, where the status does not. What else the server says is not looked at, and
    /// the driver gets the beginning of it.
    async fn refusal(
        &self,
        answer: &mut reqwest::Response,
        uri: http::Uri,
    ) -> opendal::Result<Response<HttpBody>> {
        let mut said = Vec::new();
        // One that is cut off, or never ends, is a refusal all the same.
        let _ = tokio::time::timeout(self.stall_max, async {
            while said.len() < REFUSAL_BYTES_MAX
                && let Ok(Some(piece)) = answer.chunk().await
            {
                said.extend_from_slice(&piece);
            }
        })
        .await;
        said.truncate(REFUSAL_BYTES_MAX);
        if let Some(fault) = fault_of_code(&said) {
            return Err(fault.into_error());
        }
        let mut response = Response::new(());
        *response.status_mut() = answer.status();
        response.extensions_mut().insert(uri);
        let said = Buffer::from(said);
        let body = futures_util::stream::once(std::future::ready(Ok(said)));
        Ok(response.map(|()| HttpBody::new(body, None)))
    }

    /// Waits for `answer` for as long as the request's body moves or the stall has not lasted.
    async fn wait<T>(
        &self,
        sent: &AtomicU64,
        answer: impl Future<Output = Result<T, reqwest::Error>>,
    ) -> opendal::Result<T> {
        let mut answer = std::pin::pin!(answer);
        loop {
            let before = sent.load(Ordering::Relaxed);
            match tokio::time::timeout(self.stall_max, &mut answer).await {
                Ok(answer) => return answer.map_err(|error| fault_of(&error).into_error()),
                Err(_) if sent.load(Ordering::Relaxed) != before => {}
                Err(_) => return Err(Fault::outage(Outage::TimedOut).into_error()),
            }
        }
    }
}

impl HttpTransport for Transport {
    async fn fetch(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        if let Some(budget) = &self.budget {
            budget.spend().map_err(Fault::into_error)?;
        }
        let (parts, body) = request.into_parts();
        let is_head = parts.method == http::Method::HEAD;
        // The URL stays out of the error: object names are of no use in it, and a signature is
        // nobody's business.
        let url = reqwest::Url::parse(&parts.uri.to_string())
            .map_err(|_| Error::new(ErrorKind::Unexpected, "not a URL"))?;
        let mut request = self
            .client
            .request(parts.method, url)
            .headers(parts.headers);
        let sent = Arc::new(AtomicU64::new(0));
        if !body.is_empty() {
            request = request.body(reqwest::Body::wrap(Upload {
                left: body,
                sent: Arc::clone(&sent),
            }));
        }
        let mut answer = self.wait(&sent, request.send()).await?;
        if let Some(fault) = fault_of_status(&answer) {
            return Err(fault.into_error());
        }
        let is_refusal = matches!(
            answer.status(),
            StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN
        );
        if is_refusal && !is_head {
            return self.refusal(&mut answer, parts.uri).await;
        }
        // Where the client unpacked an encoding, the header's length is not the body's.
        let is_encoded = answer
            .headers()
            .contains_key(http::header::CONTENT_ENCODING);
        let length = if is_head || is_encoded {
            None
        } else {
            answer
                .headers()
                .get(http::header::CONTENT_LENGTH)
                .and_then(|value| value.to_str().ok()?.parse::<u64>().ok())
        };
        let mut response = Response::new(());
        *response.status_mut() = answer.status();
        *response.version_mut() = answer.version();
        *response.headers_mut() = answer.headers().clone();
        response.extensions_mut().insert(parts.uri);
        let stream = Download {
            stream: Box::pin(answer.bytes_stream()),
            stall: Box::pin(tokio::time::sleep(self.stall_max)),
            stall_max: self.stall_max,
            left: ANSWER_BYTES_MAX,
        };
        Ok(response.map(|()| HttpBody::new(stream, length)))
    }
}

/// A request's body that counts what the connection took.
struct Upload {
    left: Buffer,
    sent: Arc<AtomicU64>,
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let piece = self.left.len().min(PIECE_BYTES);
        let piece = self.left.split_to(piece).to_bytes();
        self.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(http_body::Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.left.len() as u64)
    }
}

/// An answer's body that may neither stand still nor go on for ever.
struct Download {
    stream: Pin<Box<dyn Stream<Item = Result<Bytes, reqwest::Error>> + Send + Sync>>,
    stall: Pin<Box<Sleep>>,
    stall_max: Duration,
    left: u64,
}

impl Stream for Download {
    type Item = opendal::Result<Buffer>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        match this.stream.as_mut().poll_next(context) {
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(fault_of(&error).into_error()))),
            Poll::Ready(Some(Ok(piece))) => {
                if let Some(until) = Instant::now().checked_add(this.stall_max) {
                    this.stall.as_mut().reset(until);
                }
                match this.left.checked_sub(piece.len() as u64) {
                    Some(left) => {
                        this.left = left;
                        Poll::Ready(Some(Ok(Buffer::from(piece))))
                    }
                    None => Poll::Ready(Some(Err(Fault::Endless.into_error()))),
                }
            }
            Poll::Pending => match this.stall.as_mut().poll(context) {
                Poll::Ready(()) => {
                    Poll::Ready(Some(Err(Fault::outage(Outage::TimedOut).into_error())))
                }
                Poll::Pending => Poll::Pending,
            },
        }
    }
}

fn fault_of(error: &reqwest::Error) -> Fault {
    if is_about_trust(error) {
        // Trying again would not make a stranger trusted.
        Fault::Untrusted
    } else if error.is_timeout() {
        Fault::outage(Outage::TimedOut)
    } else if error.is_body() || error.is_decode() {
        Fault::outage(Outage::CutBody)
    } else if error.is_builder() || error.is_redirect() {
        Fault::Status(None)
    } else {
        Fault::outage(Outage::Connection)
    }
}

/// Whether TLS refused the server's certificate.
fn is_about_trust(error: &reqwest::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        let tls = error.downcast_ref::<rustls::Error>().or_else(|| {
            // An I/O error that wraps another names that one's source as its own, and hides it.
            let mut inner = error.downcast_ref::<std::io::Error>()?.get_ref()?;
            while let Some(deeper) = inner.downcast_ref::<std::io::Error>() {
                inner = deeper.get_ref()?;
            }
            inner.downcast_ref()
        });
        if matches!(tls, Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        source = error.source();
    }
    false
}

/// The codes of S3 that say more than their status, 400 or 403: a session ends after some hours, and a signature holds for
/// a quarter of an hour.
fn fault_of_code(said: &[u8]) -> Option<Fault> {
    let said = String::from_utf8_lossy(said);
    let (_, code) = said.split_once("<Code>")?;
    let (code, _) = code.split_once("</Code>")?;
    match code.trim() {
        "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => Some(Fault::Expired),
        "RequestTimeTooSkewed" | "RequestExpired" => Some(Fault::ClockDiffers),
        _ => None,
    }
}

/// The statuses that mean the same to every service; the driver interprets the others.
fn fault_of_status(answer: &reqwest::Response) -> Option<Fault> {
    let outage = |outage| {
        let pause = answer
            .headers()
            .get(http::header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok())
            .map(Duration::from_secs);
        Some(Fault::Outage { outage, pause })
    };
    match answer.status() {
        StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED => Some(Fault::Denied),
        StatusCode::REQUEST_TIMEOUT => outage(Outage::TimedOut),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::LOCKED => {
            outage(Outage::Throttled)
        }
        StatusCode::INSUFFICIENT_STORAGE => Some(Fault::Full),
        StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::NOT_IMPLEMENTED
        | StatusCode::HTTP_VERSION_NOT_SUPPORTED => Some(Fault::Status(Some(answer.status()))),
        status if status.is_server_error() => outage(Outage::ServerFault),
        status if status.is_redirection() && status != StatusCode::NOT_MODIFIED => {
            Some(Fault::Status(Some(status)))
        }
        _ => None,
    }
}
