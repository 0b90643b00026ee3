//! Accepts connections and gives each its limits (VAULT-10).

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::connections::{Connections, Place};
use crate::metrics::Metrics;
use crate::queue::{Phase, no_longer_serving};

/// A head longer than this is no client's: a token is 68 letters.
const HEAD_BYTES_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 48;

/// Listens until the phase is no longer serving, and then until the connections are done or
/// `patience` is over.
pub(crate) struct Listener {
    pub(crate) listener: TcpListener,
    pub(crate) router: Router,
    pub(crate) connections: Arc<Connections>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) phase: watch::Receiver<Phase>,
    /// How long a connection may take to send a request's head, or be idle.
    pub(crate) head_time: Duration,
    pub(crate) patience: Duration,
}

impl Listener {
    pub(crate) async fn run(self) {
        let mut phase = self.phase.clone();
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = no_longer_serving(&mut phase) => break,
                Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => self.admit(stream, &mut tasks),
                    Err(error) => {
                        // No file handles are left, or the peer was gone before it was accepted.
                        // A pause keeps the first from burning a core.
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                },
            }
            self.metrics
                .connections
                .set(i64::try_from(self.connections.open()).unwrap_or(0));
        }
        drop(self.listener);
        let finished = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(self.patience, finished).await.is_err() {
            tracing::warn!("some connections did not finish in time and are cut off");
        }
    }

    fn admit(&self, stream: TcpStream, tasks: &mut JoinSet<()>) {
        let Some((place, told_to_go)) = self.connections.admit() else {
            self.metrics.connections_refused.inc();
            return;
        };
        // Answers are small and complete; waiting to fill a segment only delays them.
        let _ = stream.set_nodelay(true);
        let router = self.router.clone();
        let phase = self.phase.clone();
        tasks.spawn(serve(
            stream,
            router,
            place,
            told_to_go,
            phase,
            self.head_time,
        ));
    }
}

async fn serve(
    stream: TcpStream,
    router: Router,
    place: Arc<Place>,
    told_to_go: oneshot::Receiver<()>,
    mut phase: watch::Receiver<Phase>,
    head_time: Duration,
) {
    let service = TowerToHyperService::new(router);
    let service = service_fn(move |request: Request<Incoming>| {
        let busy = place.busy();
        let answer = service.call(request);
        async move {
            let answer = answer.await;
            drop(busy);
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_time)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::pin!(told_to_go);
    let mut stopping = false;
    loop {
        tokio::select! {
            // How a connection ended is its peer's business: nothing to be done about it here.
            _ = connection.as_mut() => return,
            _ = told_to_go.as_mut() => return,
            () = no_longer_serving(&mut phase), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
