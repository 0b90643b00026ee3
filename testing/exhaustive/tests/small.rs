//! The small form, whose states are counted; `cargo xtask exhaustive` runs larger ones.

use keyhaven_exhaustive::{Bounds, Explored, explore};

/// VAULT-1, VAULT-2, VAULT-8, VAULT-9: three cores, two terms, an entry on each line. Another number of
/// states is another protocol: look at why before changing it here.
#[test]
fn three_cores_keep_their_word_in_every_state() {
    let explored = explore(Bounds {
        term_max: 2,
        entries_max: 1,
        crashes_max: 0,
        ..Bounds::THREE
    });
    let reached = vec![
        "a guess is answered",
        "a second leader answers",
        "two entries want one place",
    ];
    let expected = Explored {
        states: 213_232,
        depth: 18,
        broken: Vec::new(),
        reached,
    };
    assert_eq!(explored, expected);
}
