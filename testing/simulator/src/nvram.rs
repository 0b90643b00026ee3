//! A memory that no host can put back, and that fails now and then.

use std::sync::{Arc, Mutex, PoisonError};

use keyhaven_vault_core::{Memory, NotKept, TrustedMemory};

use crate::chance::Chance;

/// In how many of a hundred cases a write fails: half of these have written all the same.
const FAILS: u8 = 2;

/// A core's trusted memory. Clones are handles to one.
#[derive(Clone, Debug)]
pub struct Nvram {
    inside: Arc<Mutex<Inside>>,
}

#[derive(Debug)]
struct Inside {
    memory: Option<Memory>,
    seed: u64,
    writes: u64,
    fails: bool,
}

impl Nvram {
    /// An empty one, whose failures this seed decides.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let inside = Inside {
            memory: None,
            seed,
            writes: 0,
            fails: true,
        };
        Self {
            inside: Arc::new(Mutex::new(inside)),
        }
    }

    /// It fails no more.
    pub fn heal(&self) {
        self.inside().fails = false;
    }

    fn inside(&self) -> std::sync::MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TrustedMemory for Nvram {
    fn read(&mut self) -> Result<Option<Memory>, NotKept> {
        Ok(self.inside().memory)
    }

    fn write(&mut self, memory: &Memory) -> Result<(), NotKept> {
        let mut inside = self.inside();
        inside.writes += 1;
        let mut chance = Chance::of_step(inside.seed, inside.writes);
        let fails = inside.fails && inside.writes > 1 && chance.percent(FAILS);
        if !fails || chance.percent(50) {
            inside.memory = Some(*memory);
        }
        if fails { Err(NotKept) } else { Ok(()) }
    }
}
