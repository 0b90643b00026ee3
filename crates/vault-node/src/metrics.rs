//! Figures for Prometheus. None of them names an account, and none depends on what a sealed
//! request holds.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Every figure that the host keeps.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Outcome, Counter>,
    answer_seconds: Histogram,
    batch_requests: Histogram,
    commit_seconds: Histogram,
    pub(crate) waiting: Gauge,
    pub(crate) connections: Gauge,
    pub(crate) connections_refused: Counter,
    log_index: Gauge<u64, AtomicU64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    status: u16,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("keyhaven_vault"),
            requests: Family::default(),
            answer_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            batch_requests: Histogram::new(exponential_buckets(1.0, 2.0, 10)),
            commit_seconds: Histogram::new(exponential_buckets(0.000_5, 2.0, 14)),
            waiting: Gauge::default(),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
            log_index: Gauge::default(),
        };
        let r = &mut metrics.registry;
        r.register(
            "requests",
            "Sealed requests by HTTP status",
            metrics.requests.clone(),
        );
        r.register_with_unit(
            "answer",
            "From a request's last byte to its answer",
            Unit::Seconds,
            metrics.answer_seconds.clone(),
        );
        r.register(
            "batch_requests",
            "Requests in one entry",
            metrics.batch_requests.clone(),
        );
        r.register_with_unit(
            "commit",
            "From a batch to its released answers",
            Unit::Seconds,
            metrics.commit_seconds.clone(),
        );
        r.register(
            "waiting",
            "Requests waiting for the next batch",
            metrics.waiting.clone(),
        );
        r.register(
            "connections",
            "Connections that stand",
            metrics.connections.clone(),
        );
        r.register(
            "connections_refused",
            "Connections turned away because every place had a request under way",
            metrics.connections_refused.clone(),
        );
        r.register(
            "log_index",
            "The newest captured entry",
            metrics.log_index.clone(),
        );
        metrics
    }

    pub(crate) fn answered(&self, status: u16, took: Duration) {
        self.requests.get_or_create(&Outcome { status }).inc();
        self.answer_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn committed(&self, requests: usize, took: Duration, index: u64) {
        let requests = u32::try_from(requests).unwrap_or(u32::MAX);
        self.batch_requests.observe(f64::from(requests));
        self.commit_seconds.observe(took.as_secs_f64());
        self.log_index.set(index);
    }

    pub(crate) fn resumed(&self, index: u64) {
        self.log_index.set(index);
    }

    /// The figures in the OpenMetrics text format.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a `String` cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
