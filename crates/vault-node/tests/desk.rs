//! What the store's desk tells a leader.
#![expect(clippy::unwrap_used, reason = "what does not work out fails the test")]

use std::convert::Infallible;

use keyhaven_testkit::entropy::SeededEntropy;
use keyhaven_vault_core::{Core, Entry, Policy, Touch, prove};
use keyhaven_vault_host::{Append, Ask, Looked, Said};
use keyhaven_vault_node::desk;
use keyhaven_vault_store::{MemoryStore, Store as _};
use keyhaven_wire::message::{AccountName, HostTime};

fn look(store: &MemoryStore, core: &Core) -> Looked {
    let base = core.base().unwrap().index();
    let ask = Ask::Look { base, nodes: true };
    let Said::Looked(looked) = desk::answer(store, &core.fleet(), &ask).unwrap() else {
        unreachable!("a look is answered with what was seen")
    };
    *looked
}

/// A leader carries what may not be committed, from the `first` of the entry that it was elected on.
/// If every leader makes one entry and dies, that is ever the same entry, and ever further back: the
/// look still has to reach the base, or a whole store is taken for one that is gone.
#[test]
fn a_look_reaches_the_base_however_many_leaders_made_one_entry_each() {
    let entropy = &mut SeededEntropy::new(1);
    let (mut core, genesis) = Core::genesis(Policy::DEFAULT, &[], entropy).unwrap();
    let store = MemoryStore::new();
    let account = AccountName::parse("ada").unwrap();
    let fleet = core.fleet();
    let append = |expected: Option<Entry>, entry, first, puts: Vec<_>| {
        let ask = Ask::Append(Box::new(Append {
            expected,
            entries: vec![entry],
            first,
            puts: puts.into_iter().collect(),
        }));
        desk::answer(&store, &fleet, &ask)
    };
    let said = append(None, genesis.entry, genesis.entry.index(), genesis.puts);
    assert!(matches!(said, Ok(Said::Appended)));
    for _ in 0..600 {
        let looked = look(&store, &core);
        let head = looked.head.unwrap();
        assert!(looked.rows.contains(&head), "{:?}", head.index());
        assert!(!looked.more);
        let snapshot = store.snapshot().unwrap();
        let proof = prove(&core.fleet(), [&account], |key| {
            Ok::<_, Infallible>(snapshot.get(key.as_bytes()).unwrap())
        });
        let touch = Touch {
            account: account.clone(),
            request: vec![0; 10],
        };
        let made = core.execute(vec![touch], &proof.unwrap(), HostTime::new(1), entropy);
        let made = made.unwrap();
        let first = looked.rows.first().unwrap().index();
        let said = append(Some(head), made.entry, first, made.puts);
        assert!(matches!(said, Ok(Said::Appended)));
        let capture = core.capture(&made.entry).unwrap();
        core.release(&[capture]).unwrap();
    }
}
