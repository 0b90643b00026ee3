//! A core whose memory no host can put back (VAULT-1, VAULT-4).
#![expect(clippy::unwrap_used, reason = "what does not work out fails the test")]

use std::sync::{Arc, Mutex};

use keyhaven_testkit::entropy::SeededEntropy;
use keyhaven_vault_core::{
    Core, CoreError, FleetSecrets, LogError, Memory, MultiProof, NotKept, Policy, Prover, Range,
    RangeStep, Term, TrustedMemory,
};

/// A memory beside the core, which a test can look at and break.
#[derive(Clone, Default)]
struct Nvram(Arc<Mutex<(Option<Memory>, bool)>>);

impl Nvram {
    fn held(&self) -> Memory {
        self.0.lock().unwrap().0.unwrap()
    }

    fn fails(&self, fails: bool) {
        self.0.lock().unwrap().1 = fails;
    }
}

impl TrustedMemory for Nvram {
    fn read(&mut self) -> Result<Option<Memory>, NotKept> {
        let inside = self.0.lock().unwrap();
        if inside.1 { Err(NotKept) } else { Ok(inside.0) }
    }

    fn write(&mut self, memory: &Memory) -> Result<(), NotKept> {
        let mut inside = self.0.lock().unwrap();
        if inside.1 {
            return Err(NotKept);
        }
        inside.0 = Some(*memory);
        Ok(())
    }
}

struct World {
    core: Core,
    nvram: Nvram,
    secrets: FleetSecrets,
    proof: MultiProof,
    entropy: SeededEntropy,
}

fn world() -> World {
    let mut entropy = SeededEntropy::new(1);
    let (mut core, genesis) = Core::genesis(Policy::DEFAULT, &[], &mut entropy).unwrap();
    let nvram = Nvram::default();
    core.trust(Box::new(nvram.clone())).unwrap();
    let mut prover = Prover::for_range(Range::parse("00").unwrap());
    let root = genesis
        .puts
        .into_iter()
        .map(|(key, bytes)| (key, Some(bytes)));
    prover.supply::<()>(root).unwrap();
    World {
        core,
        nvram,
        secrets: FleetSecrets::decode(&genesis.secrets).unwrap(),
        proof: prover.finish(),
        entropy,
    }
}

const NOT_KEPT: CoreError = CoreError::Log(LogError::NotKept(NotKept));

#[test]
fn what_a_core_says_is_in_its_memory_before_it_says_it() {
    let mut world = world();
    assert_eq!(world.nvram.held(), *world.core.memory());
    let call = world.core.stand(Term::new(7), &mut world.entropy).unwrap();
    let report = world.core.promise(&call).unwrap();
    assert_eq!(world.nvram.held().promised(), Term::new(8));
    world.core.lead(&[report]).unwrap();
}

#[test]
fn a_core_goes_on_from_its_own_memory() {
    let mut world = world();
    let old = *world.core.memory();
    let call = world.core.stand(Term::new(7), &mut world.entropy).unwrap();
    world.core.promise(&call).unwrap();
    let memory = Box::new(world.nvram.clone());
    let core = Core::resume_trusted(world.secrets.clone(), memory).unwrap();
    assert_ne!(*core.memory(), old);
    assert_eq!(*core.memory(), world.nvram.held());
}

/// VAULT-2: nothing is promised or captured that the memory does not have.
#[test]
fn a_memory_that_fails_keeps_the_core_silent() {
    let mut world = world();
    let before = *world.core.memory();
    world.nvram.fails(true);
    let range = Range::parse("00").unwrap();
    let (other, _) = Core::found_group(world.secrets, &[], &mut world.entropy).unwrap();
    let give = RangeStep::Give(other.wish(range).unwrap());
    let given = world.core.range(&give, &world.proof).unwrap();
    assert_eq!(world.core.capture(&given.entry), Err(NOT_KEPT));
    let call = world.core.stand(Term::new(1), &mut world.entropy).unwrap();
    assert_eq!(world.core.promise(&call), Err(NOT_KEPT));
    assert_eq!(*world.core.memory(), before);

    world.nvram.fails(false);
    let report = world.core.promise(&call).unwrap();
    world.core.lead(&[report]).unwrap();
    let now = keyhaven_wire::message::HostTime::new(1);
    let account = keyhaven_wire::message::AccountName::parse("ada").unwrap();
    let touch = keyhaven_vault_core::Touch {
        account,
        request: vec![0; 9],
    };
    let executed = world
        .core
        .execute(vec![touch], &MultiProof::default(), now, &mut world.entropy)
        .unwrap();
    world.nvram.fails(true);
    assert_eq!(world.core.capture(&executed.entry), Err(NOT_KEPT));
    assert!(world.core.release(&[]).is_err());
    world.nvram.fails(false);
    let capture = world.core.capture(&executed.entry).unwrap();
    assert_eq!(world.core.release(&[capture]).unwrap().len(), 1);
}

#[test]
fn a_memory_without_a_core_or_of_another_fleet_is_none() {
    let other = world();
    let mut empty = Nvram::default();
    assert_eq!(empty.read(), Ok(None));
    let resumed = Core::resume_trusted(other.secrets.clone(), Box::new(empty));
    assert_eq!(resumed.unwrap_err(), LogError::NotMember.into());

    let mut entropy = SeededEntropy::new(2);
    let (_, genesis) = Core::genesis(Policy::DEFAULT, &[], &mut entropy).unwrap();
    let secrets = FleetSecrets::decode(&genesis.secrets).unwrap();
    let resumed = Core::resume_trusted(secrets, Box::new(other.nvram.clone()));
    assert_eq!(resumed.unwrap_err(), LogError::BadMac.into());

    other.nvram.fails(true);
    let resumed = Core::resume_trusted(other.secrets, Box::new(other.nvram));
    assert_eq!(resumed.unwrap_err(), NOT_KEPT);
}
