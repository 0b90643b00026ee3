//! The people of a simulation: they make requests, and know what each of them means.
//!
//! Nobody here behaves well or badly. A person makes whatever message could be made with the keys
//! and passwords at hand, and the host delivers it when it likes, as often as it likes, to whom it
//! likes. What a message *should* do is the model's to say.

use std::collections::BTreeMap;

use keyhaven_secrets::Entropy;
use keyhaven_vault_core::{Policy, Range};
use keyhaven_wire::channel::{Awaiting, ChannelPublicKey, Conversation, seal_first_with};
use keyhaven_wire::codec;
use keyhaven_wire::device::{DeviceSecret, Statement};
use keyhaven_wire::message::{
    AccountName, Action, Authority, Change, ChangeNumber, DEVICES_MAX, DeviceKey, DeviceSigned,
    DigestBytes, FleetId, Followup, Freshness, LeafIndex, Outcome, PasswordClaim,
    RegisterAuthority, RegisterFinish, RegistrationId, Reply, Request, SessionProof, Signature,
    StatusNonce, Ticket, Wait, WrappedKey,
};
use keyhaven_wire::opaque::client::{LoggedIn, decoy_ke3};
use keyhaven_wire::opaque::{Parties, RegistrationResponse, RegistrationUpload};
use keyhaven_wire::release::Release;

use crate::chance::Chance;
use crate::hands::{Hands, Login, cheap};
use crate::model::{Arm, By, Expected, Op, Proof, Why};
use crate::swarm::Swarm;

const PASSWORDS: [&str; 3] = ["right one", "right two", "a wrong one"];
/// One more than a record lists.
const DEVICES: usize = DEVICES_MAX + 1;

/// A request that somebody made.
#[derive(Debug)]
pub struct Sent {
    /// Whose record it is about.
    pub account: usize,
    /// The sealed bytes.
    pub bytes: Vec<u8>,
    /// What it means.
    pub op: Op,
    opener: Opener,
}

#[derive(Debug)]
enum Opener {
    Status(Conversation),
    Register(Conversation, Registering),
    Recover(Conversation, Recovering),
    RegisterFinish(Awaiting),
    RecoverFinish(Awaiting, Option<usize>),
}

#[derive(Clone, Debug)]
struct Registering {
    id: u64,
    password: &'static str,
    state: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Recovering {
    password: &'static str,
    state: Vec<u8>,
}

/// A first step that was answered: a second one can be made of it.
#[derive(Debug)]
struct Open {
    account: usize,
    conversation: Conversation,
    ticket: Ticket,
    generation: u64,
    step: OpenStep,
}

#[derive(Debug)]
enum OpenStep {
    Register(Registering, RegistrationResponse),
    Recover {
        attempt: u64,
        ke1: u64,
        login: Option<usize>,
    },
}

/// One account and all that its owner has.
#[derive(Debug)]
struct Account {
    name: AccountName,
    parties: Parties,
    devices: Vec<(DeviceSecret, DeviceKey)>,
    /// The change number that was heard last.
    change: u64,
    sessions: Vec<(SessionProof, Proof)>,
    ids: Vec<u64>,
}

/// Everybody.
#[derive(Debug)]
pub struct People {
    hands: &'static dyn Hands,
    fleet: FleetId,
    channel: ChannelPublicKey,
    accounts: Vec<Account>,
    sent: Vec<Sent>,
    open: Vec<Open>,
    logins: Vec<LoggedIn>,
    wrapped: BTreeMap<WrappedKey, u64>,
    next: u64,
    /// In how many of a hundred cases an owner who could authorise a full budget does.
    helpful: u8,
    /// How often a change lists a device, against the others.
    crowded: u32,
}

/// A reply that was opened.
#[derive(Debug)]
pub struct Heard {
    /// What came of the request.
    pub what: Expected,
    /// The answer to a KE1, as it would be compared with another.
    pub ke2: Option<[u8; 32]>,
    /// The whole reply.
    pub reply: Reply,
}

impl People {
    /// A few people with an account each.
    pub fn new(
        hands: &'static dyn Hands,
        fleet: FleetId,
        channel: ChannelPublicKey,
        swarm: &Swarm,
        entropy: &mut dyn Entropy,
    ) -> Self {
        let accounts = (0..swarm.accounts)
            .map(|number| {
                let name = AccountName::parse(&format!("account {number}")).expect("a name");
                let leaf = LeafIndex::of(&fleet, &name);
                Account {
                    name,
                    parties: Parties { fleet, leaf },
                    devices: (0..DEVICES)
                        .map(|_| DeviceSecret::generate(entropy))
                        .map(|secret| (secret.clone(), hands.device(&secret)))
                        .collect(),
                    change: 0,
                    sessions: Vec::new(),
                    ids: Vec::new(),
                }
            })
            .collect();
        Self {
            hands,
            fleet,
            channel,
            accounts,
            sent: Vec::new(),
            open: Vec::new(),
            logins: Vec::new(),
            wrapped: BTreeMap::new(),
            next: 1,
            helpful: swarm.helpful,
            crowded: swarm.crowded,
        }
    }

    /// How many accounts there are.
    #[must_use]
    pub fn accounts(&self) -> usize {
        self.accounts.len()
    }

    /// An account's name.
    #[must_use]
    pub fn name(&self, account: usize) -> &AccountName {
        &self.accounts[account].name
    }

    /// Where an account's record is.
    #[must_use]
    pub fn leaf(&self, account: usize) -> &LeafIndex {
        &self.accounts[account].parties.leaf
    }

    /// The ranges in which somebody has an account.
    pub fn ranges(&self) -> impl Iterator<Item = Range> {
        let leaves = self.accounts.iter().map(|account| &account.parties.leaf);
        leaves.map(Range::of)
    }

    /// Every request that was ever made.
    #[must_use]
    pub fn sent(&self) -> &[Sent] {
        &self.sent
    }

    /// A request of the newest ones, or, in so many of a hundred cases, of all that were ever made.
    pub fn some_request(&self, replayed: u8, chance: &mut Chance) -> Option<usize> {
        const NEWEST: usize = 6;
        let all = self.sent.len();
        let reach = if chance.percent(replayed) {
            all
        } else {
            NEWEST
        };
        let from = all.saturating_sub(reach);
        (all > 0).then(|| from + chance.below(all - from))
    }

    fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Makes a first request of some kind.
    pub fn ask(&mut self, chance: &mut Chance, policy: &Policy) -> usize {
        let account = chance.below(self.accounts.len());
        match chance.weighted(&[2, 4, 8, self.crowded, 2]) {
            0 => self.ask_status(account, chance),
            1 => self.register(account, chance),
            2 => self.recover(account, chance),
            3 => self.change(account, chance, policy),
            _ => {
                let wait = pick_wait(chance);
                self.first(
                    account,
                    &Request::BeginWait { wait },
                    Op::BeginWait(wait),
                    chance,
                )
            }
        }
    }

    /// Asks how an account stands, as anybody can.
    pub fn status(&mut self, account: usize, chance: &mut Chance) -> usize {
        let request = Request::Status { device: None };
        self.first(account, &request, Op::Status(None), chance)
    }

    fn ask_status(&mut self, account: usize, chance: &mut Chance) -> usize {
        if chance.percent(60) {
            return self.status(account, chance);
        }
        let nonce = StatusNonce::new(keyhaven_secrets::random(chance));
        let signed = self.sign(account, &Statement::Status { nonce: &nonce }, chance);
        let op = Op::Status(Some(signed.key));
        let request = Request::Status {
            device: Some(DeviceSigned {
                key: signed.key,
                signature: signed.signature,
                extra: nonce,
            }),
        };
        self.first(account, &request, op, chance)
    }

    fn register(&mut self, account: usize, chance: &mut Chance) -> usize {
        let again = self.accounts[account].ids.last().copied();
        let id = match again.filter(|_| chance.percent(20)) {
            Some(id) => id,
            None => self.fresh(),
        };
        self.accounts[account].ids.push(id);
        let password = PASSWORDS[chance.below(2)];
        let (state, request) = self.hands.enrol_start(password, chance);
        let request = Request::RegisterStart {
            id: registration_id(id),
            request,
        };
        let (bytes, conversation) = self.seal(account, &request, chance);
        let registering = Registering {
            id,
            password,
            state,
        };
        self.push(
            account,
            bytes,
            Op::RegisterStart,
            Opener::Register(conversation, registering),
        )
    }

    fn recover(&mut self, account: usize, chance: &mut Chance) -> usize {
        let password = PASSWORDS[chance.below(3)];
        let (state, ke1) = self.hands.login_start(password, chance);
        let mut device = match chance.percent(50) {
            true => Some(self.sign(account, &Statement::Recover { ke1: &ke1 }, chance)),
            false => None,
        };
        let mut op = Op::RecoverStart {
            ke1: self.fresh(),
            device: device.map(|signed| signed.key),
        };
        if let Some(signed) = device.as_mut().filter(|_| chance.percent(2)) {
            signed.signature = Signature::new([1; 64]);
            op = Op::Forged;
        }
        let request = Request::RecoverStart { ke1, device };
        let (bytes, conversation) = self.seal(account, &request, chance);
        let recovering = Recovering { password, state };
        self.push(
            account,
            bytes,
            op,
            Opener::Recover(conversation, recovering),
        )
    }

    fn change(&mut self, account: usize, chance: &mut Chance, policy: &Policy) -> usize {
        let fresh = self.fresh();
        let of = &self.accounts[account];
        let listed = |chance: &mut Chance| of.devices[chance.below(DEVICES)].1;
        let action = match chance.weighted(&[self.crowded, 1, 2, 1, 2, 2]) {
            0 => Action::DeviceAdd(listed(chance)),
            1 => Action::DeviceRemove(listed(chance)),
            2 => Action::NoteFreshness(Freshness {
                sequence: fresh,
                digest: DigestBytes::new([7; 32]),
            }),
            3 => Action::Delete,
            4 => Action::CancelWait(pick_wait(chance)),
            _ => Action::LiftCap,
        };
        debug_assert!(policy.cancels < 9, "a policy of a simulation");
        let ahead = u64::from(!chance.percent(15));
        let number = of.change + ahead;
        let change = Change {
            number: ChangeNumber::new(number),
            action: action.clone(),
        };
        let session = chance.recent(&of.sessions).copied();
        let (authority, by) = match session.filter(|_| chance.percent(30)) {
            Some((proof, of)) => (Authority::Session(proof), By::Session(of)),
            None => {
                let signed = self.sign(account, &Statement::Change(&change), chance);
                (Authority::Device(signed), By::Device(signed.key))
            }
        };
        // The same change by the same authority is the same change: signatures are deterministic.
        let bytes = codec::encode(&(&change, &authority)).expect("encoding");
        let op = Op::Change {
            id: *blake3::hash(&bytes).as_bytes(),
            number,
            action,
            by,
        };
        self.first(account, &Request::Change { change, authority }, op, chance)
    }

    /// Makes a second request from a first one that was answered, if any was.
    pub fn follow_up(&mut self, chance: &mut Chance) -> Option<usize> {
        let reach = chance.recent(&self.open)?;
        let at = self
            .open
            .iter()
            .position(|open| std::ptr::eq(open, reach))?;
        match &self.open[at].step {
            OpenStep::Register(..) => Some(self.finish_registration(at, chance)),
            OpenStep::Recover { .. } => Some(self.finish_recovery(at, chance)),
        }
    }

    fn finish_registration(&mut self, at: usize, chance: &mut Chance) -> usize {
        let what = self.fresh();
        let OpenStep::Register(registering, response) = &self.open[at].step else {
            unreachable!("asked for a registration");
        };
        let (registering, response) = (registering.clone(), *response);
        let Open {
            account,
            ticket,
            generation,
            ..
        } = self.open[at];
        let of = &self.accounts[account];
        let enrolled = self.hands.enrol_finish(
            &registering.state,
            registering.password,
            &response,
            &of.parties,
            chance,
        );
        let wrapped = WrappedKey::new(keyhaven_secrets::random(chance));
        let device = chance
            .percent(90)
            .then(|| of.devices[pick_device(chance)].1);
        let mut finish = RegisterFinish {
            upload: enrolled.upload,
            wrapped,
            cost: cheap(),
            device,
            authority: RegisterAuthority::First,
        };
        let by = self.authority(account, registering.id, &mut finish, chance);
        self.wrapped.insert(wrapped, what);
        let arm = Arm {
            id: registering.id,
            what,
            generation,
            device,
            by,
        };
        let (bytes, awaiting) = self.open[at]
            .conversation
            .seal_second(&ticket, &Followup::RegisterFinish(finish), chance)
            .expect("sealing");
        self.push(
            account,
            bytes,
            Op::RegisterFinish(arm),
            Opener::RegisterFinish(awaiting),
        )
    }

    fn authority(
        &self,
        account: usize,
        id: u64,
        finish: &mut RegisterFinish,
        chance: &mut Chance,
    ) -> Why {
        let of = &self.accounts[account];
        let session = chance.recent(&of.sessions).copied();
        let afresh = u32::from(self.helpful > 0);
        match (chance.weighted(&[4, 4, 2, afresh]), session) {
            (0, _) => Why::First,
            (2, Some((proof, of))) => {
                finish.authority = RegisterAuthority::Session(proof);
                Why::Session(of)
            }
            (3, _) => {
                finish.authority = RegisterAuthority::FreshStart;
                Why::FreshStart
            }
            (_, _) => {
                let password = match chance.percent(self.helpful / 3) {
                    true => PasswordClaim::Different,
                    false => PasswordClaim::MayBeSame,
                };
                let statement = Statement::Register {
                    id: &registration_id(id),
                    password,
                    finish,
                };
                let signed = self.sign(account, &statement, chance);
                finish.authority = RegisterAuthority::Device { password, signed };
                Why::Device(signed.key, password)
            }
        }
    }

    fn finish_recovery(&mut self, at: usize, chance: &mut Chance) -> usize {
        if chance.percent(2) {
            return self.finish_otherwise(at, chance);
        }
        let Open {
            account,
            ticket,
            generation,
            step:
                OpenStep::Recover {
                    attempt,
                    ke1,
                    login,
                },
            ..
        } = self.open[at]
        else {
            unreachable!("asked for a recovery");
        };
        // Who knows the password may also send a random KE3: a host can cut a client off.
        let login = login.filter(|_| chance.percent(self.helpful));
        let ke3 = match login {
            Some(login) => self.logins[login].ke3,
            None => decoy_ke3(chance),
        };
        let (bytes, awaiting) = self.open[at]
            .conversation
            .seal_second(&ticket, &Followup::RecoverFinish { ke3 }, chance)
            .expect("sealing");
        let op = Op::RecoverFinish {
            generation,
            attempt,
            ke1,
            right: login.is_some(),
        };
        self.push(account, bytes, op, Opener::RecoverFinish(awaiting, login))
    }

    /// Sends the second step of a registration on a recovery's ticket.
    fn finish_otherwise(&mut self, at: usize, chance: &mut Chance) -> usize {
        let Open {
            account, ticket, ..
        } = self.open[at];
        let finish = RegisterFinish {
            upload: RegistrationUpload::new([1; RegistrationUpload::BYTES]),
            wrapped: WrappedKey::new(keyhaven_secrets::random(chance)),
            cost: cheap(),
            device: None,
            authority: RegisterAuthority::First,
        };
        let (bytes, awaiting) = self.open[at]
            .conversation
            .seal_second(&ticket, &Followup::RegisterFinish(finish), chance)
            .expect("sealing");
        self.push(
            account,
            bytes,
            Op::Misdirected,
            Opener::RegisterFinish(awaiting),
        )
    }

    /// One of the account's devices signs.
    fn sign(
        &self,
        account: usize,
        statement: &Statement<'_>,
        chance: &mut Chance,
    ) -> DeviceSigned<()> {
        let of = &self.accounts[account];
        let (secret, key) = &of.devices[pick_device(chance)];
        let bytes = statement.encode(&of.parties.leaf).expect("encoding");
        DeviceSigned {
            key: *key,
            signature: self.hands.sign(secret, &bytes),
            extra: (),
        }
    }

    fn first(&mut self, account: usize, request: &Request, op: Op, chance: &mut Chance) -> usize {
        let (bytes, conversation) = self.seal(account, request, chance);
        self.push(account, bytes, op, Opener::Status(conversation))
    }

    fn seal(
        &self,
        account: usize,
        request: &Request,
        entropy: &mut dyn Entropy,
    ) -> (Vec<u8>, Conversation) {
        let leaf = self.accounts[account].parties.leaf;
        seal_first_with(
            self.hands,
            &self.fleet,
            &self.channel,
            &leaf,
            request,
            entropy,
        )
        .expect("sealing")
    }

    fn push(&mut self, account: usize, bytes: Vec<u8>, op: Op, opener: Opener) -> usize {
        self.sent.push(Sent {
            account,
            bytes,
            op,
            opener,
        });
        self.sent.len() - 1
    }

    /// Opens a released reply.
    ///
    /// # Errors
    /// A sentence, when it is not what a core may send.
    pub fn open(&self, sent: usize, reply: &[u8]) -> Result<Heard, String> {
        let sent = &self.sent[sent];
        let reply = match &sent.opener {
            Opener::Status(conversation)
            | Opener::Register(conversation, _)
            | Opener::Recover(conversation, _) => conversation.open(reply),
            Opener::RegisterFinish(awaiting) | Opener::RecoverFinish(awaiting, _) => {
                awaiting.open(reply)
            }
        }
        .map_err(|error| format!("a reply does not open: {error}"))?;
        let mut ke2 = None;
        let what = match &reply.outcome {
            Outcome::Denied(denial) => Expected::Denied(*denial),
            Outcome::Standing => Expected::Standing,
            Outcome::RegisterStarted { .. } => Expected::RegisterStarted,
            Outcome::Registered { generation } => Expected::Registered(generation.number()),
            Outcome::RecoverStarted {
                ke2: answer,
                attempt,
                ..
            } => {
                ke2 = Some(*blake3::hash(answer.as_bytes()).as_bytes());
                Expected::RecoverStarted {
                    attempt: attempt.number(),
                }
            }
            Outcome::Recovered(_) => {
                let release = self.release(sent, &reply)?;
                let what = self.wrapped.get(&release.wrapped);
                Expected::Recovered {
                    what: *what.ok_or("a wrapped key that nobody ever armed")?,
                    session: release.proof.is_some(),
                }
            }
            Outcome::WrongPassword => Expected::Wrong,
            Outcome::Changed { number } => Expected::Changed(number.number()),
            Outcome::WaitBegun { until } => Expected::WaitBegun(*until),
        };
        Ok(Heard { what, ke2, reply })
    }

    fn release(&self, sent: &Sent, reply: &Reply) -> Result<Release, String> {
        let (Outcome::Recovered(released), Opener::RecoverFinish(_, Some(login))) =
            (&reply.outcome, &sent.opener)
        else {
            return Err("a key was released to a wrong password".to_owned());
        };
        let parties = &self.accounts[sent.account].parties;
        Release::open(released, &self.logins[*login].session, parties)
            .map_err(|error| format!("a released key does not open: {error}"))
    }

    /// A reply reaches whoever asked. They learn what they can go on with.
    pub fn hear(&mut self, sent: usize, heard: &Heard, chance: &mut Chance) {
        let standing = &heard.reply.standing;
        let Sent {
            account,
            op,
            opener,
            ..
        } = &self.sent[sent];
        let account = *account;
        let of = &mut self.accounts[account];
        of.change = standing.change.number();
        let generation = standing.generation.number();
        match (&heard.reply.outcome, opener, op) {
            (
                Outcome::RegisterStarted { response, ticket },
                Opener::Register(conversation, registering),
                _,
            ) => self.open.push(Open {
                account,
                conversation: conversation.clone(),
                ticket: *ticket,
                generation,
                step: OpenStep::Register(registering.clone(), *response),
            }),
            (
                Outcome::RecoverStarted {
                    ke2,
                    cost,
                    attempt,
                    ticket,
                },
                Opener::Recover(conversation, recovering),
                Op::RecoverStart { ke1, .. },
            ) => {
                let login = Login {
                    state: &recovering.state,
                    password: recovering.password,
                    ke2,
                    cost,
                };
                let logged_in = self.hands.login_finish(&login, &of.parties, chance);
                let login = logged_in.map(|login| {
                    self.logins.push(login);
                    self.logins.len() - 1
                });
                self.open.push(Open {
                    account,
                    conversation: conversation.clone(),
                    ticket: *ticket,
                    generation,
                    step: OpenStep::Recover {
                        attempt: attempt.number(),
                        ke1: *ke1,
                        login,
                    },
                });
            }
            (
                Outcome::Recovered(_),
                _,
                Op::RecoverFinish {
                    generation,
                    attempt,
                    ..
                },
            ) => {
                let proof = Proof {
                    generation: *generation,
                    attempt: *attempt,
                };
                let release = self.release(&self.sent[sent], &heard.reply);
                if let Some(session) = release.ok().and_then(|release| release.proof) {
                    self.accounts[account].sessions.push((session, proof));
                }
            }
            _ => {}
        }
    }
}

/// The first two are in use; the others come and go.
fn pick_device(chance: &mut Chance) -> usize {
    match chance.percent(80) {
        true => chance.below(2),
        false => chance.below(DEVICES),
    }
}

fn pick_wait(chance: &mut Chance) -> Wait {
    match chance.percent(70) {
        true => Wait::LastGuesses,
        false => Wait::FreshStart,
    }
}

fn registration_id(id: u64) -> RegistrationId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&id.to_be_bytes());
    RegistrationId::new(bytes)
}
