//! The hosts: everything that they could do in a state, and what comes of it.

use keyhaven_vault_core::Role;
use stateright::{Model, Property};

use crate::Bounds;
use crate::act::Act;
use crate::begin::{BUDGET, Begin, GUESSES};
use crate::bits::Bits;
use crate::book::{Book, Done, Said, Shown};
use crate::state::{CORES_MAX, State};

/// The hosts of one group, and what they may do.
pub struct Hosts {
    bounds: Bounds,
    book: Book,
    begin: State,
    /// The index of the entry that all cores begin with.
    first: u64,
}

impl Hosts {
    /// A group with one account, registered, and all cores in step.
    ///
    /// # Panics
    /// If not even that works.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        let (book, first) = Book::new(Begin::new(bounds.quorum));
        let mut cores = [0; CORES_MAX];
        cores[..first.cores.len()].copy_from_slice(&first.cores);
        let mut begin = State {
            cores,
            put_back: [0; CORES_MAX],
            images: Bits::default(),
            made: Bits::default().with(first.entry),
            calls: Bits::default(),
            reports: Bits::default(),
            captures: Bits::default(),
            answered: [false; GUESSES],
            released: Bits::default(),
            crashes: 0,
            touched: 0,
            broken: false,
        };
        for core in bounds.victims() {
            begin.images.insert(book.known(cores[core]).memory);
        }
        let mut hosts = Self {
            first: book.made(first.entry).entry.index().number(),
            bounds,
            book,
            begin,
        };
        if !bounds.every_step {
            let mut begin = hosts.begin.clone();
            begin.captures = first.captures;
            hosts.at_once(&mut begin);
            hosts.begin = begin;
        }
        hosts
    }

    fn cores(&self) -> std::ops::Range<usize> {
        0..usize::from(self.bounds.quorum.members)
    }

    /// Whether the hosts may put an older memory of this core back.
    fn is_victim(&self, core: usize) -> bool {
        self.bounds.victims().contains(&core)
    }

    /// The first of the cores that are alike at the beginning: all but the founder and those whose memory may
    /// be put back.
    fn alike(&self) -> usize {
        self.bounds.victims().end.max(1)
    }

    /// The cores that the hosts may turn to. Of those that are alike and that no host has turned to yet,
    /// only the first is tried, for what comes of any other is the same under another name.
    fn within_reach(&self, state: &State) -> usize {
        let all = self.cores().end;
        if self.bounds.every_name {
            return all;
        }
        all.min(self.alike() + state.touched + 1)
    }

    /// The guesses that a leader may be handed: those that are out already, and the first of the others,
    /// which are alike too.
    fn guesses(&self, state: &State) -> usize {
        if self.bounds.every_name {
            return GUESSES;
        }
        let guesses = state.made.iter();
        let out = guesses.filter_map(|made| self.book.made(made).guess).max();
        GUESSES.min(out.map_or(0, |newest| newest + 1) + 1)
    }

    /// How many entries a log has beyond the one that all cores begin with.
    fn depth(&self, entry: u16) -> u64 {
        self.book.made(entry).entry.index().number() - self.first
    }

    /// What a leader may be told.
    fn leading(&self, state: &State, core: usize, base: u16, acts: &mut Vec<Act>) {
        if self.depth(base) < self.bounds.entries_max {
            acts.extend((0..self.guesses(state)).map(|guess| Act::Execute { core, guess }));
        }
        acts.push(Act::Release { core });
        acts.extend(state.made.iter().map(|entry| Act::Adopt { core, entry }));
    }

    /// How a core may be stopped and started.
    fn crashing(&self, state: &State, core: usize, acts: &mut Vec<Act>) {
        let known = self.book.known(state.cores[core]);
        let last = known.memory;
        // What a crash alone changes: a witness loses nothing, a candidate what it need not use, and a leader that
        // may yet call for reports no more than by that call.
        let loses = matches!(known.role, Role::Leader { .. }) && !self.may_stand(known.promised);
        if self.bounds.every_step || loses {
            acts.push(Act::Crash { core, memory: last });
        }
        if self.is_victim(core) {
            let images = state.images.iter();
            let own = images.filter(|image| *image != last && self.book.is_of(*image, last));
            acts.extend(own.map(|memory| Act::Crash { core, memory }));
        }
    }

    fn may_stand(&self, promised: u64) -> bool {
        promised < self.bounds.term_max
    }

    /// What a core is shown by an act.
    fn shown(&self, state: &State, act: &Act) -> Shown {
        match *act {
            Act::Execute { guess, .. } => Shown::Guess(guess),
            Act::Capture { entry, .. } => Shown::Entry(entry),
            Act::Release { .. } => Shown::Captures(state.captures),
            Act::Stand { core, above } => {
                // A nonce is a core's own: two cores never draw the same, nor does a core whose memory was
                // put back. That any other draws the same again is in the hosts' favour: reports to its
                // earlier call count for the later.
                let seed = 100 * (1 + u64::from(state.put_back[core])) + core as u64;
                Shown::Above(above, seed)
            }
            Act::Promise { call, .. } => Shown::Call(call),
            Act::Lead { reports, .. } => Shown::Reports(reports),
            Act::Adopt { entry, .. } => Shown::Base(entry),
            Act::Crash { memory, .. } => Shown::Memory(memory),
        }
    }

    /// What comes of an act; nothing where the core refuses.
    fn carry_out(&self, state: &mut State, act: &Act) -> Option<()> {
        let core = act.core();
        let before = state.cores[core];
        if let Act::Crash { memory, .. } = act {
            state.crashes += 1;
            state.put_back[core] += u8::from(*memory != self.book.known(before).memory);
        }
        let (after, said) = match self.book.show(before, self.shown(state, act)) {
            Done::Refused => return None,
            Done::Broken => {
                state.broken = true;
                return Some(());
            }
            Done::Went(after, said) => (after, said),
        };
        state.cores[core] = after;
        match said {
            Said::Nothing => {}
            Said::Entry(entry) => state.made.insert(entry),
            Said::Call(call) => state.calls.insert(call),
            Said::Report(report) => state.reports.insert(report),
            Said::Capture(capture) => state.captures.insert(capture),
            Said::Answers(entry, answered) => {
                state.released.insert(entry);
                if let Some(guess) = self.book.made(entry).guess {
                    state.answered[guess] |= answered;
                }
            }
        }
        if self.is_victim(core) {
            state.images.insert(self.book.known(after).memory);
        }
        Some(())
    }

    /// Does what costs the hosts nothing: whatever promise they could break without it, they can break after it.
    ///
    /// - A core that only captures calls for reports. A candidate takes the same entries and promises the same
    ///   terms, and need not lead.
    /// - A leader is handed all captures. With its answers out it takes the same entries and promises the same
    ///   terms, and may go on. Only an older entry of its own it takes no more, which it could take
    ///   before another core captured the newer one: neither act is in the other's way.
    /// - Memories are forgotten that cannot be put back any more.
    ///
    /// It leaves out no entry, no capture and no report: what is out is never taken back, and the more there is,
    /// the more the hosts can do.
    fn at_once(&self, state: &mut State) {
        for core in self.cores() {
            let known = self.book.known(state.cores[core]);
            let act = match known.role {
                Role::Leader { .. } => Act::Release { core },
                Role::Witness if self.may_stand(known.promised) => Act::Stand {
                    core,
                    above: known.promised,
                },
                Role::Witness | Role::Candidate { .. } => continue,
            };
            // A leader that has nothing to release stays as it is.
            let _refused = self.carry_out(state, &act);
        }
        if state.crashes == self.bounds.crashes_max {
            state.images = Bits::default();
        }
    }

    /// Whether all entries of which answers left lie on one line.
    fn is_one_line(&self, state: &State) -> bool {
        let line = |from: u16| std::iter::successors(Some(from), |entry| self.book.made(*entry).on);
        let stands_on = |above: u16, below: u16| line(above).any(|entry| entry == below);
        state.released.iter().all(|one| {
            let mut others = state.released.iter();
            others.all(|other| stands_on(one, other) || stands_on(other, one))
        })
    }

    /// Whether two different entries have the same place in the log.
    fn is_contested(&self, state: &State) -> bool {
        let mut places: Vec<u64> = state.made.iter().map(|entry| self.depth(entry)).collect();
        places.sort_unstable();
        places.windows(2).any(|pair| pair[0] == pair[1])
    }
}

impl Model for Hosts {
    type State = State;
    type Action = Act;

    fn init_states(&self) -> Vec<State> {
        vec![self.begin.clone()]
    }

    fn actions(&self, state: &State, acts: &mut Vec<Act>) {
        if state.broken {
            return;
        }
        for core in 0..self.within_reach(state) {
            let known = self.book.known(state.cores[core]);
            match (known.role, known.base) {
                (Role::Candidate { term }, _) => {
                    let reports = self.book.to(term, state.reports);
                    let size = usize::from(self.bounds.quorum.captures);
                    let sets = self.book.elections(state.cores[core], reports, size);
                    acts.extend(sets.iter().map(|set| Act::Lead {
                        core,
                        reports: *set,
                    }));
                }
                (Role::Leader { .. }, Some(base)) => self.leading(state, core, base, acts),
                (Role::Leader { .. } | Role::Witness, _) => {}
            }
            for above in known.promised..self.bounds.term_max {
                acts.push(Act::Stand { core, above });
            }
            acts.extend(state.calls.iter().map(|call| Act::Promise { core, call }));
            acts.extend(state.made.iter().map(|entry| Act::Capture { core, entry }));
            if state.crashes < self.bounds.crashes_max {
                self.crashing(state, core, acts);
            }
        }
    }

    fn next_state(&self, before: &State, act: Act) -> Option<State> {
        let mut state = before.clone();
        if !self.bounds.every_name {
            let newest = (act.core() + 1).saturating_sub(self.alike());
            state.touched = state.touched.max(newest);
        }
        self.carry_out(&mut state, &act)?;
        if !self.bounds.every_step && !state.broken {
            self.at_once(&mut state);
        }
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "VAULT-1: two guesses are answered at most",
                |_, state: &State| {
                    let answered = state.answered.iter().filter(|answered| **answered);
                    answered.count() <= usize::from(BUDGET)
                },
            ),
            Property::always(
                "VAULT-8: all answers lie on one line",
                |hosts: &Self, state: &State| hosts.is_one_line(state),
            ),
            Property::always("VAULT-8: no core ever sees a fork", |_, state: &State| {
                !state.broken
            }),
            Property::sometimes("a guess is answered", |_, state: &State| {
                state.answered.contains(&true)
            }),
            Property::sometimes(
                "a guess too many is denied",
                |hosts: &Self, state: &State| {
                    let released = state.released.iter();
                    let guesses = released.filter_map(|entry| hosts.book.made(entry).guess);
                    guesses.into_iter().any(|guess| !state.answered[guess])
                },
            ),
            Property::sometimes("a second leader answers", |hosts: &Self, state: &State| {
                let released = state.released.iter();
                released
                    .map(|entry| hosts.book.made(entry).entry.term().number())
                    .any(|term| term > 1)
            }),
            Property::sometimes(
                "two entries want one place",
                |hosts: &Self, state: &State| hosts.is_contested(state),
            ),
        ]
    }
}
