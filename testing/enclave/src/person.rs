//! Somebody who registers a password, mistypes it, and comes back by it.

use alloc::vec::Vec;

use keyhaven_secrets::Entropy;
use keyhaven_vault_core::Answer;
use keyhaven_wire::channel::{Conversation, seal_first};
use keyhaven_wire::message::{
    AccountName, Followup, LeafIndex, Outcome, RegisterAuthority, RegisterFinish, RegistrationId,
    Reply, Request, WrappedKey,
};
use keyhaven_wire::opaque::client::{
    decoy_ke3, login_finish, login_start, register_finish, register_start,
};
use keyhaven_wire::opaque::{Cost, Parties};
use keyhaven_wire::release::Release;

use crate::host::Hosts;

const RIGHT: &[u8] = b"correct horse battery";
const WRONG: &[u8] = b"wrong horse battery";

struct Person {
    hosts: Hosts,
    account: AccountName,
    parties: Parties,
    wrapped: WrappedKey,
}

/// VAULT-1, VAULT-2: a wrong guess costs one of ten, also after the core that counted it is gone, and
/// the right password brings the wrapped key and the ten guesses back.
pub(crate) fn comes_back_by_password(entropy: &mut dyn Entropy) -> Option<bool> {
    let account = AccountName::parse("alice").ok()?;
    let hosts = Hosts::begin(entropy)?;
    let fleet = hosts.leader()?.fleet();
    let mut person = Person {
        parties: Parties {
            fleet,
            leaf: LeafIndex::of(&fleet, &account),
        },
        hosts,
        account,
        wrapped: WrappedKey::new([7; WrappedKey::BYTES]),
    };
    let registered = person.register(entropy)?;
    let (mistyped, none) = person.recover(WRONG, entropy)?;
    person.hosts.lose_the_leader(entropy)?;
    let (recovered, wrapped) = person.recover(RIGHT, entropy)?;
    Some(
        matches!(registered.outcome, Outcome::Registered { .. })
            && matches!(mistyped.outcome, Outcome::WrongPassword)
            && mistyped.standing.guesses_left == 9
            && none.is_none()
            && recovered.standing.guesses_left == 10
            && wrapped == Some(person.wrapped),
    )
}

impl Person {
    fn send(&mut self, request: Vec<u8>, entropy: &mut dyn Entropy) -> Option<Vec<u8>> {
        match self.hosts.exchange(&self.account, request, entropy)? {
            Answer::Sealed(reply) => Some(reply),
            Answer::Unreadable | Answer::Elsewhere | Answer::Range(_) => None,
        }
    }

    fn ask(
        &mut self,
        request: &Request,
        entropy: &mut dyn Entropy,
    ) -> Option<(Reply, Conversation)> {
        let Parties { fleet, leaf } = self.parties;
        let channel = *self.hosts.leader()?.channel_key();
        let (sealed, conversation) = seal_first(&fleet, &channel, &leaf, request, entropy).ok()?;
        let reply = self.send(sealed, entropy)?;
        Some((conversation.open(&reply).ok()?, conversation))
    }

    fn register(&mut self, entropy: &mut dyn Entropy) -> Option<Reply> {
        let cost = Cost::parse(8, 1, 1).ok()?;
        let id = RegistrationId::new([1; RegistrationId::BYTES]);
        let (state, request) = register_start(RIGHT, entropy).ok()?;
        let (reply, conversation) = self.ask(&Request::RegisterStart { id, request }, entropy)?;
        let Outcome::RegisterStarted { response, ticket } = reply.outcome else {
            return None;
        };
        let registered =
            register_finish(&state, RIGHT, &response, &cost, &self.parties, entropy).ok()?;
        let finish = Followup::RegisterFinish(RegisterFinish {
            upload: registered.upload,
            wrapped: self.wrapped,
            cost,
            device: None,
            authority: RegisterAuthority::First,
        });
        let (sealed, awaiting) = conversation.seal_second(&ticket, &finish, entropy).ok()?;
        awaiting.open(&self.send(sealed, entropy)?).ok()
    }

    /// The last reply, and the wrapped key if that has it.
    fn recover(
        &mut self,
        password: &[u8],
        entropy: &mut dyn Entropy,
    ) -> Option<(Reply, Option<WrappedKey>)> {
        let (login, ke1) = login_start(password, entropy).ok()?;
        let start = Request::RecoverStart { ke1, device: None };
        let (reply, conversation) = self.ask(&start, entropy)?;
        let Outcome::RecoverStarted {
            ke2, cost, ticket, ..
        } = reply.outcome
        else {
            return None;
        };
        let session = login_finish(&login, password, &ke2, &cost, &self.parties, entropy).ok();
        let ke3 = session
            .as_ref()
            .map_or_else(|| decoy_ke3(entropy), |session| session.ke3);
        let finish = Followup::RecoverFinish { ke3 };
        let (sealed, awaiting) = conversation.seal_second(&ticket, &finish, entropy).ok()?;
        let reply = awaiting.open(&self.send(sealed, entropy)?).ok()?;
        let wrapped = match (&reply.outcome, session) {
            (Outcome::Recovered(released), Some(session)) => {
                let release = Release::open(released, &session.session, &self.parties).ok()?;
                Some(release.wrapped)
            }
            _ => None,
        };
        Some((reply, wrapped))
    }
}
