//! How an account stands: what a person is told with every reply.

use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use super::ids::{AttemptNumber, ChangeNumber, DEVICES_MAX, DeviceKey, Generation, HostTime, Line};
use super::request::Freshness;

/// Attempts that are remembered one by one; older ones count in the totals only.
pub const RING_MAX: usize = 16;

/// How an account stands.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Standing {
    /// Whether there is a record.
    #[n(0)]
    pub state: RecordState,
    /// Guesses left in a row.
    #[n(1)]
    pub guesses_left: u8,
    /// The registration's number.
    #[n(2)]
    pub generation: Generation,
    /// The line's number: how often somebody began, fresh starts included.
    #[n(3)]
    pub line: Line,
    /// The record's change number; the next change carries one more.
    #[n(4)]
    pub change: ChangeNumber,
    /// Guesses that were not proven right, since the cap was last lifted.
    #[n(5)]
    pub wrong_since_lift: u32,
    /// How many of these the lifetime cap allows.
    #[n(6)]
    pub cap: u32,
    /// Exact counts over the account's whole life.
    #[n(7)]
    pub totals: Totals,
    /// The last attempts, oldest first, at most [`RING_MAX`].
    #[n(8)]
    pub attempts: Vec<AttemptSeen>,
    /// When the wait for the last guesses is over, if one was begun.
    #[n(9)]
    pub last_guesses_at: Option<HostTime>,
    /// When the wait for a fresh start is over, if one was begun.
    #[n(10)]
    pub fresh_start_at: Option<HostTime>,
    /// What only the owner's devices and proven sessions are told.
    #[n(11)]
    pub owner: Option<Owner>,
}

/// Whether there is a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum RecordState {
    /// Nothing was ever registered.
    #[n(0)]
    Vacant,
    /// A password opens it.
    #[n(1)]
    Live,
    /// The guesses were spent: what it held is gone.
    #[n(2)]
    Destroyed,
    /// The owner deleted it: a tombstone.
    #[n(3)]
    Deleted,
}

/// Exact counts of guesses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Totals {
    /// All that were answered.
    #[n(0)]
    pub answered: u64,
    /// Those that were proven right.
    #[n(1)]
    pub right: u64,
    /// Those that were ended as wrong. The rest was never finished.
    #[n(2)]
    pub wrong: u64,
}

/// One attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AttemptSeen {
    /// Its number.
    #[n(0)]
    pub number: AttemptNumber,
    /// When, as the host says.
    #[n(1)]
    pub at: HostTime,
    /// What came of it.
    #[n(2)]
    pub verdict: Verdict,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Verdict {
    /// No second message came.
    #[n(0)]
    Unfinished,
    /// The password was right.
    #[n(1)]
    Right,
    /// The password was wrong.
    #[n(2)]
    Wrong,
}

/// What only the owner is told.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Owner {
    /// The listed devices, at most [`DEVICES_MAX`].
    #[n(0)]
    pub devices: Vec<DeviceKey>,
    /// The newest backup that was noted.
    #[n(1)]
    pub freshness: Option<Freshness>,
    /// Who authorised the last change. A device raises an alarm for one that it does not know.
    #[n(2)]
    pub changed_by: ChangedBy,
}

/// Who authorised the last change of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ChangedBy {
    /// Nobody yet.
    #[n(0)]
    Nobody,
    /// The account's token alone: a first registration, or a fresh start after its wait.
    #[n(1)]
    Token,
    /// A listed device.
    #[n(2)]
    Device(#[n(0)] DeviceKey),
    /// A session that proved the password.
    #[n(3)]
    Password,
}

const _: () = assert!(
    DEVICES_MAX == 8 && RING_MAX == 16,
    "lists fit the fixed bodies"
);
