//! The small forms, whose states are counted; `cargo xtask exhaustive` runs larger ones.

use keyhaven_exhaustive::{Bounds, Explored, explore};

const REACHED: [&str; 3] = [
    "a guess is answered",
    "a second leader answers",
    "two entries want one place",
];

fn promises(explored: &Explored) -> Vec<&'static str> {
    explored.broken.iter().map(|(name, _)| *name).collect()
}

fn keeps_its_word(bounds: Bounds) {
    let explored = explore(bounds);
    assert_eq!(promises(&explored), Vec::<&str>::new());
    assert_eq!(Some(explored.states), bounds.known());
    for rare in REACHED {
        assert!(explored.reached.contains(&rare), "{rare}");
    }
    let denied = explored.reached.contains(&"a guess too many is denied");
    assert_eq!(denied, bounds.entries_max > 2);
}

/// VAULT-1, VAULT-2, VAULT-8, VAULT-9: three cores, of which one crashes.
#[test]
fn three_cores_keep_their_word_in_every_state() {
    keeps_its_word(Bounds::THREE.up_to(1, 0));
    keeps_its_word(Bounds::THREE.up_to(1, 1));
    keeps_its_word(Bounds::THREE.up_to(2, 1));
}

/// VAULT-1: with an entry more on a line than the record has guesses.
#[test]
fn three_cores_answer_no_guess_too_many() {
    keeps_its_word(Bounds::THREE.up_to(3, 0));
}

/// VAULT-1, VAULT-4, VAULT-8: one memory is put back, the founder's or another.
#[test]
fn a_group_bears_the_memory_that_is_put_back() {
    for bounds in [Bounds::ALL_THREE.up_to(1, 1), Bounds::FOUR.up_to(1, 1)] {
        keeps_its_word(bounds);
        keeps_its_word(bounds.sparing_the_founder());
    }
}

/// VAULT-8: a memory more than the policy bears, and the answers of two lines are out. So the search can fail.
#[test]
fn one_memory_put_back_too_many_is_found() {
    let bounds = Bounds::THREE.up_to(1, 1).putting_back(1);
    for bounds in [bounds, bounds.sparing_the_founder()] {
        for bounds in [bounds, bounds.by_every_step()] {
            let promises = promises(&explore(bounds));
            assert!(
                promises.iter().any(|name| name.starts_with("VAULT-8")),
                "{promises:?}"
            );
        }
    }
}

/// What is left out, because it differs in names only or costs the hosts nothing, hides nothing.
#[test]
fn the_states_that_are_left_out_hide_nothing() {
    for bounds in [Bounds::THREE.up_to(1, 0), Bounds::THREE.up_to(1, 1)] {
        keeps_its_word(bounds.by_every_name());
        keeps_its_word(bounds.by_every_step());
    }
    keeps_its_word(Bounds::THREE.up_to(1, 0).by_every_step().by_every_name());
    keeps_its_word(Bounds::THREE.up_to(2, 0).by_every_step());
    keeps_its_word(Bounds::ALL_THREE.up_to(1, 1).by_every_step());
}
