//! What a person can do about an error.

/// What helps after an error. Every public error enum that a person may meet answers with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing is wrong that time does not mend: the same call may be made again later.
    RetryLater,
    /// A person must change or decide something: type again, free space, choose.
    AskUser,
    /// Trying again cannot help and may harm: stop, and show what happened.
    Stop,
}
