//! The planted bugs: each is a piece of sound code, and what a careless hand makes of it.

/// A planted bug.
pub(super) struct Switch {
    /// What it does, in words.
    pub(super) name: &'static str,
    /// Where.
    pub(super) file: &'static str,
    /// The code as it is. It stands there once.
    pub(super) sound: &'static str,
    /// The code as it must not be.
    pub(super) broken: &'static str,
}

/// What must find a planted bug.
pub(super) enum Checker {
    /// The simulation; with the hosts that ship, if it is a bug of theirs.
    Simulation { hosts: bool },
    /// The tests that `cargo test` runs with these arguments.
    Tests(&'static [&'static str]),
}

impl Switch {
    /// Who must find it: that goes by where it is.
    pub(super) fn checker(&self) -> Checker {
        let is_in = |crate_name: &str| self.file.starts_with(&format!("crates/{crate_name}/"));
        if self.name.starts_with("power: ") {
            Checker::Tests(&["-pkeyhaven-cli", "--test=power"])
        } else if self.name.starts_with("start: ") {
            Checker::Tests(&[
                "-pkeyhaven-vault-store",
                "-pkeyhaven-vault-node",
                "--lib",
                "--test=power",
            ])
        } else if is_in("source") {
            Checker::Tests(&["-pkeyhaven-source"])
        } else if is_in("repo") {
            Checker::Tests(&["-pkeyhaven-repo", "-pkeyhaven-testkit", "-pkeyhaven"])
        } else if [CLOUD, SPOOL]
            .iter()
            .any(|place| self.file.starts_with(place))
        {
            Checker::Tests(&["-pkeyhaven-hostile-store"])
        } else if is_in("keyhaven") {
            Checker::Tests(&["-pkeyhaven"])
        } else {
            let hosts = !is_in("vault-core");
            Checker::Simulation { hosts }
        }
    }
}

const CLOUD: &str = "crates/keyhaven/src/store/cloud/";
const SPOOL: &str = "crates/keyhaven/src/spool.rs";
const FOLLOW: &str = "crates/vault-host/src/follow.rs";
const ELECT: &str = "crates/vault-host/src/elect.rs";
const HOST: &str = "crates/vault-host/src/host.rs";
const LEAD: &str = "crates/vault-host/src/lead.rs";
const MEND: &str = "crates/vault-host/src/mend.rs";
const RECORD: &str = "crates/vault-host/src/record.rs";
const DESK: &str = "crates/vault-node/src/desk.rs";
const TAIL: &str = "crates/vault-host/src/tail.rs";
const FRAME: &str = "crates/vault-host/src/tail/frame.rs";
/// What the shell of a group of hosts does at a start, as the simulator does it.
const DISK: &str = "testing/simulator/src/group/disk.rs";
const STORE: &str = "crates/vault-store/src/memory.rs";
const CAPTURE: &str = "crates/vault-core/src/log/capture.rs";
const MEMORY: &str = "crates/vault-core/src/log/memory.rs";
const ELECTION: &str = "crates/vault-core/src/log/election.rs";
const MEMBERSHIP: &str = "crates/vault-core/src/membership.rs";
const TRUSTED: &str = "crates/vault-core/src/trusted.rs";
const SEAT: &str = "crates/vault-core/src/seat.rs";
const RECOVER: &str = "crates/vault-core/src/apply/recover.rs";
const REGISTER: &str = "crates/vault-core/src/apply/register.rs";
const CHANGE: &str = "crates/vault-core/src/apply/change.rs";
const APPLY: &str = "crates/vault-core/src/apply.rs";
const GUESSES: &str = "crates/vault-core/src/record/guesses.rs";
const WAITS: &str = "crates/vault-core/src/record/waits.rs";
const TREE: &str = "crates/vault-core/src/tree/partial.rs";
const NODE: &str = "crates/vault-core/src/tree/node.rs";
const RANGES: &str = "crates/vault-core/src/ranges.rs";

pub(super) const SWITCHES: &[Switch] = &[
    // What the log promises.
    Switch {
        name: "a trusted memory that failed is gone by",
        file: TRUSTED,
        sound: "trusted.write(&memory)?;",
        broken: "let _ = trusted.write(&memory);",
    },
    Switch {
        name: "answers leave before the commit",
        file: CAPTURE,
        sound: "is_quorum: entry.membership().is_quorum(&members, quorum),",
        broken: "is_quorum: true || entry.membership().is_quorum(&members, quorum),",
    },
    Switch {
        name: "a quorum is one too few",
        file: MEMBERSHIP,
        sound: "there.count() >= usize::from(quorum.captures)",
        broken: "there.count() + 1 >= usize::from(quorum.captures)",
    },
    Switch {
        name: "captures of any entry count",
        file: CAPTURE,
        sound: "self.group == entry.group()
            && self.term == entry.term()
            && self.index == entry.index()
            && self.entry == entry.mac()
            && Mac::compute",
        broken: "self.group == entry.group() && Mac::compute",
    },
    Switch {
        name: "captures of another leader's entry of the same index count",
        file: CAPTURE,
        sound: "&& self.term == entry.term()
            && self.index == entry.index()
            && self.entry == entry.mac()",
        broken: "&& self.index == entry.index()",
    },
    Switch {
        name: "a capture counts without its MAC",
        file: CAPTURE,
        sound: "&& self.entry == entry.mac()
            && Mac::compute(key, CAPTURE_DOMAIN, &self.body()) == self.mac",
        broken: "&& self.entry == entry.mac()",
    },
    Switch {
        name: "a report counts without its MAC",
        file: ELECTION,
        sound: "self.call == *call && Mac::compute(key, REPORT_DOMAIN, &self.body()) == self.mac",
        broken: "self.call == *call",
    },
    Switch {
        name: "a report to an earlier call counts",
        file: ELECTION,
        sound: "self.call == *call && Mac::compute",
        broken: "self.call.group == call.group && Mac::compute",
    },
    Switch {
        name: "an entry is taken without its MAC",
        file: MEMORY,
        sound: "        entry.verify(key)?;
",
        broken: "",
    },
    Switch {
        name: "a core captures what is older than it promised",
        file: MEMORY,
        sound: "if entry.term() < self.promised {",
        broken: "if false {",
    },
    Switch {
        name: "a core promises one term to two leaders",
        file: MEMORY,
        sound: "if term <= self.promised {",
        broken: "if term < self.promised {",
    },
    Switch {
        name: "a core goes back to an older entry",
        file: MEMORY,
        sound: "if next.reach() < head.reach() {",
        broken: "if false {",
    },
    Switch {
        name: "a core reports nothing of what it captured",
        file: SEAT,
        sound: "(self.memory.member(), self.memory.head().copied());",
        broken: "(self.memory.member(), None::<Head>.or(self.memory.head().copied().filter(|head| head.index().number() == 0)));",
    },
    Switch {
        name: "a leader builds on the shortest log that was reported",
        file: ELECTION,
        sound: ".next_back()",
        broken: ".next()",
    },
    Switch {
        name: "a leader builds on the longest log, not on the newest term's",
        file: ELECTION,
        sound: "        .into_values()
        .next_back()",
        broken: "        .into_values()
        .max_by_key(|head| head.index())",
    },
    Switch {
        name: "a leader takes an entry back and makes another in its place",
        file: SEAT,
        sound: "        if self.tip.is_some() {
            return Err(CoreError::Pending);
        }
",
        broken: "",
    },
    Switch {
        name: "a change of members needs no quorum of the old group",
        file: MEMBERSHIP,
        sound: "enough(&self.now) && self.before.as_ref().is_none_or(enough)",
        broken: "enough(&self.now)",
    },
    Switch {
        name: "a change of members is over before it is committed",
        file: SEAT,
        sound: "            membership,
            term: self.term,",
        broken: "            membership: membership.settled(),
            term: self.term,",
    },
    Switch {
        name: "a store that was put back is believed",
        file: TREE,
        sound: "if node_digest(bytes) != expected {",
        broken: "if false {",
    },
    // What ranges promise.
    Switch {
        name: "a range is taken twice in one turn",
        file: RANGES,
        sound: "Slot::Given(given) => given.turn < transfer.turn,",
        broken: "Slot::Given(_) => true,",
    },
    Switch {
        name: "a range that was given is given to the next as well",
        file: RANGES,
        sound: "Slot::Given(given) if given.to == wish.by => Ok(given),",
        broken: "Slot::Given(given) => Ok(Given { to: wish.by, ..given }),",
    },
    Switch {
        name: "a range that was given stays",
        file: RANGES,
        sound: "(Slot::Given(given), RangeAnswer::Given(transfer))",
        broken: "(before, RangeAnswer::Given(transfer))",
    },
    Switch {
        name: "a transfer of a range is said once only",
        file: RANGES,
        sound: "Slot::Given(given) if given.to == wish.by => Ok(given),",
        broken: "",
    },
    Switch {
        name: "the turns of a range are not counted",
        file: RANGES,
        sound: "transfer.turn.next().ok_or(CoreError::Bound)",
        broken: "Ok(transfer.turn)",
    },
    Switch {
        name: "what is written in a range forgets its turn",
        file: NODE,
        sound: "self.set(index, depth, Slot::Own { turn, content });",
        broken: "let _ = turn;
        self.set(index, depth, Slot::own(content));",
    },
    Switch {
        name: "a transfer of a range counts without its MAC",
        file: RANGES,
        sound: "transfer.verify(secrets.log())?;",
        broken: "let _ = transfer.verify(secrets.log());",
    },
    Switch {
        name: "a range that is for another group is taken",
        file: RANGES,
        sound: "if transfer.to != group {",
        broken: "if false {",
    },
    // What the record promises.
    Switch {
        name: "a guess costs nothing",
        file: GUESSES,
        sound: "self.0.checked_sub(1).map(Self).ok_or(Exhausted)",
        broken: "self.0.checked_sub(1).map(|_| Self(self.0)).ok_or(Exhausted)",
    },
    Switch {
        name: "any KE1 is taken for the one before",
        file: GUESSES,
        sound: ".find(|attempt| attempt.ke1 == *ke1)",
        broken: ".find(|_| true)",
    },
    Switch {
        name: "the same KE1 costs another guess",
        file: GUESSES,
        sound: ".find(|attempt| attempt.ke1 == *ke1)",
        broken: ".find(|_| false)",
    },
    Switch {
        name: "a wrong KE3 refills the budget",
        file: GUESSES,
        sound: "        for attempt in &mut self.outstanding {
            if attempt.number == number {
                attempt.may_refill = false;
            }
        }",
        broken: "        self.budget = Budget(10);",
    },
    Switch {
        name: "five hoarded KE3s refill five times",
        file: GUESSES,
        sound: "            .map(|attempt| Outstanding {
                may_refill: false,
                ..*attempt
            })",
        broken: "            .copied()",
    },
    Switch {
        name: "a refill forgets the guesses that came later",
        file: GUESSES,
        sound: "            budget = budget.spend().unwrap_or(Budget(0));",
        broken: "",
    },
    Switch {
        name: "registering again refills the budget",
        file: GUESSES,
        sound: "PasswordClaim::MayBeSame => None,",
        broken: "PasswordClaim::MayBeSame => Some(Self { _private: () }),",
    },
    Switch {
        name: "a step 2 that was held back arms an older generation",
        file: REGISTER,
        sound: "if ticket.generation != record.generation {",
        broken: "if false {",
    },
    Switch {
        name: "other bytes are acknowledged under a known id",
        file: REGISTER,
        sound: "if armed.digest != digest {",
        broken: "if false {",
    },
    Switch {
        name: "whoever has the token replaces a living record",
        file: REGISTER,
        sound: "Life::Live(_) => Err(Denial::AlreadyRegistered),",
        broken: "Life::Live(_) => Ok((Grant::Line(None), ChangedBy::Token)),",
    },
    Switch {
        name: "a KE3 of an older generation counts in the new one",
        file: RECOVER,
        sound: "Life::Live(_) if ticket.generation == record.generation => {}",
        broken: "Life::Live(_) => {}",
    },
    Switch {
        name: "the record outlives one guess too many",
        file: RECOVER,
        sound: "            record.destroy();
            Err(Denial::Destroyed)
        }
    }
}",
        broken: "            Err(Denial::Destroyed)
        }
    }
}",
    },
    Switch {
        name: "the record outlives a wrong last KE3",
        file: RECOVER,
        sound: "            record.destroy();
            return Err(Denial::Destroyed);",
        broken: "            return Err(Denial::Destroyed);",
    },
    Switch {
        name: "the lifetime cap is forgotten",
        file: RECOVER,
        sound: "if record.history.since_lift() >= policy.lifetime_guesses {",
        broken: "if false {",
    },
    Switch {
        name: "the last guesses are anybody's",
        file: RECOVER,
        sound: "if reserved && !by_device && !waited {",
        broken: "if false {",
    },
    Switch {
        name: "a delete leaves the generation as it was",
        file: CHANGE,
        sound: "    record.generation = record.generation.next().ok_or(Denial::Stale)?;
",
        broken: "",
    },
    Switch {
        name: "a delete leaves no tombstone",
        file: CHANGE,
        sound: "    record.life = Life::Deleted;",
        broken: "    *record = Record::vacant(&crate::policy::Policy::DEFAULT);",
    },
    Switch {
        name: "a change that was recorded is made again",
        file: CHANGE,
        sound: "if next != Some(change.number) {",
        broken: "if false {",
    },
    Switch {
        name: "a device that is not listed is obeyed",
        file: APPLY,
        sound: "if record.devices.contains(&verified.key()) {",
        broken: "if true {",
    },
    Switch {
        name: "a session of an earlier password is obeyed",
        file: APPLY,
        sound: "if body.generation == record.generation && live.proven == Some(body.attempt) =>",
        broken: "if live.proven.is_some() =>",
    },
    Switch {
        name: "a wait is over when it has begun",
        file: WAITS,
        sound: ".is_some_and(|until| until <= now)",
        broken: ".is_some()",
    },
    // What hosts keep to.
    Switch {
        name: "a host captures without the record on its disk",
        file: FOLLOW,
        sound: "self.effect(Effect::KeepTail(record));",
        broken: "drop((record, Effect::KeepTail));",
    },
    Switch {
        name: "a host reports before the promise is on its disk",
        file: ELECT,
        sound: "self.keep_memory();
                self.send(from, Message::Report(Box::new(report)));",
        broken: "self.send(from, Message::Report(Box::new(report)));",
    },
    Switch {
        name: "a host's capture leaves before the memory is on its disk",
        file: FOLLOW,
        sound: "if before != *self.core.memory() {",
        broken: "if false && before != *self.core.memory() {",
    },
    Switch {
        name: "a host does not carry the entry of a leader that died",
        file: LEAD,
        sound: "let mut record = std::mem::take(&mut lead.carried);",
        broken: "let mut record = Record::default();",
    },
    Switch {
        name: "a host takes a lost race for an append",
        file: DESK,
        sound: "Settled::Lost { .. } => Said::Moved,",
        broken: "Settled::Lost { .. } => Said::Appended,",
    },
    Switch {
        name: "a host takes an append for done that timed out",
        file: HOST,
        sound: "            Said::Trouble => {",
        broken: "            Said::Trouble if matches!(*asking.ask, Ask::Append(_)) => self.appended(entropy),
            Said::Trouble => {",
    },
    Switch {
        name: "a host does not look at a record before it goes by it",
        file: RECORD,
        sound: "&& fits(&last.root(), &self.puts)",
        broken: "&& (true || fits(&last.root(), &self.puts))",
    },
    Switch {
        name: "a host builds on a store that lost commits",
        file: MEND,
        sound: "Line::Behind => self.search(base.mac()),",
        broken: "Line::Behind => self.caught_up(looked),",
    },
    Switch {
        name: "a host builds beside what an earlier leader appended",
        file: MEND,
        sound: "if self.core.adopt(entry).is_ok() {",
        broken: "if true || self.core.adopt(entry).is_ok() {",
    },
    Switch {
        name: "a host believes a record on its disk without its checksum",
        file: FRAME,
        sound: "if record_check(record) != check {",
        broken: "if false && record_check(record) != check {",
    },
    Switch {
        name: "a host writes on behind a torn record",
        file: TAIL,
        sound: "newest.is_torn() || newest.bytes >=",
        broken: "newest.bytes >=",
    },
    Switch {
        name: "a host flushes again what a failed flush dropped of its tail, and does not write it",
        file: TAIL,
        sound: "        let again = Write::Begin {
            segment: newest.number,
            bytes: self.newest,
        };",
        broken: "        let again = Write::Extend {
            segment: newest.number,
            at: newest.length,
            bytes: Vec::new(),
        };",
    },
    Switch {
        name: "the start of a host does not write its core's memory again",
        file: DISK,
        sound: "        self.put_memory(self.memory);
",
        broken: "",
    },
    Switch {
        name: "a host trims records that no backup covers",
        file: TAIL,
        sound: "&& oldest.newest <= Some(index)",
        broken: "&& (true || oldest.newest <= Some(index))",
    },
    Switch {
        name: "a store compares the index, and not the entry",
        file: STORE,
        sound: "if head.as_ref() != step.expected {",
        broken: "if head.as_ref().map(|entry| entry.index) != step.expected.map(|entry| entry.index) {",
    },
];
