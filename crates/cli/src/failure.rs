//! How a command fails: what happened, whether trying again helps, and the exit code.

use std::fmt;
use std::process::ExitCode;

use keyhaven_secrets::Remedy;

use crate::interrupt::INTERRUPTED;

/// A command's failure.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) cause: anyhow::Error,
    pub(crate) remedy: Remedy,
}

/// Whether the person stopped it.
fn is_interrupt(cause: &anyhow::Error) -> bool {
    let backup = cause.downcast_ref::<keyhaven::BackupError>();
    let restore = cause.downcast_ref::<keyhaven::RestoreError>();
    matches!(backup, Some(keyhaven::BackupError::Cancelled))
        || matches!(restore, Some(keyhaven::RestoreError::Cancelled))
}

impl Failure {
    /// Something that the person must decide or give.
    pub(crate) fn ask(message: impl fmt::Display + fmt::Debug + Send + Sync + 'static) -> Self {
        Self {
            cause: anyhow::Error::msg(message),
            remedy: Remedy::AskUser,
        }
    }

    pub(crate) fn exit(&self) -> ExitCode {
        if is_interrupt(&self.cause) {
            return ExitCode::from(INTERRUPTED);
        }
        ExitCode::from(code(self.remedy))
    }

    /// What helps, in words.
    pub(crate) fn advice(&self) -> &'static str {
        match self.remedy {
            Remedy::RetryLater => "Trying again later helps.",
            Remedy::AskUser => "Trying the same again does not help; this needs you.",
            Remedy::Stop => "Trying again does not help.",
        }
    }

    /// One word for programs.
    pub(crate) fn remedy_word(&self) -> &'static str {
        word(self.remedy)
    }
}

/// The exit code by which a program learns what helps.
pub(crate) fn code(remedy: Remedy) -> u8 {
    match remedy {
        Remedy::Stop => 1,
        Remedy::RetryLater => 3,
        Remedy::AskUser => 4,
    }
}

/// What helps, in one word for programs.
pub(crate) fn word(remedy: Remedy) -> &'static str {
    match remedy {
        Remedy::RetryLater => "retry-later",
        Remedy::AskUser => "ask-user",
        Remedy::Stop => "stop",
    }
}

impl From<anyhow::Error> for Failure {
    fn from(cause: anyhow::Error) -> Self {
        Self {
            cause,
            remedy: Remedy::AskUser,
        }
    }
}

macro_rules! failures {
    ($($error:ty),* $(,)?) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                let remedy = error.remedy();
                Self { cause: error.into(), remedy }
            }
        }
    )*};
}

failures!(
    keyhaven::BackupError,
    keyhaven::OpenError,
    keyhaven::PlaceError,
    keyhaven::ProtectorError,
    keyhaven::RestoreError,
    keyhaven::SetupError,
    keyhaven::home::HomeError,
    keyhaven::store::CredentialsError,
    keyhaven_secrets::PasswordError,
    keyhaven::recovery::CardError,
);

/// What a command ends with.
pub(crate) type Outcome = Result<ExitCode, Failure>;
