//! Threads that take jobs from one queue, while the caller's walks the index: where one waits for the store, another
//! opens what has come.
//!
//! Jobs go to a thread in batches: those whose extents lie side by side in a pack, as they do where a folder was backed up in
//! one run. So a batch is one request to the store, and each sealed frame in it is opened once.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

use keyhaven_repo::layout::{Extent, FRAME_BYTES};

use super::fetch::RUN_BYTES;

/// Threads in a crew. Most of what they do is to wait, for a store or a disk, so there are more than some machines have processors; each
/// holds a run.
pub(crate) const SIZE: usize = 4;

/// What a thread of a crew does.
pub(crate) trait Worker: Send {
    type Job: Send;
    type Answer: Send;

    /// What a job needs of the store.
    fn extents(job: &Self::Job) -> &[Extent];

    /// The extents of the jobs that come next lie side by side here; without it each is by itself.
    fn expect(&mut self, run: Option<Extent>);

    fn work(&mut self, job: Self::Job) -> Self::Answer;
}

/// Threads that make an answer of each job, in no order.
pub(crate) struct Crew<W: Worker> {
    /// Still open to more.
    batch: Batch<W::Job>,
    queue: SyncSender<Batch<W::Job>>,
    answers: Receiver<W::Answer>,
}

/// Batches that wait for a thread.
const QUEUE: usize = 8;

impl<W: Worker> Crew<W> {
    /// Starts a thread for each of `workers`.
    pub(crate) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        workers: impl IntoIterator<Item = W>,
    ) -> Self
    where
        W: 'scope,
    {
        let (sender, queue) = sync_channel::<Batch<W::Job>>(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        // As many answers as there can be jobs: a worker never waits to answer.
        let (said, answers) = channel();
        for mut worker in workers {
            let (queue, said) = (Arc::clone(&queue), said.clone());
            scope.spawn(move || {
                let next = || {
                    let queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
                    queue.recv()
                };
                while let Ok(Batch { run, jobs }) = next() {
                    worker.expect(run);
                    for job in jobs {
                        if said.send(worker.work(job)).is_err() {
                            return;
                        }
                    }
                }
            });
        }
        Self {
            batch: Batch::new(),
            queue: sender,
            answers,
        }
    }

    /// Hands in a job; waits while the queue is full.
    pub(crate) fn send(&mut self, job: W::Job) {
        let own = match W::extents(&job) {
            [extent] => Some(*extent),
            _ => None,
        };
        if let Some(full) = self.batch.add(job, own) {
            self.hand_over(full);
        }
        if own.is_none() {
            // Nothing can join it.
            self.hand_over_open();
        }
    }

    fn hand_over_open(&mut self) {
        let open = std::mem::replace(&mut self.batch, Batch::new());
        self.hand_over(open);
    }

    fn hand_over(&self, batch: Batch<W::Job>) {
        // Nobody takes it only where all threads have panicked, and the scope passes that on when it ends.
        let _ = self.queue.send(batch);
    }

    /// The answers that are there by now.
    pub(crate) fn ready(&self) -> impl Iterator<Item = W::Answer> {
        self.answers.try_iter()
    }

    /// Those that are left, as they come, until every job that was handed in has its own.
    pub(crate) fn finish(mut self) -> impl Iterator<Item = W::Answer> {
        self.hand_over_open();
        drop(self.queue);
        self.answers.into_iter()
    }
}

/// Bytes between two extents that are fetched with them: their frames have most of these anyway.
const GAP_BYTES: u32 = FRAME_BYTES;
/// Jobs in a batch, where they are small.
const JOBS_MAX: usize = 256;

/// Jobs for one thread.
struct Batch<J> {
    run: Option<Extent>,
    jobs: Vec<J>,
}

impl<J> Batch<J> {
    fn new() -> Self {
        Self {
            run: None,
            jobs: Vec::new(),
        }
    }

    /// Adds a job, which needs one extent or many, if it belongs here. Otherwise this begins anew with it, and what it was is
    /// returned.
    fn add(&mut self, job: J, own: Option<Extent>) -> Option<Self> {
        let longer = self.run.zip(own).and_then(|(run, own)| joined(run, own));
        if longer.is_some() && self.jobs.len() < JOBS_MAX {
            self.run = longer;
            self.jobs.push(job);
            return None;
        }
        let begun = Self {
            run: own,
            jobs: vec![job],
        };
        let before = std::mem::replace(self, begun);
        (!before.jobs.is_empty()).then_some(before)
    }
}

/// The run that an extent makes longer, if it lies in it or right behind it.
fn joined(run: Extent, own: Extent) -> Option<Extent> {
    if run.covers(&own) {
        return Some(run);
    }
    let longer = run.to_end_of(&own)?;
    let is_near = own.offset >= run.offset && own.offset.saturating_sub(run.end()?) <= GAP_BYTES;
    (is_near && longer.len <= RUN_BYTES).then_some(longer)
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
    use keyhaven_repo::names::PackName;

    use super::*;

    /// Says which run each number came in.
    #[derive(Default)]
    struct Telling(Option<Extent>);

    impl Worker for Telling {
        type Job = (u32, Vec<Extent>);
        type Answer = (u32, Option<Extent>);

        fn extents((_, extents): &Self::Job) -> &[Extent] {
            extents
        }

        fn expect(&mut self, run: Option<Extent>) {
            self.0 = run;
        }

        fn work(&mut self, (number, _): Self::Job) -> Self::Answer {
            (number, self.0)
        }
    }

    fn extent(pack: u8, offset: u32, len: u32) -> Extent {
        let pack = PackName::from_bytes([pack; 32]);
        Extent { pack, offset, len }
    }

    /// What becomes of jobs, in their order, that need these extents each.
    fn runs(jobs: &[Vec<Extent>]) -> Vec<Option<Extent>> {
        let mut answers = std::thread::scope(|scope| {
            let mut crew = Crew::start(scope, (0..3).map(|_| Telling::default()));
            let mut answers = Vec::new();
            for (number, extents) in (0..).zip(jobs) {
                crew.send((number, extents.clone()));
                answers.extend(crew.ready());
            }
            answers.extend(crew.finish());
            answers
        });
        answers.sort_unstable_by_key(|(number, _)| *number);
        let numbers = answers.iter().map(|(number, _)| *number);
        assert!(numbers.eq((0..).take(jobs.len())), "each has its answer");
        answers.into_iter().map(|(_, run)| run).collect()
    }

    #[test]
    fn every_job_gets_its_answer() {
        assert_eq!(runs(&[]), []);
        assert_eq!(runs(&vec![vec![]; 1_000]), vec![None; 1_000]);
    }

    #[test]
    fn what_lies_side_by_side_comes_in_one_run() {
        let one = |pack, offset, len| vec![extent(pack, offset, len)];
        let whole = Some(extent(1, 100, 1_000));
        let found = runs(&[
            one(1, 100, 400),
            one(1, 500, 500),
            one(1, 1_050, 50),
            one(1, 500, 500),
        ]);
        assert_eq!(found, [whole; 4], "with a gap, and one of them twice");
        let apart = [
            one(1, 5_000, 400),
            one(1, 4_000, 400),
            one(1, 4_400 + GAP_BYTES + 1, 400),
            one(2, 4_400 + GAP_BYTES + 401, 400),
            vec![],
            vec![extent(2, 0, 10), extent(3, 0, 10)],
            one(3, 10, u32::MAX - 10),
            one(3, u32::MAX, 1),
        ];
        let alone = |extents: &Vec<Extent>| match extents.as_slice() {
            [extent] => Some(*extent),
            _ => None,
        };
        assert_eq!(runs(&apart), apart.iter().map(alone).collect::<Vec<_>>());
    }

    #[test]
    fn a_run_has_its_limits() {
        let large: Vec<_> = (0..4).map(|n| vec![extent(1, n << 20, 1 << 20)]).collect();
        let two = |n: u32| Some(extent(1, n << 21, 2 << 20));
        assert_eq!(runs(&large), [two(0), two(0), two(1), two(1)]);
        let small: Vec<_> = (0..300).map(|n| vec![extent(1, n, 1)]).collect();
        let found = runs(&small);
        assert_eq!(found[0], Some(extent(1, 0, 256)));
        assert_eq!(found[256], Some(extent(1, 256, 44)));
    }
}
