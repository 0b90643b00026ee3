//! The rules, one function each; the name of the function is the rule.

use std::ops::ControlFlow;
use std::sync::Barrier;
use std::thread;

use super::{Broken, LOG_KEPT, Medium, demand};
use crate::{
    AppendError, ENTRY_BYTES_MAX, Index, KEY_BYTES_MAX, LogEntry, NODES_PER_STEP_MAX, Settled,
    Step, Store, VALUE_BYTES_MAX, append_or_read_back,
};

type Rule = fn(&mut dyn Medium) -> Result<(), Broken>;
type Node = (Vec<u8>, Vec<u8>);

macro_rules! rules {
    ($($rule:ident),* $(,)?) => {
        pub(super) const ALL: &[(&str, Rule)] = &[$((stringify!($rule), $rule)),*];
    };
}

rules![
    an_empty_store_has_no_head_and_no_nodes,
    an_append_stands_whole,
    the_first_entry_may_have_any_index_but_only_once,
    a_log_that_begins_at_zero_keeps_its_first_entry,
    an_append_that_expects_another_head_changes_nothing,
    an_append_that_expects_another_entry_of_the_same_index_changes_nothing,
    an_append_that_leaves_a_gap_changes_nothing,
    several_entries_are_appended_at_once_or_not_at_all,
    an_entry_names_the_nodes_that_it_changed,
    a_step_above_the_limits_changes_nothing,
    the_largest_step_within_the_limits_is_taken,
    of_two_nodes_under_one_key_the_last_stands,
    a_snapshot_does_not_move,
    a_store_opened_again_is_as_it_was_left,
    of_racing_appends_one_wins_each_index,
    an_append_sent_twice_is_taken_once,
    entries_come_in_order_from_where_they_are_asked,
    the_log_is_bounded_and_the_nodes_stay,
    nodes_are_shown_in_the_order_of_their_keys_until_told_to_stop,
];

fn entry(index: u64) -> LogEntry {
    named(index, &format!("entry {index}"))
}

fn named(index: u64, bytes: &str) -> LogEntry {
    LogEntry {
        index: Index::new(index),
        bytes: bytes.as_bytes().to_vec(),
    }
}

fn node(key: &str, value: &str) -> Node {
    (key.as_bytes().to_vec(), value.as_bytes().to_vec())
}

fn append(store: &dyn Store, index: u64, nodes: &[Node]) -> Result<(), AppendError> {
    let expected = index.checked_sub(1).filter(|before| *before > 0).map(entry);
    store.append(&Step::one(expected.as_ref(), &entry(index), nodes))
}

fn head(store: &dyn Store) -> Result<Option<u64>, Broken> {
    Ok(store.snapshot()?.head()?.map(|entry| entry.index.number()))
}

fn nodes(store: &dyn Store) -> Result<Vec<Node>, Broken> {
    let mut seen = Vec::new();
    store.snapshot()?.for_each_node(&mut |key, value| {
        seen.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })?;
    Ok(seen)
}

/// Demands that `step` is refused with an error that `expected` accepts, and leaves no trace.
fn refused(
    store: &dyn Store,
    step: &Step<'_>,
    expected: impl Fn(&AppendError) -> bool,
) -> Result<(), Broken> {
    let before = (head(store)?, nodes(store)?);
    match store.append(step) {
        Ok(()) => return Err(Broken("the step was taken".into())),
        Err(error) => demand(expected(&error), || format!("refused with {error:?}"))?,
    }
    let after = (head(store)?, nodes(store)?);
    demand(before == after, || {
        "a refused step changed the store".into()
    })
}

fn an_empty_store_has_no_head_and_no_nodes(medium: &mut dyn Medium) -> Result<(), Broken> {
    let store = medium.open()?;
    let snapshot = store.snapshot()?;
    demand(snapshot.head()?.is_none(), || "a head".into())?;
    demand(snapshot.get(b"any")?.is_none(), || "a node".into())?;
    demand(snapshot.entries(Index::new(0), 9)?.is_empty(), || {
        "an entry".into()
    })?;
    demand(nodes(&*store)?.is_empty(), || "nodes".into())
}

fn an_append_stands_whole(medium: &mut dyn Medium) -> Result<(), Broken> {
    let store = medium.open()?;
    let first = [node("a", "1"), node("b", "2")];
    append(&*store, 1, &first)?;
    append(&*store, 2, &[node("b", "3"), node("c", "")])?;
    let snapshot = store.snapshot()?;
    demand(snapshot.head()? == Some(entry(2)), || "another head".into())?;
    for (key, value) in [
        ("a", Some("1")),
        ("b", Some("3")),
        ("c", Some("")),
        ("d", None),
    ] {
        let stored = snapshot.get(key.as_bytes())?;
        let value = value.map(|value| value.as_bytes().to_vec());
        demand(stored == value, || format!("{key}: {stored:?}"))?;
    }
    Ok(())
}

fn the_first_entry_may_have_any_index_but_only_once(medium: &mut dyn Medium) -> Result<(), Broken> {
    let store = medium.open()?;
    let first = entry(41);
    store.append(&Step::one(None, &first, &[]))?;
    let (next, nodes) = (entry(42), [node("k", "v")]);
    let again = Step::one(None, &next, &nodes);
    refused(
        &*store,
        &again,
        |error| matches!(error, AppendError::Raced { expected: None, head: Some(at) } if at.number() == 41),
    )
}

fn a_log_that_begins_at_zero_keeps_its_first_entry(medium: &mut dyn Medium) -> Result<(), Broken> {
    let store = medium.open()?;
    let first = entry(0);
    store.append(&Step::one(None, &first, &[]))?;
    demand(head(&*store)? == Some(0), || {
        "the first entry is gone".into()
    })?;
    store.append(&Step::one(Some(&first), &entry(1), &[]))?;
    let kept = store.snapshot()?.entries(Index::new(0), 9)?;
    demand(kept == [0, 1].map(entry), || format!("{kept:?}"))
}

fn an_append_that_expects_another_head_changes_nothing(
    medium: &mut dyn Medium,
) -> Result<(), Broken> {
    let store = medium.open()?;
    for index in 1..=3 {
        append(&*store, index, &[node("k", "v")])?;
    }
    let raced = |error: &AppendError| matches!(error, AppendError::Raced { .. });
    for stale in [1, 2, 4, u64::MAX.saturating_sub(1)] {
        let expected = entry(stale);
        let Some(index) = expected.index.next() else {
            continue;
        };
        let entry = LogEntry {
            index,
            bytes: b"forked".to_vec(),
        };
        let nodes = [node("k", "forked"), node("new", "forked")];
        refused(&*store, &Step::one(Some(&expected), &entry, &nodes), raced)?;
    }
    Ok(())
}

/// Two leaders may each have made an entry of one index: the index alone does not say which one
/// stands.
fn an_append_that_expects_another_entry_of_the_same_index_changes_nothing(
    medium: &mut dyn Medium,
) -> Result<(), Broken> {
    let store = medium.open()?;
    append(&*store, 1, &[node("k", "v")])?;
    let (twin, nodes) = (named(1, "the other leader's"), [node("k", "forked")]);
    let next = entry(2);
    let step = Step::one(Some(&twin), &next, &nodes);
    refused(&*store, &step, |error| {
        matches!(error, AppendError::Raced { .. })
    })
}

fn several_entries_are_appended_at_once_or_not_at_all(
    medium: &mut dyn Medium,
) -> Result<(), Broken> {
    let store = medium.open()?;
    append(&*store, 1, &[node("k", "v")])?;
    let (first, nodes) = (entry(1), [node("k", "last"), node("l", "last")]);
    let step = |entries| Step {
        expected: Some(&first),
        entries,
        first: Index::new(2),
        nodes: &nodes,
    };
    let gaps = [vec![], vec![entry(2), entry(4)], vec![entry(3), entry(4)]];
    for broken in &gaps {
        refused(&*store, &step(broken), |error| {
            matches!(error, AppendError::NotNext { .. } | AppendError::TooLarge)
        })?;
    }
    let both = [2, 3].map(entry);
    store.append(&step(&both))?;
    let snapshot = store.snapshot()?;
    let kept = snapshot.entries(Index::new(0), 9)?;
    demand(kept == [1, 2, 3].map(entry), || format!("{kept:?}"))?;
    let changes = [2, 3].map(|index| snapshot.changes(Index::new(index)));
    let [Ok(Some(second)), Ok(Some(third))] = changes else {
        return Err(Broken("an entry does not say what it changed".into()));
    };
    demand(second.keys.is_empty() && third.keys.len() == 2, || {
        format!("{second:?}, {third:?}")
    })?;
    demand(
        [second, third].iter().all(|c| c.first == Index::new(2)),
        || "another first".into(),
    )
}

fn an_entry_names_the_nodes_that_it_changed(medium: &mut dyn Medium) -> Result<(), Broken> {
    let store = medium.open()?;
    append(
        &*store,
        1,
        &[node("b", "1"), node("a", "1"), node("b", "2")],
    )?;
    append(&*store, 2, &[])?;
    let snapshot = store.snapshot()?;
    let keys = |index| {
        let changes = snapshot.changes(Index::new(index))?;
        Ok::<_, Broken>(changes.map(|changes| (changes.first.number(), changes.keys)))
    };
    let both = vec![b"a".to_vec(), b"b".to_vec()];
    demand(keys(1)? == Some((1, both)), || format!("{:?}", keys(1)))?;
    demand(keys(2)? == Some((2, vec![])), || format!("{:?}", keys(2)))?;
    demand(keys(3)?.is_none(), || {
        "of an entry that is not there".into()
    })
}

fn an_append_that_leaves_a_gap_changes_nothing(medium: &mut dyn Medium) -> Result<(), Broken> {
    let store = medium.open()?;
    append(&*store, 1, &[node("k", "v")])?;
    for index in [0, 1, 3, u64::MAX] {
        let (first, entry, nodes) = (entry(1), entry(index), [node("k", "gap")]);
        let step = Step::one(Some(&first), &entry, &nodes);
        refused(&*store, &step, |error| {
            matches!(error, AppendError::NotNext { .. })
        })?;
    }
    Ok(())
}

/// VAULT-10: no caller can make the store hold more than a core ever sends.
fn a_step_above_the_limits_changes_nothing(medium: &mut dyn Medium) -> Result<(), Broken> {
    let store = medium.open()?;
    let small = entry(1);
    let large = LogEntry {
        index: Index::new(1),
        bytes: vec![0; ENTRY_BYTES_MAX.saturating_add(1)],
    };
    let cases: [(&LogEntry, Vec<Node>); 5] = [
        (&large, vec![]),
        (&small, vec![(vec![], vec![1])]),
        (
            &small,
            vec![(vec![1; KEY_BYTES_MAX.saturating_add(1)], vec![])],
        ),
        (
            &small,
            vec![(vec![1], vec![1; VALUE_BYTES_MAX.saturating_add(1)])],
        ),
        (
            &small,
            vec![node("k", "v"); NODES_PER_STEP_MAX.saturating_add(1)],
        ),
    ];
    for (entry, nodes) in &cases {
        let step = Step::one(None, entry, nodes);
        refused(&*store, &step, |error| {
            matches!(error, AppendError::TooLarge)
        })?;
    }
    Ok(())
}

fn the_largest_step_within_the_limits_is_taken(medium: &mut dyn Medium) -> Result<(), Broken> {
    let store = medium.open()?;
    let entry = LogEntry {
        index: Index::new(1),
        bytes: vec![7; ENTRY_BYTES_MAX],
    };
    let nodes = [(vec![1; KEY_BYTES_MAX], vec![2; VALUE_BYTES_MAX])];
    store.append(&Step::one(None, &entry, &nodes))?;
    let snapshot = store.snapshot()?;
    demand(snapshot.head()? == Some(entry), || {
        "the entry differs".into()
    })?;
    let value = snapshot.get(&[1; KEY_BYTES_MAX])?;
    demand(value == Some(vec![2; VALUE_BYTES_MAX]), || {
        "the node differs".into()
    })
}

fn of_two_nodes_under_one_key_the_last_stands(medium: &mut dyn Medium) -> Result<(), Broken> {
    let store = medium.open()?;
    append(&*store, 1, &[node("k", "first"), node("k", "last")])?;
    let stored = nodes(&*store)?;
    demand(stored == [node("k", "last")], || format!("{stored:?}"))
}

fn a_snapshot_does_not_move(medium: &mut dyn Medium) -> Result<(), Broken> {
    let store = medium.open()?;
    append(&*store, 1, &[node("k", "old")])?;
    let snapshot = store.snapshot()?;
    append(&*store, 2, &[node("k", "new"), node("l", "new")])?;
    demand(snapshot.head()? == Some(entry(1)), || {
        "its head moved".into()
    })?;
    demand(snapshot.get(b"k")? == Some(b"old".to_vec()), || {
        "a node moved".into()
    })?;
    demand(snapshot.get(b"l")?.is_none(), || "a node came".into())?;
    demand(head(&*store)? == Some(2), || {
        "a new snapshot shows the old state".into()
    })
}

/// VAULT-5: what was acknowledged is there after a restart.
fn a_store_opened_again_is_as_it_was_left(medium: &mut dyn Medium) -> Result<(), Broken> {
    let mut left = None;
    for index in 1..=5_u64 {
        let store = medium.open()?;
        let found = (head(&*store)?, nodes(&*store)?);
        if let Some(left) = left {
            demand(found == left, || {
                format!("before entry {index}: {found:?}, was {left:?}")
            })?;
        }
        append(
            &*store,
            index,
            &[node("k", &index.to_string()), node(&index.to_string(), "v")],
        )?;
        left = Some((head(&*store)?, nodes(&*store)?));
    }
    Ok(())
}

fn of_racing_appends_one_wins_each_index(medium: &mut dyn Medium) -> Result<(), Broken> {
    const RACERS: usize = 4;
    const ROUNDS: u64 = 5;
    let store = medium.open()?;
    let start = Barrier::new(RACERS);
    for index in 1..=ROUNDS {
        let race = |racer: usize| {
            let nodes = [node("a", &racer.to_string()), node("b", &racer.to_string())];
            start.wait();
            append(&*store, index, &nodes).is_ok()
        };
        let wins: usize = thread::scope(|scope| {
            let race = &race;
            let racers: Vec<_> = (0..RACERS)
                .map(|racer| scope.spawn(move || race(racer)))
                .collect();
            racers
                .into_iter()
                .map(|racer| usize::from(racer.join().unwrap_or(false)))
                .sum()
        });
        demand(wins == 1, || format!("{wins} appends won index {index}"))?;
        let snapshot = store.snapshot()?;
        demand(snapshot.get(b"a")? == snapshot.get(b"b")?, || {
            "two steps mixed".into()
        })?;
    }
    Ok(())
}

fn an_append_sent_twice_is_taken_once(medium: &mut dyn Medium) -> Result<(), Broken> {
    let store = medium.open()?;
    let (first, nodes) = (entry(1), [node("k", "v")]);
    let step = Step::one(None, &first, &nodes);
    for _ in 0..2 {
        let settled = append_or_read_back(&*store, &step)?;
        demand(settled == Settled::Appended, || format!("{settled:?}"))?;
    }
    let other = LogEntry {
        index: Index::new(1),
        bytes: b"other".to_vec(),
    };
    let settled = append_or_read_back(&*store, &Step::one(None, &other, &nodes))?;
    let lost = Settled::Lost {
        head: Some(Index::new(1)),
    };
    demand(settled == lost, || format!("{settled:?}"))
}

fn entries_come_in_order_from_where_they_are_asked(medium: &mut dyn Medium) -> Result<(), Broken> {
    let store = medium.open()?;
    for index in 1..=5 {
        append(&*store, index, &[])?;
    }
    let snapshot = store.snapshot()?;
    let asked = |from, most| snapshot.entries(Index::new(from), most);
    demand(asked(0, 9)? == [1, 2, 3, 4, 5].map(entry), || {
        "not all five".into()
    })?;
    demand(asked(2, 2)? == [2, 3].map(entry), || {
        "not the two asked for".into()
    })?;
    demand(asked(6, 9)?.is_empty() && asked(1, 0)?.is_empty(), || {
        "some".into()
    })
}

/// VAULT-10: traffic alone cannot fill the disk.
fn the_log_is_bounded_and_the_nodes_stay(medium: &mut dyn Medium) -> Result<(), Broken> {
    let store = medium.open()?;
    let last = LOG_KEPT.saturating_mul(2);
    for index in 1..=last {
        append(&*store, index, &[node(&format!("{index:04}"), "v")])?;
    }
    let kept = store.snapshot()?.entries(Index::new(0), usize::MAX)?;
    let indices: Vec<u64> = kept.iter().map(|entry| entry.index.number()).collect();
    let newest: Vec<u64> = (LOG_KEPT.saturating_add(1)..=last).collect();
    demand(indices == newest, || format!("kept {indices:?}"))?;
    let nodes = nodes(&*store)?.len();
    demand(u64::try_from(nodes) == Ok(last), || {
        format!("{nodes} nodes of {last}")
    })
}

fn nodes_are_shown_in_the_order_of_their_keys_until_told_to_stop(
    medium: &mut dyn Medium,
) -> Result<(), Broken> {
    let store = medium.open()?;
    append(
        &*store,
        1,
        &[node("b", ""), node("a", ""), node("ab", ""), node("c", "")],
    )?;
    let keys: Vec<Vec<u8>> = nodes(&*store)?.into_iter().map(|(key, _)| key).collect();
    let ordered: [&[u8]; 4] = [b"a", b"ab", b"b", b"c"];
    demand(keys == ordered, || format!("{keys:?}"))?;
    let mut shown = 0_usize;
    store.snapshot()?.for_each_node(&mut |_, _| {
        shown = shown.saturating_add(1);
        if shown == 2 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    demand(shown == 2, || format!("{shown} shown after a stop at 2"))
}
