//! A short simulation; `cargo xtask sim` runs the long one.
//!
//! VAULT-1 to VAULT-9 and VAULT-11, among hostile hosts (F5, F8 to F12, F14).

use std::collections::BTreeMap;

use keyhaven_simulator::{coverage, run};

const SEEDS: u64 = 300;
const STEPS: u64 = 3_000;

/// VAULT-1, VAULT-2, VAULT-3, VAULT-4, VAULT-5, VAULT-6, VAULT-7, VAULT-8, VAULT-9, VAULT-11.
#[test]
fn no_hostile_host_breaks_a_promise() {
    let mut met = BTreeMap::new();
    for seed in 0..SEEDS {
        let report = run(seed, STEPS).unwrap_or_else(|failure| {
            panic!("{failure}; replay: cargo xtask sim --from {seed} --seeds 1 --steps {STEPS}")
        });
        for (what, count) in report.met {
            *met.entry(what).or_insert(0) += count;
        }
    }
    // A simulation in which something never happens shows nothing of it.
    assert_eq!(coverage::missing(&met), Vec::<&str>::new());
}

/// Every bit of a run comes from its seed.
#[test]
fn a_seed_makes_the_same_run_again() {
    for seed in 0..20 {
        let (one, other) = (run(seed, 500).unwrap(), run(seed, 500).unwrap());
        assert_eq!(one.digest, other.digest);
        assert_ne!(one.digest, run(seed + 1_000, 500).unwrap().digest);
    }
}
