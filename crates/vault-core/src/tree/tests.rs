//! The tree against a model that builds it anew from all leaves, and every structural case.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "tests count with small numbers"
)]

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use keyhaven_wire::message::LeafIndex;
use proptest::prelude::*;

use super::node::{Node, Slot, leaf_digest};
use super::{
    Away, Content, DEPTH_MAX, Digest, Found, Given, Holding, MultiProof, NodeKey, Nonce,
    PartialTree, ProofError, Range, fits, nibble,
};
use crate::log::GroupId;

/// All leaves, and nothing else.
#[derive(Default)]
struct Model {
    leaves: BTreeMap<LeafIndex, Vec<u8>>,
}

impl Model {
    /// The slot that a set of leaves makes at a depth: the definition of the tree.
    fn slot(&self, under: &[LeafIndex], depth: u8) -> Slot {
        match under {
            [] => Slot::Empty,
            [index] => Slot::Leaf {
                index: *index,
                digest: leaf_digest(index, &self.leaves[index]),
            },
            many => Slot::Branch(self.node(many, depth).digest()),
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
                node.set(first, depth, self.slot(&there, depth + 1));
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
    let range = Range::parse("a").unwrap();
    let writes = [write(&[10, 1], 1), write(&[10, 2], 2), write(&[3], 3)];
    let given = |content| {
        Slot::Away(Away::Given(Given {
            to: GroupId::new([7; 16]),
            nonce: Nonce([8; 16]),
            content,
        }))
    };
    let mut world = World::new();
    world.batch(&writes);
    let proof = world.proof(&[index(&[10])]);
    let mut later = PartialTree::new(world.root, &proof);
    let Holding::Own(content) = later.holding(range).unwrap() else {
        panic!("a range of one's own");
    };
    later.hold(range, given(content)).unwrap();

    let empty = World::new();
    let proof = empty.proof(&[index(&[])]);
    let mut at_once = PartialTree::new(empty.root, &proof);
    for (index, sealed) in &writes {
        at_once.write(index, sealed.clone()).unwrap();
    }
    assert_eq!(at_once.holding(range).unwrap(), Holding::Own(content));
    at_once
        .write(&index(&[10, 1]), writes[0].1.clone())
        .unwrap();
    at_once.hold(range, given(content)).unwrap();
    assert_eq!(at_once.root(), later.root());
}

#[test]
fn the_greatest_node_is_one_whose_ranges_were_all_given_away() {
    let given = Given {
        to: GroupId::new([1; 16]),
        nonce: Nonce([2; 16]),
        content: Content::Empty,
    };
    let node = Node::of(Slot::Away(Away::Given(given)));
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
    node.set(&index(&[1]), 0, Slot::Branch(Digest::new([0xaa; 32])));
    let leaf = Slot::Leaf {
        index: index(&[4]),
        digest: Digest::new([0xbb; 32]),
    };
    node.set(&index(&[4]), 0, leaf);
    let mut golden = vec![0x00, 0x02, 0x00, 0x10];
    golden.extend([0xaa; 32]);
    golden.push(0x40);
    golden.extend([0; 31]);
    golden.extend([0xbb; 32]);
    assert_eq!(node.as_bytes(), golden);
    assert_eq!(Node::decode(&golden), Some(node));
}

/// A slot that is in both bitmaps is away.
#[test]
fn the_bytes_of_a_node_with_ranges_that_are_away_are_fixed() {
    let mut node = Node::default();
    node.set(&index(&[0]), 0, Slot::Away(Away::Foreign));
    let awaited = Away::Awaited(Nonce([0xcc; 16]));
    node.set(&index(&[1]), 0, Slot::Away(awaited));
    let given = Given {
        to: GroupId::new([0xdd; 16]),
        nonce: Nonce([0xee; 16]),
        content: Content::Branch(Digest::new([0xff; 32])),
    };
    node.set(&index(&[8]), 0, Slot::Away(Away::Given(given)));
    let mut golden = vec![0x01, 0x03, 0x01, 0x03, 0];
    golden.push(1);
    golden.extend([0xcc; 16]);
    golden.push(2);
    golden.extend([0xdd; 16]);
    golden.extend([0xee; 16]);
    golden.push(1);
    golden.extend([0xff; 32]);
    golden.extend([0; 32]);
    assert_eq!(node.as_bytes(), golden);
    assert_eq!(Node::decode(&golden), Some(node));
    for (at, kind) in [(4, 3), (5, 0), (55, 3), (55, 0), (119, 1)] {
        let mut other = golden.clone();
        other[at] = kind;
        assert_eq!(Node::decode(&other), None, "byte {at} is {kind}");
    }
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

/// Whether a range lies in a larger one that is away.
fn within(range: &Range, away: &BTreeMap<Range, Content>) -> bool {
    away.keys()
        .any(|other| other.depth() < range.depth() && other.holds(&range.path()))
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

    /// VAULT-1, VAULT-5: whatever ranges go away and come back, of whatever size, each leaf is
    /// there as long as no range that holds it is away, and elsewhere as long as one is.
    #[test]
    fn ranges_part_leaves_wherever_these_stand(
        leaves in proptest::collection::btree_set(close_index(), 0..10),
        steps in proptest::collection::vec((proptest::collection::vec(0_u8..3, 1..=4), any::<bool>()), 1..10)
    ) {
        let mut world = World::new();
        for index in &leaves {
            world.batch(&[(*index, vec![1])]);
        }
        let mut away: BTreeMap<Range, Content> = BTreeMap::new();
        for (digits, goes) in steps {
            let text: String = digits.iter().map(|digit| char::from(b'0' + digit)).collect();
            let range = Range::parse(&text).unwrap();
            let proof = world.proof(&[range.path()]);
            let mut tree = PartialTree::new(world.root, &proof);
            let holding = tree.holding(range).unwrap();
            match (holding, away.get(&range).copied()) {
                (Holding::Own(content), None) if goes => {
                    if let Content::Leaf { index, .. } = content {
                        prop_assert!(range.holds(&index));
                    }
                    tree.hold(range, Slot::Away(Away::Foreign)).unwrap();
                    away.insert(range, content);
                }
                (Holding::Away(Away::Foreign), Some(content)) if !goes && !within(&range, &away) => {
                    tree.hold(range, content.slot()).unwrap();
                    away.remove(&range);
                }
                _ => continue,
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
