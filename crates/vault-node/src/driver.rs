//! The core's thread: batch by batch, and nothing else.

use std::time::Instant;

use keyhaven_vault_core::Touch;
use keyhaven_wire::message::HostTime;
use tokio::sync::watch;

use crate::machine::{CommitError, Machine};
use crate::metrics::Metrics;
use crate::os::{self, SystemEntropy};
use crate::queue::{Batches, Phase};

/// Answers until every connection is gone, or until something fails that the machine must not go
/// on after. Those who wait when it fails are told that they were not answered.
pub(crate) fn run(
    mut machine: Machine,
    mut batches: Batches,
    phase: &watch::Sender<Phase>,
    metrics: &Metrics,
) -> Result<(), CommitError> {
    // Said also when this thread panics: the connections must not wait for a core that is gone.
    let _said = SayFailed(phase);
    while let Some(waiting) = batches.next() {
        let began = Instant::now();
        let requests = waiting.len();
        let touches = waiting
            .iter()
            .map(|waiting| Touch {
                account: waiting.account.clone(),
                request: waiting.request.clone(),
            })
            .collect();
        let now = HostTime::new(os::now_seconds());
        let answers = machine
            .commit(touches, now, &mut SystemEntropy)
            .inspect_err(|error| {
                tracing::error!(%error, "the vault stops; start it again once the cause is gone");
            })?;
        metrics.committed(requests, began.elapsed(), machine.index());
        for (waiting, answer) in waiting.into_iter().zip(answers) {
            waiting.answer(answer);
        }
    }
    Ok(())
}

struct SayFailed<'a>(&'a watch::Sender<Phase>);

impl Drop for SayFailed<'_> {
    fn drop(&mut self) {
        self.0.send_if_modified(|phase| {
            let serving = *phase == Phase::Serving;
            if serving {
                *phase = Phase::Failed;
            }
            serving
        });
    }
}
