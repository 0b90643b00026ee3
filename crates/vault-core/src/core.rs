//! The core as a host drives it.

mod error;

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use keyhaven_secrets::Entropy;
use keyhaven_wire::channel::{self, ChannelPublicKey, Opened, Sealed};
use keyhaven_wire::message::{AccountName, Denial, FleetId, HostTime, LeafIndex, Outcome, Reply};
use keyhaven_wire::opaque::Parties;
use keyhaven_wire::suite::{Standard, Suite};
use zeroize::Zeroizing;

use crate::apply::{self, Applied, Context};
use crate::leaf;
use crate::log::{
    Call, Capture, Entry, GroupId, Head, Index, LogError, Memory, Place, Report, Term, Wish,
};
use crate::membership::{Member, Membership, MembershipError};
use crate::policy::Policy;
use crate::ranges::{RangeAnswer, RangeError, RangeStep};
use crate::record::Record;
use crate::seat::{Role, Seat};
use crate::secrets::{FleetSecrets, SecretsError};
use crate::ticket::TicketBody;
use crate::tree::{Found, MultiProof, Node, NodeKey, PartialTree, Range, Slot};
use crate::trusted::{Kept, TrustedMemory};
use crate::withheld::Withheld;

pub use self::error::CoreError;

/// Requests in one batch at most (VAULT-10). A host that has more waits for the next.
pub const BATCH_MAX: usize = 1024;

/// One request of a batch.
#[derive(Clone, Debug)]
pub struct Touch {
    /// Whose it is, as the host has authenticated the caller.
    pub account: AccountName,
    /// The sealed request, as it came.
    pub request: Vec<u8>,
}

/// What a batch changed. The answers stay inside the core until the entry is committed.
#[derive(Clone, Debug)]
#[must_use = "the entry and the puts must be appended to the store, at once and durably"]
pub struct Executed {
    /// The next entry of the log.
    pub entry: Entry,
    /// Nodes and leaves to be put into the store, in the same transaction.
    pub puts: Vec<(NodeKey, Vec<u8>)>,
}

/// A new fleet.
#[derive(Clone, Debug)]
pub struct Genesis {
    /// The fleet's secrets, for the host to keep. Secret.
    pub secrets: Zeroizing<Vec<u8>>,
    /// Entry 0.
    pub entry: Entry,
    /// The empty tree.
    pub puts: Vec<(NodeKey, Vec<u8>)>,
    /// The core's memory after entry 0.
    pub memory: Memory,
}

/// What goes back to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The sealed reply; every one has the same length.
    Sealed(Vec<u8>),
    /// The request did not open: not sealed to this fleet, not for this account, or changed on the
    /// way. There is nobody to seal an answer to; a host says "bad request".
    Unreadable,
    /// The account is in a range of another group. The host asks that one; it is no word to the
    /// client, who could not tell it from a lie.
    Elsewhere,
    /// What came of a step of a range. For hosts, not for a client.
    Range(RangeAnswer),
}

/// A core that belongs to no group yet. It has a name, which it drew itself and will not draw again.
#[derive(Debug)]
pub struct Newcomer {
    member: Member,
}

impl Newcomer {
    /// Draws a name.
    pub fn draw(entropy: &mut dyn Entropy) -> Self {
        Self {
            member: Member::draw(entropy),
        }
    }

    /// The name that a group admits it by.
    #[must_use]
    pub const fn member(&self) -> Member {
        self.member
    }

    /// Takes the fleet's secrets. The core counts for nothing before it has captured an entry that
    /// lists it.
    #[must_use]
    pub fn join(self, secrets: impl Into<Arc<FleetSecrets>>) -> Core {
        let secrets = secrets.into();
        let memory = Memory::blank(secrets.log(), self.member);
        Core {
            secrets,
            seat: Seat::resume(Kept::by_host(memory)),
        }
    }
}

/// The trusted core.
pub struct Core {
    secrets: Arc<FleetSecrets>,
    seat: Seat,
}

impl core::fmt::Debug for Core {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Core")
            .field("secrets", &self.secrets)
            .field("memory", self.seat.memory())
            .field("role", &self.seat.role())
            .field("pending", &self.seat.is_pending())
            .finish()
    }
}

impl Core {
    /// Makes a new fleet and its first group, of this core and of the others that are named; the
    /// secrets reach those by their hosts. The host appends entry and puts to an empty store and
    /// keeps secrets and memory before it serves anybody. This core leads.
    ///
    /// A fleet is made once, and its first group with it: the secrets that this call draws exist in
    /// no other (VAULT-1).
    ///
    /// # Errors
    /// [`SecretsError::Policy`] for rules that this core does not enforce,
    /// [`CoreError::Membership`] for a group of another size than the policy's.
    pub fn genesis(
        policy: Policy,
        others: &[Member],
        entropy: &mut dyn Entropy,
    ) -> Result<(Self, Genesis), CoreError> {
        policy.check().map_err(SecretsError::from)?;
        Self::genesis_for(&Standard, policy, others, entropy)
    }

    pub(crate) fn genesis_for(
        suite: &'static dyn Suite,
        policy: Policy,
        others: &[Member],
        entropy: &mut dyn Entropy,
    ) -> Result<(Self, Genesis), CoreError> {
        let secrets = Arc::new(FleetSecrets::generate(suite, policy, entropy)?);
        let group = secrets.group();
        let (core, Executed { entry, puts }) =
            Self::found(&secrets, group, others, &Node::default(), entropy)?;
        let genesis = Genesis {
            secrets: secrets.encode()?,
            entry,
            puts,
            memory: *core.memory(),
        };
        Ok((core, genesis))
    }

    /// Makes one more group of a fleet, of this core and of the others that are named. It holds no
    /// account: it gains ranges from the groups that have them, step by step
    /// ([`Core::range`]). So nobody's record is in two groups, whoever founds how many (VAULT-1).
    /// The host appends entry and puts to an empty store. This core leads.
    ///
    /// # Errors
    /// [`CoreError::Membership`] for a group of another size than the policy's.
    pub fn found_group(
        secrets: impl Into<Arc<FleetSecrets>>,
        others: &[Member],
        entropy: &mut dyn Entropy,
    ) -> Result<(Self, Executed), CoreError> {
        let group = GroupId::draw(entropy);
        let nothing = Node::of(Slot::Foreign);
        Self::found(&secrets.into(), group, others, &nothing, entropy)
    }

    fn found(
        secrets: &Arc<FleetSecrets>,
        group: GroupId,
        others: &[Member],
        root: &Node,
        entropy: &mut dyn Entropy,
    ) -> Result<(Self, Executed), CoreError> {
        let quorum = secrets.policy().quorum;
        let member = Member::draw(entropy);
        let members: BTreeSet<Member> = others.iter().copied().chain([member]).collect();
        if members.len() != others.len().saturating_add(1) {
            return Err(MembershipError::Size(quorum.members).into());
        }
        let place = Place {
            group,
            membership: Membership::first(&members, quorum)?,
            term: Term::new(1),
            index: Index::new(0),
        };
        let entry = Entry::genesis(secrets.log(), place, root.digest());
        let memory = Memory::blank(secrets.log(), member).capture(secrets.log(), &entry)?;
        let core = Self {
            secrets: Arc::clone(secrets),
            seat: Seat::found(memory, &entry),
        };
        let puts = vec![(NodeKey::root(), root.as_bytes().to_vec())];
        Ok((core, Executed { entry, puts }))
    }

    /// Goes on from a memory. The core leads nothing until it is elected again, whatever it led
    /// before; the answers that it withheld then are gone, and the clients ask again.
    ///
    /// # Errors
    /// [`CoreError::Log`] for a memory of another fleet, or one that is damaged.
    pub fn resume(
        secrets: impl Into<Arc<FleetSecrets>>,
        memory: Memory,
    ) -> Result<Self, CoreError> {
        Self::go_on(secrets.into(), Kept::by_host(memory))
    }

    fn go_on(secrets: Arc<FleetSecrets>, memory: Kept) -> Result<Self, CoreError> {
        memory.verify(secrets.log())?;
        Ok(Self {
            secrets,
            seat: Seat::resume(memory),
        })
    }

    /// Goes on from a trusted memory, whatever its host has kept.
    ///
    /// # Errors
    /// As [`Core::resume`]; [`LogError::NotKept`] for a memory that cannot be read, and
    /// [`LogError::NotMember`] for one in which no core ever wrote: a core that comes new draws a
    /// name, and is trusted with its memory then ([`Core::trust`]).
    pub fn resume_trusted(
        secrets: impl Into<Arc<FleetSecrets>>,
        mut trusted: Box<dyn TrustedMemory>,
    ) -> Result<Self, CoreError> {
        let memory = trusted.read().map_err(LogError::from)?;
        let memory = memory.ok_or(LogError::NotMember)?;
        Self::go_on(secrets.into(), Kept::trusted(memory, trusted))
    }

    /// Keeps its memory in a place that its host cannot put back, from here on.
    ///
    /// # Errors
    /// [`LogError::NotKept`] when it cannot be written.
    pub fn trust(&mut self, trusted: Box<dyn TrustedMemory>) -> Result<(), CoreError> {
        Ok(self.seat.trust(trusted).map_err(LogError::from)?)
    }

    /// The fleet's name.
    #[must_use]
    pub fn fleet(&self) -> FleetId {
        self.secrets.fleet()
    }

    /// The rules.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        self.secrets.policy()
    }

    /// The channel's public key, for the validation bundle.
    #[must_use]
    pub fn channel_key(&self) -> &ChannelPublicKey {
        self.secrets.channel_key()
    }

    /// What the core remembers. A host keeps it, flushed, after every call that may have changed it,
    /// before it hands on what that call returned.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        self.seat.memory()
    }

    /// What the core does in its group.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.seat.role()
    }

    /// What a leader's next entry stands on: the store must be in this state.
    #[must_use]
    pub const fn base(&self) -> Option<&Head> {
        self.seat.base()
    }

    /// Calls the group for reports, to lead it in a term above all that this core has promised and
    /// above `above`, the newest that the host has heard of. What it led before is over.
    ///
    /// # Errors
    /// [`LogError::NotMember`] for a core that has captured nothing yet.
    pub fn stand(&mut self, above: Term, entropy: &mut dyn Entropy) -> Result<Call, CoreError> {
        self.seat.stand(&self.secrets, above, entropy)
    }

    /// Promises to take nothing of an older term than the call's, and reports what it captured last.
    /// A core that leads steps down. The host keeps the memory before it hands on the report.
    ///
    /// # Errors
    /// [`LogError::OldTerm`] for a term that this core has promised to somebody already.
    pub fn promise(&mut self, call: &Call) -> Result<Report, CoreError> {
        Ok(self.seat.promise(&self.secrets, call)?)
    }

    /// Leads, if these reports to its call make a quorum, its own among them. Returns what its next
    /// entry will stand on; the host brings its store there.
    ///
    /// # Errors
    /// [`CoreError::NotElected`] when they do not.
    pub fn lead(&mut self, reports: &[Report]) -> Result<Head, CoreError> {
        self.seat.lead(&self.secrets, reports)
    }

    /// Builds on the next entry of the store, where that is ahead of the reports: an earlier leader
    /// appended it, and nobody in the quorum captured it. Its answers were never released.
    ///
    /// # Errors
    /// [`LogError::NotNext`] for an entry that does not stand on the base.
    pub fn adopt(&mut self, entry: &Entry) -> Result<(), CoreError> {
        self.seat.adopt(&self.secrets, entry)
    }

    /// Applies a batch, in order. The answers stay inside until [`Core::release`].
    ///
    /// # Errors
    /// [`CoreError::Proof`] when the proof does not lead to the base's root; then nothing was
    /// applied. [`CoreError::Pending`] while an earlier batch is not committed.
    pub fn execute(
        &mut self,
        batch: Vec<Touch>,
        proof: &MultiProof,
        now: HostTime,
        entropy: &mut dyn Entropy,
    ) -> Result<Executed, CoreError> {
        let base = self.seat.ready()?;
        if batch.is_empty() || batch.len() > BATCH_MAX {
            return Err(CoreError::BatchSize);
        }
        // All are opened before the first is applied: the same few functions at a time stay in the
        // processor's caches, which is worth a fifteenth of an opening.
        let opened: Vec<_> = batch.iter().map(|touch| self.open(touch)).collect();
        let mut tree = PartialTree::new(base.root(), proof);
        let mut answers = Vec::with_capacity(batch.len());
        for touch in opened {
            let answer = match touch {
                Some(touch) => self.touch(touch, &mut tree, now, entropy)?,
                None => Answer::Unreadable,
            };
            answers.push(Withheld::new(answer));
        }
        let entry = self.seat.propose(&self.secrets, tree.root(), answers)?;
        Ok(Executed {
            entry,
            puts: tree.into_puts(),
        })
    }

    /// This group's word that it would have a range, for the group that has it.
    ///
    /// # Errors
    /// [`CoreError::NotLeading`] by a core that does not lead its group.
    pub fn wish(&self, range: Range) -> Result<Wish, CoreError> {
        let base = self.base().ok_or(CoreError::NotLeading)?;
        Ok(Wish::make(self.secrets.log(), base.group(), range))
    }

    /// Takes a step of a range's way from one group to another. Its answer is withheld as any other,
    /// until [`Core::release`]: nobody takes what is not given for good (VAULT-1, VAULT-2).
    ///
    /// # Errors
    /// [`CoreError::Range`] for a step that cannot be taken now; then nothing was applied.
    pub fn range(&mut self, step: &RangeStep, proof: &MultiProof) -> Result<Executed, CoreError> {
        let base = self.seat.ready()?;
        let mut tree = PartialTree::new(base.root(), proof);
        let answer = step.apply(&self.secrets, base.group(), &mut tree)?;
        let answers = vec![Withheld::new(answer)];
        let entry = self.seat.propose(&self.secrets, tree.root(), answers)?;
        Ok(Executed {
            entry,
            puts: tree.into_puts(),
        })
    }

    /// Proposes that one core takes another's place in the group. It takes a quorum of the old group
    /// and of the new one to commit (VAULT-9).
    ///
    /// # Errors
    /// [`CoreError::Membership`] for a change that cannot be made now.
    pub fn replace(&mut self, go: Member, come: Member) -> Result<Executed, CoreError> {
        let entry = self.seat.replace(&self.secrets, go, come)?;
        Ok(Executed {
            entry,
            puts: Vec::new(),
        })
    }

    /// Captures an entry that the host has made durable: with all that it changed, or in a store
    /// that has it. The host keeps the memory before it hands on the capture.
    ///
    /// # Errors
    /// [`CoreError::Log`]. VAULT-4, VAULT-8: a core never goes back, never takes what is of an older
    /// term than it promised, and never follows an entry that its fleet did not make.
    pub fn capture(&mut self, entry: &Entry) -> Result<Capture, CoreError> {
        Ok(self.seat.capture(&self.secrets, entry)?)
    }

    /// Releases the answers of the executed batch, one for each request, in order, if the captures
    /// make a quorum (VAULT-2).
    ///
    /// # Errors
    /// [`CoreError::NotCommitted`] when they do not; the answers then stay inside.
    pub fn release(&mut self, captures: &[Capture]) -> Result<Vec<Answer>, CoreError> {
        self.seat.commit(&self.secrets, captures)
    }

    /// Leads no more. The answers of a batch that is not committed are destroyed; its entry may
    /// stand in the store all the same, and the next leader will build on it.
    pub fn step_down(&mut self) {
        self.seat.step_down();
    }

    /// Says whether a core of this fleet made the entry. A host asks before it goes by one that
    /// another host, a tail or the store shows it.
    ///
    /// # Errors
    /// [`LogError::BadMac`] for one that nobody made.
    pub fn vouch(&self, entry: &Entry) -> Result<(), CoreError> {
        Ok(entry.verify(self.secrets.log())?)
    }

    /// Opens an account's record and changes nothing: whether the store holds what the base's root
    /// says.
    ///
    /// # Errors
    /// [`CoreError::Proof`] or [`CoreError::RecordDamaged`] when it does not.
    pub fn examine(&self, account: &AccountName, proof: &MultiProof) -> Result<(), CoreError> {
        let base = self.seat.ready()?;
        let index = LeafIndex::of(&self.secrets.fleet(), account);
        match self.record(&mut PartialTree::new(base.root(), proof), &index)? {
            Some(_) => Ok(()),
            None => Err(RangeError::NotHere.into()),
        }
    }

    /// See [`dangerous::copy`](crate::dangerous::copy).
    pub(crate) fn copy(&self) -> Self {
        Self {
            secrets: Arc::clone(&self.secrets),
            seat: self.seat.copy(),
        }
    }

    pub(crate) const fn seat(&self) -> &Seat {
        &self.seat
    }

    /// An account's record, if it is this group's.
    fn record(
        &self,
        tree: &mut PartialTree<'_>,
        index: &LeafIndex,
    ) -> Result<Option<Record>, CoreError> {
        match tree.read(index)? {
            Found::Elsewhere => Ok(None),
            Found::None => Ok(Some(Record::vacant(self.secrets.policy()))),
            Found::Sealed(sealed) => {
                let fleet = self.secrets.fleet();
                leaf::open(self.secrets.record(), &fleet, index, sealed)
                    .map(Some)
                    .ok_or(CoreError::RecordDamaged)
            }
        }
    }

    fn touch(
        &self,
        touch: Asked,
        tree: &mut PartialTree<'_>,
        now: HostTime,
        entropy: &mut dyn Entropy,
    ) -> Result<Answer, CoreError> {
        let Asked {
            index,
            opened,
            ticket,
        } = touch;
        let fleet = self.secrets.fleet();
        let Some(mut record) = self.record(tree, &index)? else {
            return Ok(Answer::Elsewhere);
        };
        let mut context = Context {
            secrets: &self.secrets,
            parties: Parties { fleet, leaf: index },
            now,
            entropy,
        };
        let applied = match (&ticket, opened.follow()) {
            (Some(ticket), _) => match opened.followup() {
                Ok(followup) => apply::second(&mut record, ticket, followup, &mut context),
                Err(_) => Applied::denied(Denial::Malformed),
            },
            (None, Some(follow)) => match opened.request() {
                Ok(request) => apply::first(&mut record, request, follow, &mut context),
                Err(_) => Applied::denied(Denial::Malformed),
            },
            (None, None) => Applied::denied(Denial::Malformed),
        };
        let reply = Reply {
            standing: record.standing(self.secrets.policy(), applied.view),
            outcome: applied.outcome,
        };
        // The leaf is sealed anew and written whatever came of the request: a host that could see
        // that nothing changed would know the verdict before it is paid for.
        let sealed = leaf::seal(self.secrets.record(), &fleet, &index, &record, entropy)
            .ok_or(CoreError::Bound)?;
        tree.write(&index, sealed)?;
        let answer = opened
            .into_answering()
            .seal(&reply, entropy)
            .map_err(|_| CoreError::Bound)?;
        Ok(Answer::Sealed(answer))
    }

    /// Opens a request of either kind; a second one needs the core's own ticket. None for anything
    /// that does not open: the core then has no key to answer under.
    fn open(&self, touch: &Touch) -> Option<Asked> {
        let fleet = self.secrets.fleet();
        let index = LeafIndex::of(&fleet, &touch.account);
        let (opened, ticket) = match channel::parse(&touch.request).ok()? {
            Sealed::First(first) => {
                let (suite, key) = (self.secrets.suite(), self.secrets.opening());
                (first.open(suite, &fleet, key, &index).ok()?, None)
            }
            Sealed::Second(second) => {
                let ticket =
                    TicketBody::open(&second.ticket(), self.secrets.ticket(), &fleet, &index)?;
                let opened = second.open(&fleet, ticket.follow(), &index).ok()?;
                (opened, Some(ticket))
            }
        };
        Some(Asked {
            index,
            opened,
            ticket,
        })
    }
}

/// A request that opened.
struct Asked {
    index: LeafIndex,
    opened: Opened,
    ticket: Option<TicketBody>,
}

impl Applied {
    pub(crate) const fn denied(denial: Denial) -> Self {
        Self {
            outcome: Outcome::Denied(denial),
            view: crate::record::View::Account,
        }
    }
}
