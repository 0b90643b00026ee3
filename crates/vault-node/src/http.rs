//! The front door: what is asked of whom, and what is refused before the core hears of it.
//!
//! A stranger costs a hash and a lookup: the token is checked before a byte of the body is read,
//! the rate before it is queued, the length by the one length that every sealed request has.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use keyhaven_wire::channel::SEALED_REQUEST_BYTES;
use keyhaven_wire::message::AccountName;

use crate::accounts::Directory;
use crate::metrics::Metrics;
use crate::queue::{Phase, Queue, Unanswered};
use crate::rate::RateLimiter;
use keyhaven_vault_host::Answered;

/// A token is 68 letters; a header that is longer than this holds none.
const TOKEN_BYTES_MAX: usize = 512;

/// What every handler needs.
pub(crate) struct Door {
    pub(crate) queue: Queue,
    pub(crate) accounts: Directory,
    pub(crate) rate: RateLimiter,
    pub(crate) metrics: Arc<Metrics>,
    /// The signed note that clients are given; replaced while the server runs.
    pub(crate) bundle: RwLock<String>,
    pub(crate) body_time: Duration,
}

pub(crate) fn router(door: Arc<Door>) -> Router {
    Router::new()
        .route("/v1/vault", post(vault))
        .route("/v1/fleet", get(fleet))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(door)
}

/// Why a request was turned away outside the seal. None of these depends on what it holds.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    NoAccount,
    AccountsUnreadable,
    TooFast { wait: Duration },
    WrongLength,
    TooLong,
    TooSlow,
    Unreadable,
    Elsewhere,
    Damaged,
    Busy,
    Stopped,
}

async fn vault(State(door): State<Arc<Door>>, request: Request) -> Response {
    let arrived = Instant::now();
    let response = match answer(&door, request).await {
        Ok(sealed) => {
            let kind = (
                CONTENT_TYPE,
                HeaderValue::from_static("application/octet-stream"),
            );
            (
                [kind, (CACHE_CONTROL, HeaderValue::from_static("no-store"))],
                sealed,
            )
                .into_response()
        }
        Err(refusal) => refusal.into_response(),
    };
    door.metrics
        .answered(response.status().as_u16(), arrived.elapsed());
    response
}

async fn answer(door: &Door, request: Request) -> Result<Vec<u8>, Refusal> {
    let (head, body) = request.into_parts();
    let account = account(door, &head.headers)?;
    door.rate
        .admit(&account, Instant::now())
        .map_err(|wait| Refusal::TooFast { wait })?;
    if door.queue.phase() != Phase::Serving {
        return Err(Refusal::Stopped);
    }
    let sealed = read(body, &head.headers, door.body_time).await?;
    match door.queue.ask(account, sealed).await {
        Ok(Answered::Sealed(reply)) => Ok(reply),
        Ok(Answered::Unreadable) => Err(Refusal::Unreadable),
        Ok(Answered::Elsewhere) => Err(Refusal::Elsewhere),
        Ok(Answered::Damaged) => Err(Refusal::Damaged),
        Err(Unanswered::Full) => Err(Refusal::Busy),
        // Nothing that comes through this door moves a range.
        Ok(Answered::Lost | Answered::Range(_) | Answered::Refused(_))
        | Err(Unanswered::Stopped) => Err(Refusal::Stopped),
    }
}

fn account(door: &Door, headers: &HeaderMap) -> Result<AccountName, Refusal> {
    let token = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .filter(|value| value.len() <= TOKEN_BYTES_MAX)
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or(Refusal::NoAccount)?;
    match door.accounts.account_of(token) {
        Ok(account) => account.ok_or(Refusal::NoAccount),
        Err(error) => {
            tracing::error!(%error, "nobody can log in");
            Err(Refusal::AccountsUnreadable)
        }
    }
}

/// Reads exactly one sealed request, in bounded time and room (VAULT-10).
async fn read(body: Body, headers: &HeaderMap, within: Duration) -> Result<Vec<u8>, Refusal> {
    let told = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<usize>().ok());
    if told.is_some_and(|told| told > SEALED_REQUEST_BYTES) {
        return Err(Refusal::TooLong);
    }
    let body = tokio::time::timeout(within, to_bytes(body, SEALED_REQUEST_BYTES))
        .await
        .map_err(|_| Refusal::TooSlow)?
        .map_err(|_| Refusal::TooLong)?;
    if body.len() == SEALED_REQUEST_BYTES {
        Ok(body.to_vec())
    } else {
        Err(Refusal::WrongLength)
    }
}

impl Refusal {
    fn into_response(self) -> Response {
        let (status, text) = match &self {
            Self::NoAccount => (
                StatusCode::UNAUTHORIZED,
                "no account logs in with this token\n",
            ),
            Self::AccountsUnreadable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the vault cannot read its accounts\n",
            ),
            Self::TooFast { .. } => (StatusCode::TOO_MANY_REQUESTS, "too many requests\n"),
            Self::WrongLength => (StatusCode::BAD_REQUEST, "this is not a sealed request\n"),
            Self::TooLong => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "longer than any sealed request\n",
            ),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "the request came too slowly\n"),
            Self::Unreadable => (
                StatusCode::BAD_REQUEST,
                "not sealed to this vault and account, or changed on the way\n",
            ),
            Self::Elsewhere => (
                StatusCode::MISDIRECTED_REQUEST,
                "this account's record is kept by another group of the fleet\n",
            ),
            Self::Damaged => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "the vault's store is damaged where this account's record stands\n",
            ),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "too many requests wait\n"),
            Self::Stopped => (StatusCode::SERVICE_UNAVAILABLE, "the vault is stopping\n"),
        };
        let mut response = (status, text).into_response();
        let headers = response.headers_mut();
        match self {
            Self::NoAccount => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::TooFast { wait } => {
                // Whole seconds, rounded up: a client that waits so long is admitted.
                let part = u64::from(wait.subsec_nanos() > 0);
                let seconds = wait.as_secs().saturating_add(part).max(1);
                headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
            }
            Self::Busy => {
                headers.insert(RETRY_AFTER, HeaderValue::from(1_u64));
            }
            Self::AccountsUnreadable
            | Self::WrongLength
            | Self::TooLong
            | Self::TooSlow
            | Self::Unreadable
            | Self::Elsewhere
            | Self::Damaged
            | Self::Stopped => {}
        }
        response
    }
}

async fn fleet(State(door): State<Arc<Door>>) -> Response {
    let note = door
        .bundle
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let kind = (
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    (
        [kind, (CACHE_CONTROL, HeaderValue::from_static("no-store"))],
        note,
    )
        .into_response()
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(door): State<Arc<Door>>) -> (StatusCode, &'static str) {
    match door.queue.phase() {
        Phase::Serving => (StatusCode::OK, "ready\n"),
        Phase::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        Phase::Failed => (StatusCode::SERVICE_UNAVAILABLE, "failed\n"),
    }
}

async fn metrics(State(door): State<Arc<Door>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    (
        [(CONTENT_TYPE, HeaderValue::from_static(kind))],
        door.metrics.text(),
    )
        .into_response()
}
