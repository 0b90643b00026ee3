//! Between the connections and the core: requests wait here while a batch is being committed.
//!
//! Group commit without a tick: the core's thread takes what waits as soon as it is free, one
//! request or hundreds, and what arrives meanwhile gathers for the next batch. With one client
//! nothing waits; with thousands they share one flush.

use std::sync::Arc;

use keyhaven_wire::message::AccountName;
use tokio::sync::{mpsc, oneshot, watch};

use crate::metrics::Metrics;
use keyhaven_vault_host::Answered;

/// Requests in one batch at most: it bounds what one step holds in memory and how long the next
/// one waits (VAULT-10).
pub(crate) const BATCH_REQUESTS_MAX: usize = 256;

/// One sealed request and whoever waits for its answer.
pub(crate) struct Waiting {
    pub(crate) account: AccountName,
    pub(crate) request: Vec<u8>,
    answer: oneshot::Sender<Answered>,
}

impl Waiting {
    /// Hands over what became of it. Whoever asked may have gone; then nobody hears it, and the
    /// same request sent again is answered again by the core.
    pub(crate) fn answer(self, answer: Answered) {
        let _ = self.answer.send(answer);
    }
}

/// What the server is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It answers.
    Serving,
    /// It finishes what it has begun and takes nothing new.
    Stopping,
    /// The core's thread has ended by itself; nothing is answered any more.
    Failed,
}

/// Waits until the server stops or fails.
pub(crate) async fn no_longer_serving(phase: &mut watch::Receiver<Phase>) {
    // An error says that the server itself is gone.
    let _ = phase.wait_for(|phase| *phase != Phase::Serving).await;
}

/// Why a request was not answered. It may have been executed nevertheless: whoever asked sends the
/// same bytes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// Too many wait already; this one was not taken.
    Full,
    /// The vault is stopping or has failed.
    Stopped,
}

/// The connections' end.
#[derive(Clone)]
pub(crate) struct Queue {
    sender: mpsc::Sender<Waiting>,
    phase: watch::Receiver<Phase>,
    metrics: Arc<Metrics>,
}

/// The core's end.
pub(crate) struct Batches {
    receiver: mpsc::Receiver<Waiting>,
    metrics: Arc<Metrics>,
}

pub(crate) fn queue(
    most: usize,
    phase: watch::Receiver<Phase>,
    metrics: Arc<Metrics>,
) -> (Queue, Batches) {
    let (sender, receiver) = mpsc::channel(most.max(1));
    (
        Queue {
            sender,
            phase,
            metrics: Arc::clone(&metrics),
        },
        Batches { receiver, metrics },
    )
}

impl Queue {
    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Queues a request and waits for its released answer.
    pub(crate) async fn ask(
        &self,
        account: AccountName,
        request: Vec<u8>,
    ) -> Result<Answered, Unanswered> {
        let (answer, answered) = oneshot::channel();
        self.sender
            .try_send(Waiting {
                account,
                request,
                answer,
            })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => Unanswered::Full,
                mpsc::error::TrySendError::Closed(_) => Unanswered::Stopped,
            })?;
        self.metrics.waiting.inc();
        answered.await.map_err(|_| Unanswered::Stopped)
    }
}

impl Batches {
    /// Waits for a request and takes all that wait with it, in order. `None` once every connection
    /// is gone.
    pub(crate) fn next(&mut self) -> Option<Vec<Waiting>> {
        let mut batch = vec![self.receiver.blocking_recv()?];
        while batch.len() < BATCH_REQUESTS_MAX {
            match self.receiver.try_recv() {
                Ok(waiting) => batch.push(waiting),
                Err(mpsc::error::TryRecvError::Empty | mpsc::error::TryRecvError::Disconnected) => {
                    break;
                }
            }
        }
        self.metrics
            .waiting
            .dec_by(i64::try_from(batch.len()).unwrap_or(0));
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(most: usize) -> (Queue, Batches, watch::Sender<Phase>) {
        let (sender, phase) = watch::channel(Phase::Serving);
        let (queue, batches) = queue(most, phase, Arc::new(Metrics::new()));
        (queue, batches, sender)
    }

    fn account() -> AccountName {
        AccountName::parse("a").unwrap()
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap()
    }

    #[test]
    fn what_waits_comes_in_one_batch_in_order() {
        let (queue, mut batches, _phase) = parts(600);
        let runtime = runtime();
        let asked: Vec<_> = (0..300_u16)
            .map(|number| {
                let queue = queue.clone();
                // Polled once here, so that they queue in this order.
                let mut ask =
                    Box::pin(
                        async move { queue.ask(account(), number.to_be_bytes().to_vec()).await },
                    );
                let waker = std::task::Waker::noop();
                let mut context = std::task::Context::from_waker(waker);
                assert!(ask.as_mut().poll(&mut context).is_pending());
                runtime.spawn(ask)
            })
            .collect();
        let first = batches.next().unwrap();
        assert_eq!(first.len(), BATCH_REQUESTS_MAX);
        let second = batches.next().unwrap();
        assert_eq!(second.len(), 300 - BATCH_REQUESTS_MAX);
        for waiting in first.into_iter().chain(second) {
            let request = waiting.request.clone();
            waiting.answer(Answered::Sealed(request));
        }
        for (number, ask) in asked.into_iter().enumerate() {
            let answer = runtime.block_on(ask).unwrap().unwrap();
            let number = u16::try_from(number).unwrap().to_be_bytes().to_vec();
            assert_eq!(answer, Answered::Sealed(number));
        }
        drop(queue);
        assert!(batches.next().is_none());
    }

    /// VAULT-10.
    #[test]
    fn a_full_queue_takes_no_more_and_a_closed_one_says_so() {
        let (queue, batches, _phase) = parts(1);
        let runtime = runtime();
        let first = runtime.spawn({
            let queue = queue.clone();
            async move { queue.ask(account(), vec![]).await }
        });
        while queue.sender.capacity() != 0 {
            std::thread::yield_now();
        }
        assert_eq!(
            runtime.block_on(queue.ask(account(), vec![])),
            Err(Unanswered::Full)
        );
        drop(batches);
        assert_eq!(runtime.block_on(first).unwrap(), Err(Unanswered::Stopped));
        assert_eq!(
            runtime.block_on(queue.ask(account(), vec![])),
            Err(Unanswered::Stopped)
        );
    }
}
