//! Two groups of one fleet, each with the host and the store's desk that ship: a range goes from one
//! to the other (VAULT-1).
#![expect(clippy::unwrap_used, reason = "what does not work out fails the test")]

use std::collections::VecDeque;
use std::ops::ControlFlow;

use keyhaven_testkit::entropy::SeededEntropy;
use keyhaven_vault_core::{
    Core, Executed, FleetSecrets, NodeKey, Policy, Range, RangeAnswer, RangeError, RangeStep,
    Touch, prove,
};
use keyhaven_vault_host::{Answered, Effect, Host, Input};
use keyhaven_vault_node::desk;
use keyhaven_vault_store::{Index, LogEntry, MemoryStore, Step, Store as _};
use keyhaven_wire::channel::{self, ChannelPublicKey};
use keyhaven_wire::message::{AccountName, FleetId, HostTime, LeafIndex, Request};

struct Group {
    host: Host,
    store: MemoryStore,
    entropy: SeededEntropy,
}

impl Group {
    fn begin(core: Core, first: Executed, seed: u64) -> Self {
        let entry = LogEntry {
            index: Index::new(0),
            bytes: first.entry.encode().to_vec(),
        };
        let nodes: Vec<_> = first
            .puts
            .into_iter()
            .map(|(key, bytes)| (key.as_bytes().to_vec(), bytes))
            .collect();
        let store = MemoryStore::new();
        store.append(&Step::one(None, &entry, &nodes)).unwrap();
        let mut entropy = SeededEntropy::new(seed);
        let mut group = Self {
            host: Host::new(core, Vec::new(), None, &mut entropy),
            store,
            entropy,
        };
        group.drive(Input::Tick);
        assert!(group.host.wants_batch());
        group
    }

    fn drive(&mut self, input: Input) -> Vec<Answered> {
        let mut inputs = VecDeque::from([input]);
        let mut answers = Vec::new();
        while let Some(input) = inputs.pop_front() {
            for effect in self.host.handle(input, &mut self.entropy) {
                if let Effect::Ask { id, ask } = effect {
                    let said = desk::answer(&self.store, &self.host.core().fleet(), &ask).unwrap();
                    inputs.push_back(Input::Said { id, said });
                } else if let Effect::Answer(answered) = effect {
                    answers = answered;
                }
            }
        }
        answers
    }

    fn range(&mut self, step: RangeStep) -> Answered {
        let answers = self.drive(Input::Range(step));
        let [answer] = answers.try_into().unwrap();
        answer
    }

    fn asked(&mut self, account: &AccountName) -> Answered {
        let fleet = self.host.core().fleet();
        let key: ChannelPublicKey = *self.host.core().channel_key();
        let leaf = LeafIndex::of(&fleet, account);
        let question = Request::Status { device: None };
        let (request, _) =
            channel::seal_first(&fleet, &key, &leaf, &question, &mut self.entropy).unwrap();
        let touches = vec![Touch {
            account: account.clone(),
            request,
        }];
        let answers = self.drive(Input::Batch {
            touches,
            now: HostTime::new(1),
        });
        let [answer] = answers.try_into().unwrap();
        answer
    }

    /// What the store holds of a range.
    fn held(&self, range: Range) -> Vec<(NodeKey, Vec<u8>)> {
        let mut held = Vec::new();
        let snapshot = self.store.snapshot().unwrap();
        snapshot
            .for_each_node(&mut |key, bytes| {
                let key = NodeKey::from_bytes(key.try_into().unwrap());
                if range.covers(&key) {
                    held.push((key, bytes.to_vec()));
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        held
    }
}

fn range_of(fleet: &FleetId, account: &AccountName) -> Range {
    Range::of(&LeafIndex::of(fleet, account))
}

#[test]
fn a_range_goes_from_one_group_to_another() {
    let mut entropy = SeededEntropy::new(1);
    let (core, genesis) = Core::genesis(Policy::DEFAULT, &[], &mut entropy).unwrap();
    let secrets = FleetSecrets::decode(&genesis.secrets).unwrap();
    let first = Executed {
        entry: genesis.entry,
        puts: genesis.puts,
    };
    let mut giving = Group::begin(core, first, 2);
    let fleet = giving.host.core().fleet();
    let ada = AccountName::parse("ada").unwrap();
    let range = range_of(&fleet, &ada);
    let bob = (0..)
        .map(|n| AccountName::parse(&format!("bob {n}")).unwrap())
        .find(|bob| range_of(&fleet, bob) == range)
        .unwrap();
    assert!(matches!(giving.asked(&ada), Answered::Sealed(_)));
    assert!(matches!(giving.asked(&bob), Answered::Sealed(_)));

    // The other group's store is made with a copy of the range, in which Bob's record is bent.
    let (core, mut first) = Core::found_group(secrets, &[], &mut entropy).unwrap();
    let mut copied = giving.held(range);
    assert!(copied.len() >= 3, "one node and two leaves at least");
    let proof = prove(&fleet, [&bob], |key| {
        giving.store.snapshot().unwrap().get(key.as_bytes())
    });
    let (bobs, _) = proof.unwrap().parts().max_by_key(|(key, _)| *key).unwrap();
    let bent = copied.iter_mut().find(|(key, _)| *key == bobs).unwrap();
    bent.1[9] ^= 1;
    first.puts.extend(copied);
    let mut taking = Group::begin(core, first, 3);
    assert_eq!(taking.asked(&ada), Answered::Elsewhere);

    let wish = taking.host.core().wish(range).unwrap();
    let Answered::Range(RangeAnswer::Given(transfer)) = giving.range(RangeStep::Give(wish)) else {
        panic!("the range is not given");
    };
    assert_eq!(giving.asked(&ada), Answered::Elsewhere);
    assert_eq!(taking.asked(&ada), Answered::Elsewhere);
    assert_eq!(
        giving.range(RangeStep::Take(transfer)),
        Answered::Refused(RangeError::NotForThisGroup)
    );
    assert_eq!(
        taking.range(RangeStep::Take(transfer)),
        Answered::Range(RangeAnswer::Taken(range))
    );
    assert!(matches!(taking.asked(&ada), Answered::Sealed(_)));
    assert_eq!(taking.asked(&bob), Answered::Damaged);
    assert_eq!(giving.asked(&ada), Answered::Elsewhere);
}
