//! Threads that take jobs from one queue, while the caller's walks the index: where one waits for the store, another
//! opens what has come.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

/// See [`size`].
const SIZES: std::ops::RangeInclusive<usize> = 2..=4;

/// As many threads as there are processors. Each may hold an extent, which may be a whole pack of 8 MiB, so there are not
/// more than four; and a store far away is worth two on any machine.
pub(crate) fn size() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    processors.clamp(*SIZES.start(), *SIZES.end())
}

/// Threads that make an answer of each job, in no order.
pub(crate) struct Crew<J, A> {
    jobs: SyncSender<J>,
    answers: Receiver<A>,
}

impl<J: Send, A: Send> Crew<J, A> {
    /// Starts a thread for each of `workers`. At most `queue` jobs wait for one of them.
    pub(crate) fn start<'scope, W>(
        scope: &'scope Scope<'scope, '_>,
        queue: usize,
        workers: impl IntoIterator<Item = W>,
    ) -> Self
    where
        W: FnMut(J) -> A + Send + 'scope,
        J: 'scope,
        A: 'scope,
    {
        let (jobs, queue) = sync_channel::<J>(queue);
        let queue = Arc::new(Mutex::new(queue));
        // As many answers as there can be jobs: a worker never waits to answer.
        let (said, answers) = channel();
        for mut work in workers {
            let (queue, said) = (Arc::clone(&queue), said.clone());
            scope.spawn(move || {
                let next = || {
                    let queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
                    queue.recv()
                };
                while let Ok(job) = next() {
                    if said.send(work(job)).is_err() {
                        return;
                    }
                }
            });
        }
        Self { jobs, answers }
    }

    /// Hands in a job; waits while the queue is full.
    pub(crate) fn send(&self, job: J) {
        // Nobody takes it only where all threads have panicked, and the scope passes that on when it ends.
        let _ = self.jobs.send(job);
    }

    /// The answers that are there by now.
    pub(crate) fn ready(&self) -> impl Iterator<Item = A> {
        self.answers.try_iter()
    }

    /// Those that are left, as they come, until every job that was handed in has its own.
    pub(crate) fn finish(self) -> impl Iterator<Item = A> {
        drop(self.jobs);
        self.answers.into_iter()
    }
}

/// Does two things at the same time.
pub(crate) fn beside<A, B: Send>(
    one: impl FnOnce() -> A,
    other: impl FnOnce() -> B + Send,
) -> (A, B) {
    std::thread::scope(|scope| {
        let other = scope.spawn(other);
        let one = one();
        let other = other.join().unwrap_or_else(|panic| resume_unwind(panic));
        (one, other)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_gets_its_answer() {
        let mut answers = std::thread::scope(|scope| {
            let workers = (0..3).map(|_| |job: u32| job * 2);
            let crew = Crew::start(scope, 4, workers);
            let mut answers = Vec::new();
            for job in 0..1000 {
                crew.send(job);
                answers.extend(crew.ready());
            }
            answers.extend(crew.finish());
            answers
        });
        answers.sort_unstable();
        assert_eq!(answers, (0..1000).map(|job| job * 2).collect::<Vec<_>>());
    }
}
