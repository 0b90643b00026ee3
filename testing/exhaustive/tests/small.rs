//! The small forms, whose states are counted; `cargo xtask exhaustive` runs larger ones.

use keyhaven_exhaustive::{Bounds, explore};

fn keeps_its_word(bounds: Bounds) {
    let explored = explore(bounds);
    assert_eq!(explored.broken, []);
    assert_eq!(Some(explored.states), bounds.known());
    let reached = [
        "a guess is answered",
        "a second leader answers",
        "two entries want one place",
    ];
    assert_eq!(explored.reached, reached);
}

/// VAULT-1, VAULT-2, VAULT-8, VAULT-9: three cores, two terms, an entry on each line.
#[test]
fn three_cores_keep_their_word_in_every_state() {
    keeps_its_word(Bounds::THREE.up_to(1, 0));
}

/// The same with all states that differ in names only: leaving these out hides nothing.
#[test]
fn three_cores_keep_their_word_whatever_their_names() {
    keeps_its_word(Bounds::THREE.up_to(1, 0).by_every_name());
}
