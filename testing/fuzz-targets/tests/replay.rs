//! Every committed input goes through the function that the fuzzer calls: VAULT-1, VAULT-2, VAULT-4,
//! VAULT-8, VAULT-10, BACKUP-1, BACKUP-4.

#![cfg(test)]

use std::fs;
use std::path::Path;

use keyhaven_fuzz_targets::TARGETS;

const INPUTS_MIN: usize = 50;

fn replay(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let entries = fs::read_dir(corpora.join(name)).unwrap();
    let inputs: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    assert!(
        inputs.len() >= INPUTS_MIN,
        "{name} has {} inputs",
        inputs.len()
    );
    for path in inputs {
        // Shown only if the test fails: the last line names the input.
        println!("{}", path.display());
        (target.run)(&fs::read(&path).unwrap());
    }
}

macro_rules! replays {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )*

        #[test]
        fn every_target_has_a_corpus_that_is_replayed() {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

replays! {
    accounts between bundle channel digits http log marker node pack patch proof remembered reply request secrets
    sequence snapshot tail
}
