//! What a host asks of its store, answered by a store that blocks.

use keyhaven_secrets::Remedy;
use keyhaven_vault_core::{Entry, LogError, NodeKey, ProveError, prove, prove_range};
use keyhaven_vault_host::{Append, Ask, Looked, Prove, Proved, Puts, Said};
use keyhaven_vault_store::{
    AppendError, Index, LogEntry, Settled, Snapshot, Step, Store, StoreError, append_or_read_back,
};
use keyhaven_wire::message::FleetId;

/// Entries that are read at once.
const ENTRIES_AT_ONCE: usize = 256;
/// How far before the base they begin at most, so that the base is among them. What is older stays in
/// the base's own record, which the tail of whoever captured the base has.
const BEFORE_BASE: u64 = 128;

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The store could not be read.
    #[error("the store could not be read: {0}")]
    Read(#[from] StoreError),
    /// The store's log holds what is no entry, or no node of an entry.
    #[error("the store's log is damaged: {0}")]
    Damaged(#[from] LogError),
    /// The entries could not be appended, or it is not known whether they were.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl AskError {
    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Read(error) => error.remedy(),
            Self::Damaged(_) => Remedy::Stop,
            Self::Append(error) => error.remedy(),
        }
    }
}

/// Asks the store; for a record of a tail, there is none here.
///
/// # Errors
/// See [`AskError`]. Nothing is changed then, but where [`AppendError::Unknown`] says so.
pub fn answer(store: &dyn Store, fleet: &FleetId, ask: &Ask) -> Result<Said, AskError> {
    match ask {
        Ask::Look { base, nodes } => {
            let base = Index::new(base.number());
            look(&*store.snapshot()?, base, *nodes).map(|looked| Said::Looked(Box::new(looked)))
        }
        Ask::Prove(wanted) => {
            proof(&*store.snapshot()?, fleet, wanted).map(|proved| Said::Proved(Box::new(proved)))
        }
        Ask::Append(append) => self::append(store, append),
        Ask::Tail(_) => Ok(Said::Tail(None)),
    }
}

fn look(snapshot: &dyn Snapshot, base: Index, nodes: bool) -> Result<Looked, AskError> {
    let head = snapshot.head()?.as_ref().map(decode).transpose()?;
    let first = snapshot
        .changes(base)?
        .map(|changes| changes.first)
        .filter(|first| (1..=BEFORE_BASE).contains(&base.number().saturating_sub(first.number())))
        .unwrap_or(base);
    let stored = snapshot.entries(first, ENTRIES_AT_ONCE)?;
    let mut puts = Puts::new();
    if nodes {
        for entry in &stored {
            let changes = snapshot.changes(entry.index)?;
            for key in changes.into_iter().flat_map(|changes| changes.keys) {
                if let (Some(node), Some(bytes)) = (node_key(&key), snapshot.get(&key)?) {
                    puts.insert(node, bytes);
                }
            }
        }
    }
    let rows = stored.iter().map(decode).collect::<Result<Vec<_>, _>>()?;
    Ok(Looked {
        more: rows.last().map(Entry::index) < head.as_ref().map(Entry::index),
        head,
        rows,
        puts,
    })
}

fn proof(snapshot: &dyn Snapshot, fleet: &FleetId, wanted: &Prove) -> Result<Proved, AskError> {
    let head = snapshot.head()?.as_ref().map(decode).transpose()?;
    let read = |key: &NodeKey| snapshot.get(key.as_bytes());
    let proof = match wanted {
        Prove::Accounts(accounts) => prove(fleet, accounts, read),
        Prove::Range(range) => prove_range(*range, read),
    };
    let proof = match proof {
        Ok(proof) => Some(proof),
        Err(ProveError::Read(error)) => return Err(error.into()),
        Err(error) => {
            tracing::error!(%error, "the store is damaged");
            None
        }
    };
    Ok(Proved { head, proof })
}

/// VAULT-2: a result that is not known is read back, never assumed.
fn append(store: &dyn Store, append: &Append) -> Result<Said, AskError> {
    let expected = append.expected.as_ref().map(encode);
    let entries: Vec<LogEntry> = append.entries.iter().map(encode).collect();
    let nodes: Vec<(Vec<u8>, Vec<u8>)> = append
        .puts
        .iter()
        .map(|(key, bytes)| (key.as_bytes().to_vec(), bytes.clone()))
        .collect();
    let step = Step {
        expected: expected.as_ref(),
        entries: &entries,
        first: Index::new(append.first.number()),
        nodes: &nodes,
    };
    Ok(match append_or_read_back(store, &step)? {
        Settled::Appended => Said::Appended,
        Settled::Lost { .. } => Said::Moved,
    })
}

pub(crate) fn encode(entry: &Entry) -> LogEntry {
    LogEntry {
        index: Index::new(entry.index().number()),
        bytes: entry.encode().to_vec(),
    }
}

pub(crate) fn decode(stored: &LogEntry) -> Result<Entry, LogError> {
    Entry::decode(&stored.bytes)
}

fn node_key(bytes: &[u8]) -> Option<NodeKey> {
    bytes.try_into().ok().map(NodeKey::from_bytes)
}
