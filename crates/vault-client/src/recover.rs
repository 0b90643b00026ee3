//! Getting the backup key back with the password.

use keyhaven_secrets::{BackupKey, Entropy, Password};
use keyhaven_wire::device::{DeviceSecret, Statement};
use keyhaven_wire::message::{
    Denial, Followup, Outcome, RecordState, Reply, Request, SessionProof, Standing,
};
use keyhaven_wire::opaque::client::{self, LoggedIn, LoginState};
use keyhaven_wire::opaque::{Cost, Ke2, OpaqueError};
use keyhaven_wire::release::Release;

use crate::denial;
use crate::error::VaultError;
use crate::guess::Seed;
use crate::journal::{Journal, Slot};
use crate::transport::Transport;
use crate::vault::{Vault, encode};
use crate::wrap::{self, Belongs};

/// What the right password brings back.
#[derive(Debug)]
pub struct Recovered {
    /// The backup key.
    pub key: BackupKey,
    /// Proof of the password, good for changes of the record until the next password is proven.
    /// Absent when another device proved the password at the same moment: recover again then.
    pub session: Option<Session>,
    /// How the account stands, with what only the owner is told.
    pub standing: Standing,
}

/// A session that has proven the password.
#[derive(Debug, Clone)]
pub struct Session {
    pub(crate) proof: SessionProof,
}

impl<T: Transport> Vault<T> {
    /// Asks the vault for the backup key. Spends one guess, which the right password gives back.
    /// With a listed device's key the guess is marked as the owner's: the last three need it.
    ///
    /// When the connection breaks or the process dies at any point, calling it again with the same
    /// password and journal is the *same* guess. A wrong password typed wrong in the same way again
    /// is the same guess too.
    ///
    /// # Errors
    ///
    /// [`VaultError::WrongPassword`] with the guesses left; [`VaultError::Exhausted`] when the
    /// record is destroyed; and what can go wrong on the way.
    pub fn recover(
        &self,
        journal: &mut dyn Journal,
        password: &Password,
        device: Option<&DeviceSecret>,
        entropy: &mut dyn Entropy,
    ) -> Result<Recovered, VaultError> {
        let parties = &self.parties;
        // VAULT-1: what makes the guess its own is on disk before the guess is sent.
        let seed = Seed::resume(journal, parties, entropy)?;
        let (state, ke1) =
            client::login_start(password.expose_bytes(), &mut seed.of(password, parties)).map_err(
                |_| VaultError::Misbehaved {
                    what: "no KE1 from this password",
                },
            )?;
        let device = match device {
            Some(secret) => {
                let statement = Statement::Recover { ke1: &ke1 };
                Some(secret.sign(&parties.leaf, &statement).map_err(encode)?)
            }
            None => None,
        };
        let (reply, conversation) = self.first(&Request::RecoverStart { ke1, device }, entropy)?;
        let Reply { outcome, standing } = reply;
        // This very guess was finished before, with the same wrong password.
        if outcome == Outcome::WrongPassword {
            return Err(wrong(&standing));
        }
        let Outcome::RecoverStarted {
            ke2, cost, ticket, ..
        } = outcome
        else {
            return Err(refused(journal, &outcome, &standing, "no KE2"));
        };
        let verdict = self.check(&state, password, &ke2, &cost, entropy);
        // Whatever the verdict, a second message goes out, so that the host cannot tell a right
        // password from a wrong one; after a wrong one it is random. Without a verdict (no memory to
        // stretch the password, a vault that breaks its protocol) none is sent: the guess stays
        // open, and the same password can finish it.
        let ke3 = match &verdict {
            Ok(login) => login.ke3,
            Err(VaultError::WrongPassword { .. }) => client::decoy_ke3(entropy),
            Err(other) => return Err(other.clone()),
        };
        let answer = self.second(
            &conversation,
            &ticket,
            &Followup::RecoverFinish { ke3 },
            entropy,
        );
        match (verdict, answer) {
            (Ok(login), answer) => self.released(journal, &login, answer?),
            // The guess was wrong whether or not the vault has heard that it was.
            (Err(_), Ok(reply)) => Err(wrong(&reply.standing)),
            (Err(_), Err(_)) => Err(wrong(&standing)),
        }
    }

    fn check(
        &self,
        state: &LoginState,
        password: &Password,
        ke2: &Ke2,
        cost: &Cost,
        entropy: &mut dyn Entropy,
    ) -> Result<LoggedIn, VaultError> {
        if !cost.is_at_least(&self.policy.cost_floor) {
            return Err(VaultError::CostBelowFloor { cost: *cost });
        }
        let password = password.expose_bytes();
        client::login_finish(state, password, ke2, cost, &self.parties, entropy).map_err(|error| {
            if error == OpaqueError::WrongPassword {
                VaultError::WrongPassword { left: 0 }
            } else if error == OpaqueError::Stretching {
                VaultError::Stretching
            } else {
                VaultError::Misbehaved {
                    what: "KE2 is not valid",
                }
            }
        })
    }

    fn released(
        &self,
        journal: &mut dyn Journal,
        login: &LoggedIn,
        reply: Reply,
    ) -> Result<Recovered, VaultError> {
        let Reply { outcome, standing } = reply;
        let Outcome::Recovered(released) = outcome else {
            return Err(refused(
                journal,
                &outcome,
                &standing,
                "a right password was called wrong",
            ));
        };
        let release = Release::open(&released, &login.session, &self.parties).map_err(|_| {
            VaultError::Misbehaved {
                what: "the release does not open",
            }
        })?;
        let belongs = Belongs {
            parties: self.parties,
            generation: standing.generation,
        };
        let key = wrap::open(&release.wrapped, &login.export, &belongs)
            .map_err(|_| VaultError::SealedKeyDamaged)?;
        // The guess is over. A seed left behind would do no harm, so its removal may fail.
        let _ = journal.clear(Slot::Guess);
        let session = release.proof.map(|proof| Session { proof });
        Ok(Recovered {
            key,
            session,
            standing,
        })
    }
}

fn wrong(standing: &Standing) -> VaultError {
    match standing.state {
        RecordState::Destroyed => VaultError::Exhausted,
        RecordState::Live | RecordState::Vacant | RecordState::Deleted => {
            VaultError::WrongPassword {
                left: standing.guesses_left,
            }
        }
    }
}

fn refused(
    journal: &mut dyn Journal,
    outcome: &Outcome,
    standing: &Standing,
    what: &'static str,
) -> VaultError {
    let overtaken = [Denial::Stale, Denial::UnknownTicket].map(Outcome::Denied);
    let error = if overtaken.contains(outcome) {
        // Something else has moved the record on since this guess was begun.
        VaultError::Overtaken
    } else {
        denial::instead(outcome, standing, what)
    };
    let over = matches!(
        error,
        VaultError::Exhausted | VaultError::NoRecord { .. } | VaultError::Overtaken
    );
    if over {
        // There is nothing that this seed could go on with, so its removal may fail.
        let _ = journal.clear(Slot::Guess);
    }
    error
}
