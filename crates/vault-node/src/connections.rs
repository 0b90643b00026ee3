//! How many connections stand at once, and which one goes when there are too many (VAULT-10).
//!
//! A stranger can open connections for nothing and say nothing on them. So a connection that has no
//! request under way is one that may be closed: when the house is full, the one that has been idle
//! longest makes room. A connection whose request is being answered is never closed for another's
//! sake; when all are such, the newcomer is turned away.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// All connections that stand.
#[derive(Debug)]
pub(crate) struct Connections {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Rises with every event, so that a lower number is longer ago.
    turn: u64,
    open: HashMap<Id, Open>,
    idle: BTreeMap<u64, Id>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Id(u64);

#[derive(Debug)]
struct Open {
    close: oneshot::Sender<()>,
    /// The turn since which it has been idle.
    idle_since: Option<u64>,
}

/// One connection's place; leaving it gives the place back.
#[derive(Debug)]
pub(crate) struct Place {
    house: Arc<Connections>,
    id: Id,
}

/// A request is under way on a connection as long as this lives.
#[derive(Debug)]
pub(crate) struct Busy {
    place: Arc<Place>,
}

impl Connections {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            state: Mutex::default(),
        })
    }

    /// A place for one more connection, and the word by which it is told to go. `None` when every
    /// place is taken by a request under way.
    pub(crate) fn admit(self: &Arc<Self>) -> Option<(Arc<Place>, oneshot::Receiver<()>)> {
        let mut state = self.state();
        if state.open.len() >= self.most {
            let (_, oldest) = state.idle.pop_first()?;
            if let Some(open) = state.open.remove(&oldest) {
                // It may be gone already; then it has left its place by itself.
                let _ = open.close.send(());
            }
        }
        let (close, told) = oneshot::channel();
        let turn = state.next_turn();
        let id = Id(turn);
        state.open.insert(
            id,
            Open {
                close,
                idle_since: Some(turn),
            },
        );
        state.idle.insert(turn, id);
        Some((
            Arc::new(Place {
                house: Arc::clone(self),
                id,
            }),
            told,
        ))
    }

    pub(crate) fn open(&self) -> usize {
        self.state().open.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next_turn(&mut self) -> u64 {
        self.turn = self.turn.saturating_add(1);
        self.turn
    }

    fn set_idle(&mut self, id: Id, idle: bool) {
        let turn = self.next_turn();
        let Some(open) = self.open.get_mut(&id) else {
            return;
        };
        let since = if idle { Some(turn) } else { None };
        if let Some(before) = std::mem::replace(&mut open.idle_since, since) {
            self.idle.remove(&before);
        }
        if idle {
            self.idle.insert(turn, id);
        }
    }
}

impl Place {
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        self.house.state().set_idle(self.id, false);
        Busy {
            place: Arc::clone(self),
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.place.house.state().set_idle(self.place.id, true);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.house.state();
        if let Some(since) = state.open.remove(&self.id).and_then(|open| open.idle_since) {
            state.idle.remove(&since);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_idle_makes_room() {
        let house = Connections::new(2);
        let (_first, mut first_told) = house.admit().unwrap();
        let (second, mut second_told) = house.admit().unwrap();
        let (_third, _) = house.admit().unwrap();
        assert!(first_told.try_recv().is_ok(), "the first was idle longest");
        assert!(second_told.try_recv().is_err());
        drop(second);
        assert_eq!(house.open(), 1);
        house.admit().unwrap();
    }

    #[test]
    fn a_request_under_way_is_not_cut_off() {
        let house = Connections::new(2);
        let (first, mut first_told) = house.admit().unwrap();
        let busy = first.busy();
        let (second, mut second_told) = house.admit().unwrap();
        let _busy = second.busy();
        assert!(house.admit().is_none(), "all are busy");
        drop(busy);
        let _third = house.admit().unwrap();
        assert!(first_told.try_recv().is_ok());
        assert!(second_told.try_recv().is_err());
    }

    #[test]
    fn being_told_to_go_and_leaving_gives_back_one_place() {
        let house = Connections::new(1);
        let (first, _told) = house.admit().unwrap();
        let (second, _told) = house.admit().unwrap();
        drop(first);
        assert_eq!(house.open(), 1);
        drop(second);
        assert_eq!(house.open(), 0);
        assert!(house.state().idle.is_empty());
    }
}
