//! A person with an account, a device and a password, speaking the protocol by hand.

use keyhaven_secrets::BackupKey;
use keyhaven_vault_client::wrap::{self, Belongs};
use keyhaven_vault_core::Answer;
use keyhaven_wire::channel::{Awaiting, Conversation, seal_first};
use keyhaven_wire::device::{DeviceSecret, Statement};
use keyhaven_wire::message::{
    AccountName, Action, AttemptNumber, Authority, Change, ChangeNumber, DeviceSigned, Followup,
    LeafIndex, Outcome, PasswordClaim, RegisterAuthority, RegisterFinish, RegistrationId, Reply,
    Request, SessionProof, Signature, Standing,
};
use keyhaven_wire::opaque::client::{
    LoggedIn, LoginState, decoy_ke3, login_finish, login_start, register_finish, register_start,
};
use keyhaven_wire::opaque::{Cost, Ke1, Ke2, Parties};
use keyhaven_wire::release::Release;

use super::VaultWorld;

/// A stretching cost that a test can bear.
#[must_use]
#[expect(clippy::expect_used, reason = "a constant within bounds")]
pub fn cheap() -> Cost {
    Cost::parse(8, 1, 1).expect("within bounds")
}

/// Somebody with an account at a vault.
#[derive(Debug)]
pub struct Person {
    /// The account.
    pub account: AccountName,
    /// The device that this person holds.
    pub device: DeviceSecret,
    /// The backup key that a recovery must bring back.
    pub key: BackupKey,
    parties: Parties,
}

/// A registration after step 1: step 2 is sealed and can be sent, held back, or sent again.
#[derive(Debug)]
pub struct Registration {
    /// Step 2, sealed.
    pub step2: Vec<u8>,
    awaiting: Awaiting,
}

/// An attempt to recover.
#[derive(Debug)]
pub struct Attempt {
    /// KE1's request, sealed.
    pub step1: Vec<u8>,
    /// KE1 itself.
    pub ke1: Ke1,
    conversation: Conversation,
    login: LoginState,
    password: String,
}

/// An attempt after KE2: step 2 is sealed and can be sent, held back, or sent again.
#[derive(Debug)]
pub struct Answered {
    /// KE2, to be compared.
    pub ke2: Ke2,
    /// The guess's number.
    pub number: AttemptNumber,
    /// KE3's request, sealed.
    pub step2: Vec<u8>,
    awaiting: Awaiting,
    session: Option<LoggedIn>,
    parties: Parties,
}

/// What a finished recovery yields.
#[derive(Debug)]
pub struct Recovered {
    /// The backup key.
    pub key: BackupKey,
    /// The session's proof, if this attempt refilled the budget.
    pub proof: Option<SessionProof>,
    /// How the account stands.
    pub standing: Standing,
}

#[expect(
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests: what does not work out fails the test"
)]
impl Person {
    /// Somebody new to a vault.
    pub fn new(world: &mut VaultWorld, name: &str) -> Self {
        let account = AccountName::parse(name).expect("a name");
        let fleet = world.core().fleet();
        let leaf = LeafIndex::of(&fleet, &account);
        Self {
            device: DeviceSecret::generate(world.entropy()),
            key: BackupKey::generate(world.entropy()),
            parties: Parties { fleet, leaf },
            account,
        }
    }

    /// Fleet and leaf.
    #[must_use]
    pub const fn parties(&self) -> &Parties {
        &self.parties
    }

    /// Seals a first request.
    pub fn seal(&self, world: &mut VaultWorld, request: &Request) -> (Vec<u8>, Conversation) {
        let channel = *world.core().channel_key();
        let Parties { fleet, leaf } = self.parties;
        seal_first(&fleet, &channel, &leaf, request, world.entropy()).expect("sealing")
    }

    /// Asks, and opens the reply.
    pub fn ask(&self, world: &mut VaultWorld, request: &Request) -> Reply {
        let (bytes, conversation) = self.seal(world, request);
        let reply = self.send(world, &bytes);
        conversation.open(&reply).expect("a reply to this request")
    }

    /// Sends sealed bytes, and takes the sealed reply.
    pub fn send(&self, world: &mut VaultWorld, bytes: &[u8]) -> Vec<u8> {
        match world.exchange(&self.account, bytes) {
            Answer::Sealed(reply) => reply,
            other @ (Answer::Unreadable | Answer::Elsewhere | Answer::Range(_)) => {
                panic!("the request has no reply: {other:?}")
            }
        }
    }

    /// How the account stands, as its token sees it.
    pub fn standing(&self, world: &mut VaultWorld) -> Standing {
        self.ask(world, &Request::Status { device: None }).standing
    }

    /// How the account stands, as its device sees it.
    pub fn owner_standing(&self, world: &mut VaultWorld) -> Reply {
        let leaf = self.parties.leaf;
        let signed = self
            .device
            .sign_status(&leaf, world.entropy())
            .expect("signing");
        self.ask(
            world,
            &Request::Status {
                device: Some(signed),
            },
        )
    }

    /// Step 1 of a registration, and step 2 sealed. `authority` signs what is to be armed.
    pub fn prepare(
        &self,
        world: &mut VaultWorld,
        password: &str,
        id: u8,
        authority: impl Fn(&Self, &RegistrationId, &RegisterFinish) -> RegisterAuthority,
    ) -> Registration {
        let id = RegistrationId::new([id; 16]);
        let (state, request) =
            register_start(password.as_bytes(), world.entropy()).expect("a password");
        let (bytes, conversation) = self.seal(world, &Request::RegisterStart { id, request });
        let reply = conversation
            .open(&self.send(world, &bytes))
            .expect("a reply");
        let Outcome::RegisterStarted { response, ticket } = reply.outcome else {
            panic!("step 1 was refused: {:?}", reply.outcome);
        };
        let registered = register_finish(
            &state,
            password.as_bytes(),
            &response,
            &cheap(),
            &self.parties,
            world.entropy(),
        )
        .expect("an honest server");
        let belongs = Belongs {
            parties: self.parties,
            generation: reply.standing.generation.next().expect("a generation"),
        };
        let wrapped = wrap::seal(&self.key, &registered.export, &belongs, world.entropy());
        let mut finish = RegisterFinish {
            upload: registered.upload,
            wrapped,
            cost: cheap(),
            device: Some(self.device.public()),
            authority: RegisterAuthority::First,
        };
        finish.authority = authority(self, &id, &finish);
        let (step2, awaiting) = conversation
            .seal_second(&ticket, &Followup::RegisterFinish(finish), world.entropy())
            .expect("sealing");
        Registration { step2, awaiting }
    }

    /// Step 2 of a registration.
    pub fn arm(&self, world: &mut VaultWorld, registration: &Registration) -> Reply {
        registration.open(&self.send(world, &registration.step2))
    }

    /// A first registration, all the way.
    pub fn register(&self, world: &mut VaultWorld, password: &str) -> Reply {
        let registration = self.prepare(world, password, 1, |_, _, _| RegisterAuthority::First);
        self.arm(world, &registration)
    }

    /// An authority that this person's device signs.
    #[must_use]
    pub fn by_device(
        &self,
        claim: PasswordClaim,
        id: &RegistrationId,
        finish: &RegisterFinish,
    ) -> RegisterAuthority {
        let statement = Statement::Register {
            id,
            password: claim,
            finish,
        };
        RegisterAuthority::Device {
            password: claim,
            signed: self
                .device
                .sign(&self.parties.leaf, &statement)
                .expect("signing"),
        }
    }

    /// Begins an attempt: KE1 is sealed, not sent.
    pub fn try_password(&self, world: &mut VaultWorld, password: &str) -> Attempt {
        self.try_signed(world, password, false)
    }

    /// As [`Person::try_password`], with the device's signature over KE1.
    pub fn try_with_device(&self, world: &mut VaultWorld, password: &str) -> Attempt {
        self.try_signed(world, password, true)
    }

    fn try_signed(&self, world: &mut VaultWorld, password: &str, sign: bool) -> Attempt {
        let (login, ke1) = login_start(password.as_bytes(), world.entropy()).expect("a password");
        let device = sign.then(|| {
            self.device
                .sign(&self.parties.leaf, &Statement::Recover { ke1: &ke1 })
                .expect("signing")
        });
        let (step1, conversation) = self.seal(world, &Request::RecoverStart { ke1, device });
        Attempt {
            step1,
            ke1,
            conversation,
            login,
            password: password.to_owned(),
        }
    }

    /// Sends KE1, and prepares KE3 from the answer; or why it was refused.
    ///
    /// # Errors
    /// The reply, when it is a denial.
    pub fn answer(
        &self,
        world: &mut VaultWorld,
        attempt: &Attempt,
    ) -> Result<Answered, Box<Reply>> {
        let reply = self.send(world, &attempt.step1);
        self.answered(world, attempt, &reply)
    }

    /// Prepares KE3 from a sealed reply to KE1.
    ///
    /// # Errors
    /// The reply, when it is a denial.
    pub fn answered(
        &self,
        world: &mut VaultWorld,
        attempt: &Attempt,
        reply: &[u8],
    ) -> Result<Answered, Box<Reply>> {
        let reply = attempt
            .conversation
            .open(reply)
            .expect("a reply to this request");
        let Outcome::RecoverStarted {
            ke2,
            cost,
            attempt: number,
            ticket,
        } = reply.outcome
        else {
            return Err(Box::new(reply));
        };
        let session = login_finish(
            &attempt.login,
            attempt.password.as_bytes(),
            &ke2,
            &cost,
            &self.parties,
            world.entropy(),
        )
        .ok();
        let ke3 = match &session {
            Some(session) => session.ke3,
            None => decoy_ke3(world.entropy()),
        };
        let (step2, awaiting) = attempt
            .conversation
            .seal_second(&ticket, &Followup::RecoverFinish { ke3 }, world.entropy())
            .expect("sealing");
        Ok(Answered {
            ke2,
            number,
            step2,
            awaiting,
            session,
            parties: self.parties,
        })
    }

    /// A whole recovery.
    ///
    /// # Errors
    /// The reply, when it is not the backup key.
    pub fn recover(&self, world: &mut VaultWorld, password: &str) -> Result<Recovered, Box<Reply>> {
        let attempt = self.try_password(world, password);
        let answered = self.answer(world, &attempt)?;
        answered.open(&self.send(world, &answered.step2))
    }

    /// As [`Person::recover`], with the device's signature over KE1.
    ///
    /// # Errors
    /// The reply, when it is not the backup key.
    pub fn recover_with_device(
        &self,
        world: &mut VaultWorld,
        password: &str,
    ) -> Result<Recovered, Box<Reply>> {
        let attempt = self.try_with_device(world, password);
        let answered = self.answer(world, &attempt)?;
        answered.open(&self.send(world, &answered.step2))
    }

    /// A wrong guess of this person's own device, ended as a client ends it. Nothing is stretched,
    /// so it costs the test no time.
    pub fn guess_wrong(&self, world: &mut VaultWorld) -> Reply {
        let attempt = self.try_with_device(world, "nobody's password");
        let reply = self.send(world, &attempt.step1);
        let reply = attempt.conversation.open(&reply).expect("a reply");
        let Outcome::RecoverStarted { ticket, .. } = reply.outcome else {
            return reply;
        };
        let ke3 = decoy_ke3(world.entropy());
        let (step2, awaiting) = attempt
            .conversation
            .seal_second(&ticket, &Followup::RecoverFinish { ke3 }, world.entropy())
            .expect("sealing");
        awaiting.open(&self.send(world, &step2)).expect("a reply")
    }

    /// A change signed by this person's device, with the next change number.
    pub fn change(&self, world: &mut VaultWorld, action: Action) -> Reply {
        let request = self.sign_change(world, action);
        self.ask(world, &request)
    }

    /// A change signed by this person's device, not sent.
    pub fn sign_change(&self, world: &mut VaultWorld, action: Action) -> Request {
        let change = self.next_change(world, action);
        let signed = self
            .device
            .sign(&self.parties.leaf, &Statement::Change(&change))
            .expect("signing");
        Request::Change {
            change,
            authority: Authority::Device(signed),
        }
    }

    /// A change authorised by a session's proof.
    pub fn change_in_session(
        &self,
        world: &mut VaultWorld,
        proof: SessionProof,
        action: Action,
    ) -> Reply {
        let change = self.next_change(world, action);
        self.ask(
            world,
            &Request::Change {
                change,
                authority: Authority::Session(proof),
            },
        )
    }

    fn next_change(&self, world: &mut VaultWorld, action: Action) -> Change {
        let number = self.standing(world).change.next().expect("a next number");
        Change { number, action }
    }
}

impl Attempt {
    /// From here on the client stretches another password than the one it sent: a confused client.
    pub fn mistake(&mut self, password: &str) {
        self.password = password.to_owned();
    }
}

/// A signature that no key made.
#[must_use]
pub fn forged(device: &DeviceSecret) -> DeviceSigned<()> {
    DeviceSigned {
        key: device.public(),
        signature: Signature::new([1; 64]),
        extra: (),
    }
}

#[expect(clippy::expect_used, reason = "helpers of tests")]
impl Registration {
    /// Opens the reply to step 2.
    #[must_use]
    pub fn open(&self, reply: &[u8]) -> Reply {
        self.awaiting.open(reply).expect("a reply to this request")
    }
}

#[expect(clippy::expect_used, reason = "helpers of tests")]
impl Answered {
    /// Opens the reply to KE3.
    ///
    /// # Errors
    /// The reply, when it is not the backup key.
    pub fn open(&self, reply: &[u8]) -> Result<Recovered, Box<Reply>> {
        let reply = self.awaiting.open(reply).expect("a reply to this request");
        let Outcome::Recovered(released) = reply.outcome else {
            return Err(Box::new(reply));
        };
        let LoggedIn {
            session, export, ..
        } = self
            .session
            .as_ref()
            .expect("only a right password is answered");
        let Release { wrapped, proof } =
            Release::open(&released, session, &self.parties).expect("our session");
        let belongs = Belongs {
            parties: self.parties,
            generation: reply.standing.generation,
        };
        Ok(Recovered {
            key: wrap::open(&wrapped, export, &belongs).expect("our key"),
            proof,
            standing: reply.standing,
        })
    }

    /// Whether the password was right, as the client knows it before it sends KE3.
    #[must_use]
    pub const fn is_right(&self) -> bool {
        self.session.is_some()
    }
}

/// The number of the first change of a record that was registered once.
pub const FIRST_CHANGE: ChangeNumber = ChangeNumber::new(2);
