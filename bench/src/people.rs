//! The accounts that have a password: they register once, and recover in every round.

use std::time::Duration;

use anyhow::{Context as _, bail};
use keyhaven_secrets::Entropy;
use keyhaven_simulator::hands::cheap;
use keyhaven_vault_core::Answer;
use keyhaven_wire::channel::{Awaiting, Conversation, seal_first};
use keyhaven_wire::message::{
    AccountName, Followup, LeafIndex, Outcome, RegisterAuthority, RegisterFinish, RegistrationId,
    Request, WrappedKey,
};
use keyhaven_wire::opaque::Parties;
use keyhaven_wire::opaque::client::{
    LoggedIn, LoginState, RegistrationState, login_finish, login_start, register_finish,
    register_start,
};
use keyhaven_wire::release::Release;

use crate::vault::{Took, Vault};

const PASSWORD: &[u8] = b"a password of somebody";

/// The wrapped key of an account. The core does not look into it.
fn wrapped(parties: &Parties) -> WrappedKey {
    let mut bytes = [0; WrappedKey::BYTES];
    for (byte, leaf) in bytes.iter_mut().zip(parties.leaf.as_bytes().iter().cycle()) {
        *byte = *leaf;
    }
    WrappedKey::new(bytes)
}

/// What one side of a vault takes for the recoveries of a round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recoveries {
    /// The batch of KE1s.
    pub(crate) first: Took,
    /// The batch of KE3s.
    pub(crate) second: Took,
}

impl Recoveries {
    pub(crate) fn core(&self) -> Duration {
        self.first.core.saturating_add(self.second.core)
    }

    pub(crate) fn hashing(&self) -> Duration {
        self.first.hashing.saturating_add(self.second.hashing)
    }
}

/// The name of an account.
pub(crate) fn name(number: u32) -> anyhow::Result<AccountName> {
    AccountName::parse(&format!("account-{number:08}")).context("a name")
}

/// Those of the accounts that recover: spread evenly.
pub(crate) fn names(accounts: u32, people: u32) -> anyhow::Result<Vec<AccountName>> {
    let step = accounts.checked_div(people).context("no people")?;
    (0..people)
        .map(|person| name(person.saturating_mul(step)))
        .collect()
}

/// Registers them.
pub(crate) fn register(
    vault: &mut Vault,
    accounts: &[AccountName],
    batch: usize,
    entropy: &mut dyn Entropy,
) -> anyhow::Result<()> {
    for accounts in accounts.chunks(batch) {
        let mut begun: Vec<(RegistrationState, Conversation)> = Vec::new();
        let mut requests = Vec::new();
        for account in accounts {
            let (state, request) = register_start(PASSWORD, entropy)?;
            let id = RegistrationId::new(keyhaven_secrets::random(entropy));
            let request = Request::RegisterStart { id, request };
            let (bytes, conversation) = seal(vault, account, &request, entropy)?;
            begun.push((state, conversation));
            requests.push((account.clone(), bytes));
        }
        let (answers, _) = vault.carry_out(&requests, entropy)?;
        let mut awaited: Vec<Awaiting> = Vec::new();
        requests.clear();
        for ((account, (state, conversation)), answer) in accounts.iter().zip(&begun).zip(&answers)
        {
            let Outcome::RegisterStarted { response, ticket } =
                conversation.open(sealed(answer)?)?.outcome
            else {
                bail!("a registration was not begun");
            };
            let parties = parties(vault, account);
            let device = register_finish(state, PASSWORD, &response, &cheap(), &parties, entropy)?;
            let finish = Followup::RegisterFinish(RegisterFinish {
                upload: device.upload,
                wrapped: wrapped(&parties),
                cost: cheap(),
                device: None,
                authority: RegisterAuthority::First,
            });
            let (bytes, awaiting) = conversation.seal_second(&ticket, &finish, entropy)?;
            awaited.push(awaiting);
            requests.push((account.clone(), bytes));
        }
        let (answers, _) = vault.carry_out(&requests, entropy)?;
        for (awaiting, answer) in awaited.iter().zip(&answers) {
            let outcome = awaiting.open(sealed(answer)?)?.outcome;
            if !matches!(outcome, Outcome::Registered { .. }) {
                bail!("a registration was not armed: {outcome:?}");
            }
        }
    }
    Ok(())
}

/// A whole recovery of each, in two batches: the wrapped key must come back.
pub(crate) fn recover(
    vault: &mut Vault,
    accounts: &[AccountName],
    entropy: &mut dyn Entropy,
) -> anyhow::Result<Recoveries> {
    let mut begun: Vec<(LoginState, Conversation)> = Vec::new();
    let mut requests = Vec::new();
    for account in accounts {
        let (state, ke1) = login_start(PASSWORD, entropy)?;
        let request = Request::RecoverStart { ke1, device: None };
        let (bytes, conversation) = seal(vault, account, &request, entropy)?;
        begun.push((state, conversation));
        requests.push((account.clone(), bytes));
    }
    let (answers, first) = vault.carry_out(&requests, entropy)?;
    let mut awaited: Vec<(Awaiting, LoggedIn)> = Vec::new();
    requests.clear();
    for ((account, (state, conversation)), answer) in accounts.iter().zip(&begun).zip(&answers) {
        let reply = conversation.open(sealed(answer)?)?;
        let Outcome::RecoverStarted {
            ke2, cost, ticket, ..
        } = reply.outcome
        else {
            bail!("a guess was not answered: {:?}", reply.outcome);
        };
        let parties = parties(vault, account);
        let device = login_finish(state, PASSWORD, &ke2, &cost, &parties, entropy)?;
        let followup = Followup::RecoverFinish { ke3: device.ke3 };
        let (bytes, awaiting) = conversation.seal_second(&ticket, &followup, entropy)?;
        awaited.push((awaiting, device));
        requests.push((account.clone(), bytes));
    }
    let (answers, second) = vault.carry_out(&requests, entropy)?;
    for ((account, (awaiting, device)), answer) in accounts.iter().zip(&awaited).zip(&answers) {
        let Outcome::Recovered(released) = awaiting.open(sealed(answer)?)?.outcome else {
            bail!("a right password opened nothing");
        };
        let parties = parties(vault, account);
        let release = Release::open(&released, &device.session, &parties)?;
        if release.wrapped != wrapped(&parties) {
            bail!("another key came back");
        }
    }
    Ok(Recoveries { first, second })
}

fn parties(vault: &Vault, account: &AccountName) -> Parties {
    let fleet = vault.core().fleet();
    let leaf = LeafIndex::of(&fleet, account);
    Parties { fleet, leaf }
}

fn seal(
    vault: &Vault,
    account: &AccountName,
    request: &Request,
    entropy: &mut dyn Entropy,
) -> anyhow::Result<(Vec<u8>, Conversation)> {
    let Parties { fleet, leaf } = parties(vault, account);
    let channel = vault.core().channel_key();
    Ok(seal_first(&fleet, channel, &leaf, request, entropy)?)
}

fn sealed(answer: &Answer) -> anyhow::Result<&[u8]> {
    match answer {
        Answer::Sealed(reply) => Ok(reply),
        Answer::Unreadable => bail!("the core could not open a request"),
        Answer::Elsewhere | Answer::Range(_) => bail!("a group of all accounts answers for each"),
    }
}
