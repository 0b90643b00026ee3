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
use http::{Method, Request, Response, StatusCode};
use opendal::{Buffer, Error, ErrorKind, HttpBody, HttpTransport};
use rustls::CertificateError;

use super::answer::{Due, FOREIGN};
use super::download::{Asked, Download, at_once};
use super::fault::Fault;
use crate::store::error::{Mistrust, Outage};
use crate::store::patience::Patience;

/// What is handed to the connection at a time, so that progress can be seen.
const PIECE_BYTES: usize = 64 << 10;

/// What is read of a refusal. S3's are some hundred bytes, and begin with their code.
const REFUSAL_BYTES_MAX: usize = 4 << 10;

/// Redirects that are followed, by who reads an object.
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
    /// `has_tls`: whether the store is reached through TLS.
    pub(super) fn new(patience: &Patience, has_tls: bool) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("keyhaven/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(patience.connect_max)
            // BACKUP-2: a write that somebody else answers in the store's place was not written.
            .redirect(reqwest::redirect::Policy::none());
        // BACKUP-3: through TLS a proxy learns the store's name and no more; without, it would read the password.
        let client = match has_tls {
            true => client,
            false => client.no_proxy(),
        };
        Ok(Self {
            client: client.build()?,
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

    /// Sends a request. One that reads is sent on where the server says so: some keep their objects elsewhere.
    async fn ask(
        &self,
        parts: &http::request::Parts,
        body: Buffer,
    ) -> opendal::Result<reqwest::Response> {
        // The URL stays out of the error: object names are of no use in it, and a signature is
        // nobody's business.
        let mut url = reqwest::Url::parse(&parts.uri.to_string())
            .map_err(|_| Error::new(ErrorKind::Unexpected, "not a URL"))?;
        let mut headers = parts.headers.clone();
        let mut redirects = 0;
        loop {
            let mut request = self
                .client
                .request(parts.method.clone(), url.clone())
                .headers(headers.clone());
            let sent = Arc::new(AtomicU64::new(0));
            if !body.is_empty() {
                request = request.body(reqwest::Body::wrap(Upload {
                    left: body.clone(),
                    sent: Arc::clone(&sent),
                }));
            }
            let answer = self.wait(&sent, request.send()).await?;
            let next = leads_to(&answer)
                .filter(|_| parts.method == Method::GET && redirects < REDIRECTS_MAX);
            let Some(next) = next else {
                return Ok(answer);
            };
            // BACKUP-3: passwords, signatures and tokens are for the server that they were given for.
            if next.origin() != url.origin() {
                let range = headers.remove(http::header::RANGE);
                headers.clear();
                headers.extend(range.map(|range| (http::header::RANGE, range)));
            }
            url = next;
            redirects = redirects.saturating_add(1);
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
        if let Some(fault) = Fault::of_code(&said) {
            return Err(fault.into_error());
        }
        let mut response = Response::new(());
        *response.status_mut() = answer.status();
        response.extensions_mut().insert(uri);
        Ok(response.map(|()| at_once(said)))
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
        let due = Due::to(&request);
        let (parts, body) = request.into_parts();
        let is_head = parts.method == Method::HEAD;
        let mut answer = self.ask(&parts, body).await?;
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
        // A move is answered by 201 or 204 (RFC 4918, section 9.9.4), by a login page with 200.
        if parts.method.as_str() == "MOVE" && answer.status() == StatusCode::OK {
            return Err(FOREIGN.into_error());
        }
        let mut response = Response::new(());
        *response.status_mut() = answer.status();
        *response.version_mut() = answer.version();
        *response.headers_mut() = answer.headers().clone();
        response.extensions_mut().insert(parts.uri);
        if is_head {
            return Ok(response.map(|()| at_once(Vec::new())));
        }
        let body = Download::of(answer, self.stall_max);
        if !response.status().is_success() {
            return Ok(response.map(|()| body.streamed()));
        }
        if let Some(due) = due {
            let said = due.check(body.whole().await?).map_err(Fault::into_error)?;
            return Ok(response.map(|()| at_once(said)));
        }
        if parts.method == Method::GET {
            let range = Asked::by(&parts.headers);
            return body.object(response, range).await;
        }
        Ok(response.map(|()| body.streamed()))
    }
}

/// Where a read is sent on to. It does not lead out of TLS.
fn leads_to(answer: &reqwest::Response) -> Option<reqwest::Url> {
    let is_redirect = matches!(answer.status().as_u16(), 301 | 302 | 307 | 308);
    let location = answer.headers().get(http::header::LOCATION)?;
    let url = answer.url().join(location.to_str().ok()?).ok()?;
    let keeps_tls = url.scheme() == "https" || answer.url().scheme() == "http";
    (is_redirect && keeps_tls).then_some(url)
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

pub(super) fn fault_of(error: &reqwest::Error) -> Fault {
    if let Some(why) = mistrust(error) {
        // Trying again would not make a stranger trusted.
        Fault::Untrusted(why)
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

/// Why TLS refused the server's certificate, if it did.
fn mistrust(error: &reqwest::Error) -> Option<Mistrust> {
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
        if let Some(rustls::Error::InvalidCertificate(refused)) = tls {
            return Some(why_refused(refused));
        }
        source = error.source();
    }
    None
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what helps a person is told apart, all else is one"
)]
fn why_refused(refused: &CertificateError) -> Mistrust {
    match refused {
        CertificateError::UnknownIssuer => Mistrust::UnknownIssuer,
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => Mistrust::OutOfDate,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Mistrust::OtherName
        }
        // It has no name of its own in `rustls`.
        CertificateError::Other(cause) if format!("{cause:?}").contains("CaUsedAsEndEntity") => {
            Mistrust::Authority
        }
        _ => Mistrust::Unfit,
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
