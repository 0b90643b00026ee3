//! The tree against a model that builds it anew from all leaves, and every structural case.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "tests count with small numbers"
)]

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

use keyhaven_wire::message::{AccountName, FleetId, LeafIndex};
use proptest::prelude::*;

use super::node::{Content, Node, Slot, leaf_digest};
use super::{
    DEPTH_MAX, Digest, Found, Given, MultiProof, NodeKey, PartialTree, ProofError, Range, Turn,
    fits, nibble,
};
use crate::log::GroupId;

/// All leaves, and nothing else.
#[derive(Default)]
struct Model {
    leaves: BTreeMap<LeafIndex, Vec<u8>>,
}

impl Model {
    /// What a set of leaves is under a slot above this depth: the definition of the tree.
    fn content(&self, under: &[LeafIndex], depth: u8) -> Content {
        match under {
            [] => Content::Empty,
            [index] => Content::Leaf {
                index: *index,
                digest: leaf_digest(index, &self.leaves[index]),
            },
            many => Content::Branch(self.node(many, depth).digest()),
        }
    }

    fn node(&self, under: &[LeafIndex], depth: u8) -> Node {
        let mut node = Node::default();
        for value in 0..16 {
            let there: Vec<LeafIndex> = under
                .iter()
                .filter(|index| nibble(index, depth) == value)
                .copied()
                .collect();
            if let Some(first) = there.first() {
                node.fill(first, depth, self.content(&there, depth + 1));
            }
        }
        node
    }

    fn root(&self) -> Digest {
        let all: Vec<LeafIndex> = self.leaves.keys().copied().collect();
        self.node(&all, 0).digest()
    }
}

/// A host's store, and the root that the core keeps.
struct World {
    model: Model,
    store: BTreeMap<NodeKey, Vec<u8>>,
    root: Digest,
}

impl World {
    fn new() -> Self {
        let empty = Node::default();
        Self {
            model: Model::default(),
            store: [(NodeKey::root(), empty.as_bytes().to_vec())].into(),
            root: empty.digest(),
        }
    }

    /// The proof that an honest host would collect.
    fn proof(&self, indices: &[LeafIndex]) -> MultiProof {
        let mut parts = BTreeMap::new();
        for index in indices {
            for depth in 0..=DEPTH_MAX {
                let key = NodeKey::node(index, depth);
                let Some(bytes) = self.store.get(&key) else {
                    break;
                };
                parts.insert(key, bytes.clone());
            }
            let key = NodeKey::leaf(index);
            if let Some(bytes) = self.store.get(&key) {
                parts.insert(key, bytes.clone());
            }
        }
        MultiProof::from_parts(parts)
    }

    /// One batch: reads and writes each leaf, in order.
    fn batch(&mut self, writes: &[(LeafIndex, Vec<u8>)]) {
        let indices: Vec<LeafIndex> = writes.iter().map(|(index, _)| *index).collect();
        let proof = self.proof(&indices);
        let mut tree = PartialTree::new(self.root, &proof);
        for (at, (index, sealed)) in writes.iter().enumerate() {
            let known = self.model.leaves.get(index).map(Vec::as_slice);
            let known = known.map_or(Found::None, Found::Sealed);
            assert_eq!(tree.read(index).unwrap(), known);
            tree.write(index, sealed.clone()).unwrap();
            self.model.leaves.insert(*index, sealed.clone());
            assert_eq!(tree.read(index).unwrap(), Found::Sealed(sealed));
            // The root may be asked for at any time, and need not be.
            if at % 3 == 1 {
                assert_eq!(tree.root(), self.model.root());
            }
        }
        self.root = tree.root();
        self.store.extend(tree.into_puts());
        assert_eq!(self.root, self.model.root());
    }

    fn check_all(&self) {
        let indices: Vec<LeafIndex> = self.model.leaves.keys().copied().collect();
        let proof = self.proof(&indices);
        let mut tree = PartialTree::new(self.root, &proof);
        for (index, sealed) in &self.model.leaves {
            assert_eq!(tree.read(index).unwrap(), Found::Sealed(sealed));
        }
    }
}

/// An index that begins with these nibbles; the rest is zeros.
fn index(nibbles: &[u8]) -> LeafIndex {
    let mut bytes = [0; 32];
    for (at, nibble) in nibbles.iter().enumerate() {
        bytes[at / 2] |= if at % 2 == 0 { nibble << 4 } else { *nibble };
    }
    LeafIndex::new(bytes)
}

fn write(nibbles: &[u8], byte: u8) -> (LeafIndex, Vec<u8>) {
    (index(nibbles), vec![byte; 3])
}

#[test]
fn a_leaf_in_an_empty_slot_stands_at_the_root() {
    let mut world = World::new();
    world.batch(&[write(&[1], 1)]);
    world.batch(&[write(&[2], 2)]);
    assert_eq!(world.store.len(), 3, "one node, two leaves");
}

#[test]
fn a_leaf_written_again_changes_only_its_digest() {
    let mut world = World::new();
    world.batch(&[write(&[1], 1)]);
    let before = world.root;
    world.batch(&[write(&[1], 2)]);
    assert_ne!(world.root, before);
    world.batch(&[write(&[1], 1)]);
    assert_eq!(world.root, before);
}

#[test]
fn two_leaves_that_meet_at_any_depth_part_there() {
    for depth in 1..=63 {
        let mut near = vec![5; depth + 1];
        let mut world = World::new();
        world.batch(&[write(&near, 1)]);
        near[depth] = 6;
        world.batch(&[write(&near, 2)]);
        world.check_all();
        assert_eq!(world.store.len(), depth + 1 + 2, "one node for each depth");
    }
}

#[test]
fn a_third_leaf_joins_above_at_and_below_where_two_parted() {
    for third in [
        &[5, 5, 6][..],
        &[5, 6],
        &[5, 5, 5, 1],
        &[5, 5, 5, 2, 1],
        &[6],
    ] {
        let mut world = World::new();
        world.batch(&[write(&[5, 5, 5, 2], 1), write(&[5, 5, 5, 3], 2)]);
        world.batch(&[write(third, 3)]);
        world.check_all();
    }
}

#[test]
fn one_batch_may_split_the_slot_that_it_filled() {
    let mut world = World::new();
    world.batch(&[
        write(&[9, 9, 9], 1),
        write(&[9, 9, 8], 2),
        write(&[9, 9, 9], 3),
        write(&[9, 9, 8, 1], 4),
    ]);
    world.check_all();
}

/// VAULT-1: what a batch wrote below a slot is in the digest that goes with it, and does not come up into
/// the slot once it is given away.
#[test]
fn a_range_that_was_written_in_the_same_batch_goes_as_it_was_written() {
    let range = Range::parse("a1").unwrap();
    let writes = [write(&[10, 1], 1), write(&[10, 1, 2], 2), write(&[3], 3)];
    let given = |content| {
        Slot::Given(Given {
            to: GroupId::new([7; 16]),
            turn: Turn::FIRST,
            content,
        })
    };
    let mut world = World::new();
    world.batch(&writes);
    let proof = world.proof(&[range.path()]);
    let mut later = PartialTree::new(world.root, &proof);
    let Slot::Own { content, .. } = later.range(range).unwrap() else {
        panic!("a range of one's own");
    };
    later.set_range(range, given(content)).unwrap();

    let empty = World::new();
    let proof = empty.proof(&[index(&[])]);
    let mut at_once = PartialTree::new(empty.root, &proof);
    for (index, sealed) in &writes {
        at_once.write(index, sealed.clone()).unwrap();
    }
    assert_eq!(at_once.range(range).unwrap(), Slot::own(content));
    at_once
        .write(&index(&[10, 1]), writes[0].1.clone())
        .unwrap();
    at_once.set_range(range, given(content)).unwrap();
    assert_eq!(at_once.root(), later.root());
}

#[test]
fn the_greatest_node_is_one_whose_ranges_were_all_given_away() {
    let given = Given {
        to: GroupId::new([1; 16]),
        turn: Turn::FIRST,
        content: Content::Empty,
    };
    let node = Node::of(Slot::Given(given));
    assert_eq!(node.as_bytes().len(), super::NODE_BYTES_MAX);
    assert_eq!(Node::decode(node.as_bytes()), Some(node));
}

#[test]
fn a_full_node_has_sixteen_leaves() {
    let mut world = World::new();
    for nibble in 0..16 {
        world.batch(&[write(&[nibble], nibble)]);
    }
    let root = &world.store[&NodeKey::root()];
    assert_eq!(root.len(), 4 + 16 * 64);
}

/// What a batch changed hangs under its root; what was left out, altered or added does not.
#[test]
fn what_was_changed_fits_under_the_root_and_nothing_else_does() {
    let mut world = World::new();
    world.batch(&[write(&[1, 1], 1), write(&[1, 2], 2), write(&[3], 3)]);
    let before = world.root;
    let changed = |root, writes: &[(LeafIndex, Vec<u8>)], world: &World| {
        let indices: Vec<LeafIndex> = writes.iter().map(|(index, _)| *index).collect();
        let proof = world.proof(&indices);
        let mut tree = PartialTree::new(root, &proof);
        for (index, sealed) in writes {
            tree.write(index, sealed.clone()).unwrap();
        }
        (
            tree.root(),
            tree.into_puts().into_iter().collect::<BTreeMap<_, _>>(),
        )
    };
    let writes = [write(&[1, 1], 9), write(&[1, 1, 7], 8), write(&[5], 5)];
    let (root, puts) = changed(before, &writes, &world);
    assert!(fits(&root, &puts) && fits(&root, &BTreeMap::new()));
    assert!(!fits(&before, &puts));
    for key in puts.keys() {
        let mut altered = puts.clone();
        altered.get_mut(key).unwrap()[0] ^= 1;
        assert!(!fits(&root, &altered), "{key:?} is another");
    }
    let mut more = puts.clone();
    more.insert(
        NodeKey::leaf(&index(&[3])),
        world.store[&NodeKey::leaf(&index(&[3]))].clone(),
    );
    assert!(
        fits(&root, &more),
        "a leaf that did not change fits as well"
    );
    more.insert(NodeKey::leaf(&index(&[4])), vec![4]);
    assert!(!fits(&root, &more), "a leaf that no node names");
    let mut headless = puts;
    headless.remove(&NodeKey::root());
    assert!(
        !fits(&root, &headless),
        "nothing leads down to what is there"
    );
}

/// VAULT-4: absence is proven, not believed.
#[test]
fn a_host_cannot_hide_a_leaf_or_show_another() {
    let mut world = World::new();
    world.batch(&[write(&[1, 1], 1), write(&[1, 2], 2), write(&[3], 3)]);
    let old = world.proof(&[index(&[1, 1])]);
    world.batch(&[write(&[1, 1], 9)]);
    let honest = world.proof(&[index(&[1, 1])]);
    let keys = [
        NodeKey::root(),
        NodeKey::node(&index(&[1, 1]), 1),
        NodeKey::leaf(&index(&[1, 1])),
    ];
    for key in keys {
        // Leave a part out; put the old one in its place; put another's in its place.
        let without: BTreeMap<_, _> = honest
            .parts()
            .filter(|(at, _)| *at != key)
            .map(|(at, bytes)| (at, bytes.to_vec()))
            .collect();
        let lacking = MultiProof::from_parts(without.clone());
        let read = PartialTree::new(world.root, &lacking)
            .read(&index(&[1, 1]))
            .map(drop);
        assert_eq!(read, Err(ProofError::Missing { key }));
        for lie in [
            old.part(&key).unwrap(),
            &world.store[&NodeKey::leaf(&index(&[3]))],
        ] {
            let mut parts = without.clone();
            parts.insert(key, lie.to_vec());
            let lying = MultiProof::from_parts(parts);
            let read = PartialTree::new(world.root, &lying)
                .read(&index(&[1, 1]))
                .map(drop);
            assert_eq!(read, Err(ProofError::Mismatch { key }));
        }
    }
}

#[test]
fn keys_of_different_places_differ() {
    let mut keys = BTreeSet::new();
    for depth in 0..=DEPTH_MAX {
        assert!(keys.insert(NodeKey::node(&index(&[]), depth)));
    }
    assert!(keys.insert(NodeKey::leaf(&index(&[]))));
    assert!(keys.insert(NodeKey::node(&index(&[1]), 1)));
    // The nibble after the depth is not part of the key.
    assert!(!keys.insert(NodeKey::node(&index(&[1, 7]), 1)));
    assert_eq!(NodeKey::root().as_bytes()[..3], [1, 0, 0]);
    assert_eq!(
        NodeKey::node(&index(&[0xa, 0xb, 0xc]), 3).as_bytes()[..5],
        [1, 3, 0xab, 0xc0, 0]
    );
}

/// The bytes of a node are fixed: `docs/vault-protocol.md`.
#[test]
fn the_bytes_of_a_node_are_fixed() {
    let mut node = Node::default();
    assert_eq!(node.as_bytes(), [0; 4]);
    node.fill(&index(&[1]), 0, Content::Branch(Digest::new([0xaa; 32])));
    let leaf = Content::Leaf {
        index: index(&[4]),
        digest: Digest::new([0xbb; 32]),
    };
    node.fill(&index(&[4]), 0, leaf);
    let mut golden = vec![0x00, 0x02, 0x00, 0x10];
    golden.extend([0xaa; 32]);
    golden.push(0x40);
    golden.extend([0; 31]);
    golden.extend([0xbb; 32]);
    assert_eq!(node.as_bytes(), golden);
    assert_eq!(Node::decode(&golden), Some(node));
}

/// A slot that is in both bitmaps has moved, or is another group's.
#[test]
fn the_bytes_of_a_node_with_ranges_that_moved_are_fixed() {
    let turn = Turn::decode([0, 0, 0, 0, 0, 0, 1, 2]);
    let content = Content::Branch(Digest::new([0xff; 32]));
    let mut node = Node::default();
    node.set(&index(&[0]), 0, Slot::Foreign);
    node.set(&index(&[1]), 0, Slot::Own { turn, content });
    let to = GroupId::new([0xdd; 16]);
    node.set(&index(&[8]), 0, Slot::Given(Given { to, turn, content }));
    let mut golden = vec![0x01, 0x03, 0x01, 0x03, 0];
    for head in [vec![2], [vec![1], vec![0xdd; 16]].concat()] {
        golden.extend(head);
        golden.extend([0, 0, 0, 0, 0, 0, 1, 2]);
        golden.push(1);
        golden.extend([0xff; 32]);
        golden.extend([0; 32]);
    }
    assert_eq!(node.as_bytes(), golden);
    assert_eq!(Node::decode(&golden), Some(node.clone()));
    for (at, kind) in [(4, 3), (4, 1), (5, 3), (14, 0), (14, 3), (79, 0), (104, 3)] {
        let mut other = golden.clone();
        other[at] = kind;
        assert_eq!(Node::decode(&other), None, "byte {at} is {kind}");
    }
    // One encoding: a range that never moved has no turn.
    golden[12..14].fill(0);
    assert_eq!(Node::decode(&golden), None);
    // What is put under a range keeps its turn, until it is given away.
    node.fill(&index(&[1]), 0, Content::Empty);
    let emptied = Slot::Own {
        turn,
        content: Content::Empty,
    };
    assert_eq!(node.slot(&index(&[1]), 0), emptied);
}

/// Indices that meet often: few nibbles, few values.
fn close_index() -> impl Strategy<Value = LeafIndex> {
    prop_oneof![
        proptest::collection::vec(0_u8..3, 1..6).prop_map(|nibbles| index(&nibbles)),
        (0_u8..64, 0_u8..3).prop_map(|(depth, value)| {
            let mut nibbles = vec![1; usize::from(depth)];
            nibbles.push(value);
            index(&nibbles)
        }),
        any::<[u8; 32]>().prop_map(LeafIndex::new),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    /// VAULT-8: the same leaves have the same root, in whatever order and batches they came.
    #[test]
    fn the_tree_is_what_its_leaves_make_it(
        batches in proptest::collection::vec(
            proptest::collection::vec((close_index(), any::<[u8; 2]>()), 1..6), 1..12)
    ) {
        let mut world = World::new();
        for batch in &batches {
            let writes: Vec<_> = batch.iter().map(|(index, bytes)| (*index, bytes.to_vec())).collect();
            world.batch(&writes);
        }
        world.check_all();
    }

    /// VAULT-1, VAULT-5: whatever ranges go away and come back, each leaf is there as long as its range
    /// is, and elsewhere as long as that is away; and a range that came back keeps its turn, whatever is
    /// written in it.
    #[test]
    fn ranges_part_leaves_wherever_these_stand(
        leaves in proptest::collection::btree_set(close_index(), 0..10),
        steps in proptest::collection::vec((0_u8..3, 0_u8..3, any::<bool>()), 1..14)
    ) {
        let mut world = World::new();
        for index in &leaves {
            world.batch(&[(*index, vec![1])]);
        }
        let mut away: BTreeMap<Range, (Turn, Content)> = BTreeMap::new();
        let mut turns: BTreeMap<Range, Turn> = BTreeMap::new();
        for (first, second, writes) in steps {
            let range = Range::of(&index(&[first, second]));
            let inside: Vec<LeafIndex> = leaves.iter().filter(|index| range.holds(index)).copied().collect();
            let proof = world.proof(&[inside.as_slice(), &[range.path()]].concat());
            let mut tree = PartialTree::new(world.root, &proof);
            let slot = tree.range(range).unwrap();
            match (slot, away.get(&range).copied()) {
                (Slot::Own { turn, content }, None) => {
                    prop_assert_eq!(turn, turns.get(&range).copied().unwrap_or(Turn::FIRST));
                    if let Content::Leaf { index, .. } = content {
                        prop_assert!(range.holds(&index));
                    }
                    if writes {
                        for index in &inside {
                            tree.read(index).unwrap();
                            tree.write(index, vec![1]).unwrap();
                        }
                    } else {
                        let to = GroupId::new([1; 16]);
                        tree.set_range(range, Slot::Given(Given { to, turn, content })).unwrap();
                        away.insert(range, (turn, content));
                    }
                }
                (Slot::Given(given), Some((turn, content))) => {
                    prop_assert_eq!((given.turn, given.content), (turn, content));
                    let turn = turn.next().unwrap();
                    tree.set_range(range, Slot::Own { turn, content }).unwrap();
                    turns.insert(range, turn);
                    away.remove(&range);
                }
                (other, _) => prop_assert!(false, "{:?}", other),
            }
            world.root = tree.root();
            world.store.extend(tree.into_puts());
            for index in &leaves {
                let proof = world.proof(&[*index]);
                let mut tree = PartialTree::new(world.root, &proof);
                let elsewhere = away.keys().any(|range| range.holds(index));
                let found = tree.read(index).unwrap();
                prop_assert_eq!(found == Found::Elsewhere, elsewhere);
                prop_assert_eq!(found == Found::Sealed(&[1]), !elsewhere);
            }
        }
    }

    #[test]
    fn a_node_reads_back_and_no_other_bytes_are_a_node(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Some(node) = Node::decode(&bytes) {
            prop_assert_eq!(node.as_bytes(), bytes);
        }
    }

    #[test]
    fn absent_leaves_are_proven_absent(
        present in proptest::collection::btree_set(close_index(), 1..12),
        asked in close_index()
    ) {
        let mut world = World::new();
        for index in &present {
            world.batch(&[(*index, vec![1])]);
        }
        let proof = world.proof(&[asked]);
        let read = PartialTree::new(world.root, &proof).read(&asked).map(|leaf| leaf != Found::None);
        prop_assert_eq!(read, Ok(present.contains(&asked)));
    }
}

/// VAULT-4: bytes that hash to what stands above them and are no node lead nowhere: only a core writes digests, and
/// no core ever wrote this one.
#[test]
fn bytes_at_the_right_digest_that_are_no_node_are_refused() {
    let index = LeafIndex::new([7; 32]);
    for bytes in [vec![], vec![0xff; 40], vec![0xff; 3000]] {
        let key = NodeKey::root();
        let root = super::node::node_digest(&bytes);
        let proof = MultiProof::from_parts([(key, bytes)].into());
        let mut tree = PartialTree::new(root, &proof);
        assert_eq!(tree.read(&index), Err(ProofError::Mismatch { key }));
        assert_eq!(
            tree.write(&index, vec![1]),
            Err(ProofError::Mismatch { key })
        );
    }
}

/// A leaf goes where it belongs, whatever was read before it.
#[test]
fn a_leaf_is_written_in_its_own_place_whatever_was_read_last() {
    let mut world = World::new();
    world.batch(&[write(&[1, 1], 1), write(&[1, 2], 2), write(&[3], 3)]);
    let [(read, _), (other, sealed)] = [write(&[1, 1], 0), write(&[3], 9)];
    let proof = world.proof(&[read, other]);
    let mut tree = PartialTree::new(world.root, &proof);
    tree.read(&read).unwrap();
    tree.write(&other, sealed.clone()).unwrap();
    world.model.leaves.insert(other, sealed);
    assert_eq!(tree.root(), world.model.root());
}

/// Nothing hangs below the last nibble: a chain that goes on there fits under no root.
#[test]
fn what_hangs_below_the_last_nibble_does_not_fit() {
    let path = index(&[]);
    let mut below = Node::default();
    let mut chain = BTreeMap::new();
    for depth in (0..=DEPTH_MAX + 1).rev() {
        let digest = below.digest();
        chain.insert(NodeKey::node(&path, depth), below.into_bytes());
        below = Node::default();
        below.fill(&path, depth.saturating_sub(1), Content::Branch(digest));
    }
    let root = super::node::node_digest(&chain[&NodeKey::root()]);
    assert_eq!(chain.len(), usize::from(DEPTH_MAX) + 2);
    assert!(!fits(&root, &chain));
}

fn keys_of(proof: Result<MultiProof, super::ProveError<()>>) -> Vec<NodeKey> {
    proof.unwrap().parts().map(|(key, _)| key).collect()
}

/// A proof for a range ends at its slot: what hangs there is not read, and goes nowhere.
#[test]
fn a_proof_for_a_range_ends_at_its_slot() {
    let mut world = World::new();
    let first = index(&[1, 1]);
    let proof = |world: &World| {
        super::prove_range(Range::of(&first), |key| Ok(world.store.get(key).cloned()))
    };
    world.batch(&[(first, vec![1])]);
    assert_eq!(keys_of(proof(&world)), [NodeKey::root()], "one leaf");
    world.batch(&[write(&[1, 2], 2)]);
    let slot = NodeKey::node(&first, 1);
    assert_eq!(keys_of(proof(&world)), [NodeKey::root(), slot], "a leaf");
    world.batch(&[write(&[1, 1, 0, 5], 3)]);
    assert!(world.store.contains_key(&NodeKey::node(&first, 2)));
    assert_eq!(keys_of(proof(&world)), [NodeKey::root(), slot], "a branch");
}

/// That an account has no record is proven by what stands in its place, and not by another's record.
#[test]
fn a_proof_of_absence_holds_no_leaf() {
    let fleet = FleetId::new([1; 32]);
    let account = AccountName::parse("alice").unwrap();
    let mut other = *LeafIndex::of(&fleet, &account).as_bytes();
    other[31] ^= 1;
    let mut world = World::new();
    world.batch(&[(LeafIndex::new(other), vec![7])]);
    let proof = super::prove(&fleet, [&account], |key| Ok(world.store.get(key).cloned()));
    assert_eq!(keys_of(proof), [NodeKey::root()]);
}
