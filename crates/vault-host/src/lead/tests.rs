//! What a leader does with a batch. (Elections, races and crashes are simulated.)

use keyhaven_testkit::entropy::SeededEntropy;
use keyhaven_vault_core::{Core, NodeKey, Policy};
use keyhaven_wire::message::AccountName;

use super::*;
use crate::message::{HostId, Input, Looked, Said};

/// A host that leads, and the last question that it asked.
fn leader(entropy: &mut SeededEntropy) -> Host {
    let (core, genesis) = Core::genesis(Policy::DEFAULT, &[], entropy).unwrap();
    let mut host = Host::new(core, vec![HostId(1)], None, entropy);
    host.begin_to_lead();
    let looked = Looked {
        head: Some(genesis.entry),
        rows: vec![genesis.entry],
        more: false,
        puts: genesis.puts.into_iter().collect(),
    };
    let asked = asked(&host.handle(Input::Tick, entropy));
    let said = Said::Looked(Box::new(looked));
    let _ = host.handle(Input::Said { id: asked.0, said }, entropy);
    assert!(host.wants_batch());
    host
}

fn asked(effects: &[Effect]) -> (crate::AskId, Arc<Ask>) {
    let asked = effects.iter().rev().find_map(|effect| {
        let Effect::Ask { id, ask } = effect else {
            return None;
        };
        Some((*id, Arc::clone(ask)))
    });
    asked.unwrap()
}

fn batch(host: &mut Host, entropy: &mut SeededEntropy) -> Arc<Ask> {
    let touches = ["ada", "bob", "cyd"].map(|name| Touch {
        account: AccountName::parse(name).unwrap(),
        request: vec![0; 10],
    });
    let input = Input::Batch {
        touches: touches.to_vec(),
        now: HostTime::new(1),
    };
    asked(&host.handle(input, entropy)).1
}

/// VAULT-10: a record that carries much takes one request more, and not a whole batch.
#[test]
fn a_leader_that_carries_much_goes_one_by_one() {
    let entropy = &mut SeededEntropy::new(1);
    let accounts = |ask: &Ask| {
        let Ask::Prove(Prove::Accounts(accounts)) = ask else {
            panic!("{ask:?}")
        };
        accounts.len()
    };
    let mut host = leader(entropy);
    assert_eq!(accounts(&batch(&mut host, entropy)), 3);

    for (count, length) in [(16_385_u32, 4), (10_200, 1_664)] {
        let mut host = leader(entropy);
        let carried = &mut host.lead_mut().unwrap().carried;
        for at in 0..count {
            let mut key = [0; NodeKey::BYTES];
            key[..4].copy_from_slice(&at.to_be_bytes());
            carried
                .puts
                .insert(NodeKey::from_bytes(key), vec![0; length]);
        }
        assert_eq!(accounts(&batch(&mut host, entropy)), 1);
    }
}
