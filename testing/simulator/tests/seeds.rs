//! A short simulation; `cargo xtask sim` runs the long one.
//!
//! VAULT-1 to VAULT-9 and VAULT-11, among hostile hosts (F5, F8 to F12, F14).

use std::collections::BTreeMap;

use keyhaven_simulator::{Hosts, coverage, run};

const SEEDS: u64 = 300;
const STEPS: u64 = 3_000;

/// VAULT-1, VAULT-2, VAULT-3, VAULT-4, VAULT-5, VAULT-6, VAULT-7, VAULT-8, VAULT-9, VAULT-11.
#[test]
fn no_hostile_host_breaks_a_promise() {
    let mut met = BTreeMap::new();
    for seed in 0..SEEDS {
        let report = run(Hosts::Hostile, seed, STEPS).unwrap_or_else(|failure| {
            panic!("{failure}; replay: cargo xtask sim --from {seed} --seeds 1 --steps {STEPS}")
        });
        for (what, count) in report.met {
            *met.entry(what).or_insert(0) += count;
        }
    }
    // A simulation in which something never happens shows nothing of it.
    assert_eq!(coverage::missing(Hosts::Hostile, &met), Vec::<&str>::new());
}

/// VAULT-2, VAULT-5, VAULT-8, VAULT-11: the hosts that ship, on disks, networks and a store that fail
/// (F1, F3 to F5, F7 to F12).
#[test]
fn no_misfortune_of_the_hosts_that_ship_breaks_a_promise() {
    let mut met = BTreeMap::new();
    for seed in 0..SEEDS {
        let report = run(Hosts::Shipping, seed, STEPS).unwrap_or_else(|failure| {
            panic!(
                "{failure}; replay: cargo xtask sim --hosts --from {seed} --seeds 1 --steps {STEPS}"
            )
        });
        for (what, count) in report.met {
            *met.entry(what).or_insert(0) += count;
        }
    }
    assert_eq!(coverage::missing(Hosts::Shipping, &met), Vec::<&str>::new());
}

/// Every bit of a run comes from its seed.
#[test]
fn a_seed_makes_the_same_run_again() {
    for hosts in [Hosts::Hostile, Hosts::Shipping] {
        for seed in 0..20 {
            let digest = |seed| run(hosts, seed, 500).unwrap().digest;
            assert_eq!(digest(seed), digest(seed));
            assert_ne!(digest(seed), digest(seed + 1_000));
        }
    }
}
