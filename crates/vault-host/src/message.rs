//! What a host is told, and what it wants done.

use std::sync::Arc;

use keyhaven_vault_core::{
    Call, Capture, Entry, Index, Mac, Member, Memory, MultiProof, Range, RangeAnswer, RangeError,
    RangeStep, Report, Term, Touch,
};
use keyhaven_wire::message::{AccountName, HostTime};

use crate::record::{Puts, Record};

/// A host of the group, as the shell addresses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub u16);

/// Which question to store or disk an answer is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskId(pub(crate) u64);

/// Something has happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Some time has passed: as much as a message and a flush usually take, a few times over.
    Tick,
    /// Another host has sent something.
    Message {
        /// Which one.
        from: HostId,
        /// What.
        message: Message,
    },
    /// Store or disk have answered.
    Said {
        /// Which question.
        id: AskId,
        /// What they say.
        said: Said,
    },
    /// Requests, for a host that [wants](crate::Host::wants_batch) them: 1 to
    /// [`BATCH_MAX`](keyhaven_vault_core::BATCH_MAX).
    Batch {
        /// The requests.
        touches: Vec<Touch>,
        /// What time it is.
        now: HostTime,
    },
    /// The operator moves a range of accounts between groups, step by step, for a host that
    /// [wants](crate::Host::wants_batch) work. It has one answer.
    ///
    /// Before a range is taken, what the giving group's store holds of it
    /// ([`Range::covers`]) is copied to this group's, and stays there until a backup of this
    /// group's store has it: no tail brings it back.
    Range(RangeStep),
    /// The operator puts one core in another's place. A host that does not lead, or is busy, does not
    /// do it: look at the membership, and ask again.
    Replace {
        /// The core to go.
        go: Member,
        /// The core to come.
        come: Member,
    },
}

/// What hosts send each other. Losing, repeating or delaying one costs time only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A core calls for reports.
    Call(Call),
    /// A core's report to a call.
    Report(Box<Report>),
    /// A core has promised itself to this newer term.
    Newer(Term),
    /// An entry to be captured, with what leads to it.
    Record(Arc<Record>),
    /// A core's capture.
    Captured(Capture),
    /// A leader is there.
    Alive(Term),
    /// Who has the record that ends with this entry?
    Need(Mac),
    /// This one: or none here.
    Tail {
        /// The entry that was asked for.
        last: Mac,
        /// The record.
        record: Option<Arc<Record>>,
    },
    /// A core that forgot asks to be taken in under its new name.
    Admit {
        /// The name that it had.
        go: Member,
        /// The name that it has.
        come: Member,
    },
}

/// Something to be done. In order; see the crate's own words.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Flush the core's memory to the disk.
    KeepMemory(Box<Memory>),
    /// Flush a record to the disk's tail.
    KeepTail(Arc<Record>),
    /// Send a message to a host.
    Send {
        /// Which one.
        to: HostId,
        /// What.
        message: Message,
    },
    /// Send a host the record of the own tail that ends with this entry, or that there is none.
    SendTail {
        /// Which host.
        to: HostId,
        /// The entry.
        last: Mac,
    },
    /// Ask the store or the disk.
    Ask {
        /// For the answer.
        id: AskId,
        /// What.
        ask: Arc<Ask>,
    },
    /// What became of each request of the batch, in order.
    Answer(Vec<Answered>),
    /// Tell the operator.
    Notice(Notice),
}

/// A question to the store, or to the own tail.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Where the store stands, in one snapshot: see [`Looked`].
    Look {
        /// The entry that the leader builds on.
        base: Index,
        /// Whether the nodes are wanted.
        nodes: bool,
    },
    /// A proof, in one snapshot.
    Prove(Prove),
    /// Append, if the newest entry is still the expected one. A result that is not known is read
    /// back.
    Append(Box<Append>),
    /// The record of the own tail that ends with this entry.
    Tail(Mac),
}

/// What a proof is to be for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prove {
    /// The records of these accounts.
    Accounts(Vec<AccountName>),
    /// Whose this range is.
    Range(Range),
}

/// An append: all of it or nothing.
#[derive(Clone, Debug)]
pub struct Append {
    /// The newest entry; none in a store that is empty.
    pub expected: Option<Entry>,
    /// The entries, at least one.
    pub entries: Vec<Entry>,
    /// The oldest entry that was not known to be committed when the last of these was made.
    pub first: Index,
    /// What they changed.
    pub puts: Puts,
}

/// An answer to an [`Ask`].
#[derive(Clone, Debug)]
pub enum Said {
    /// To a look.
    Looked(Box<Looked>),
    /// To a wish for a proof.
    Proved(Box<Proved>),
    /// The append stands.
    Appended,
    /// The append does not stand and never will: the newest entry is another.
    Moved,
    /// To a wish for a record.
    Tail(Option<Arc<Record>>),
    /// It cannot be said now. It will be asked again.
    Trouble,
}

/// Where a store stands.
#[derive(Clone, Debug)]
pub struct Looked {
    /// The newest entry; none when the store is empty.
    pub head: Option<Entry>,
    /// The kept entries, in order: from the `first` of the base's, or from the base on if that is not
    /// known or far before it; or, where the log no longer reaches back so far, from the oldest.
    pub rows: Vec<Entry>,
    /// Whether there are more than these.
    pub more: bool,
    /// The nodes that these entries changed, as they are after the newest.
    pub puts: Puts,
}

/// What a store proves.
#[derive(Clone, Debug)]
pub struct Proved {
    /// The newest entry of the snapshot.
    pub head: Option<Entry>,
    /// The proof; none when the store is damaged on the way.
    pub proof: Option<MultiProof>,
}

/// What became of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// The sealed reply, released.
    Sealed(Vec<u8>),
    /// The core could not open it: not sealed to this fleet or account, or changed on the way.
    Unreadable,
    /// The account is in a range of another group.
    Elsewhere,
    /// A step of a range was taken.
    Range(RangeAnswer),
    /// A step of a range cannot be taken, and nothing changed.
    Refused(RangeError),
    /// What the store holds there is not what the core's root says.
    Damaged,
    /// It may have been executed, and its answer is gone: whoever asked sends the same bytes again.
    Lost,
}

/// Something that the operator should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The store is not where the cores say, and no host that was asked has a tail that leads there.
    Gone {
        /// Where the store stands; none when it is empty.
        store: Option<Index>,
        /// Where the cores stand.
        cores: Index,
    },
    /// The store is where it should be again.
    Mended,
    /// Two entries of one place were made: a core's memory was copied or put back.
    Forked,
}
