//! The core as a host drives it.

use keyhaven_secrets::Entropy;
use keyhaven_wire::channel::{self, ChannelPublicKey, Opened, Sealed};
use keyhaven_wire::message::{AccountName, Denial, FleetId, HostTime, LeafIndex, Outcome, Reply};
use keyhaven_wire::opaque::Parties;
use zeroize::Zeroizing;

use crate::apply::{self, Applied, Context};
use crate::leaf;
use crate::log::{
    Capture, Configuration, Entry, Index, LogError, Member, Memory, Place, Tally, Term,
};
use crate::policy::Policy;
use crate::record::Record;
use crate::secrets::{FleetSecrets, SecretsError};
use crate::ticket::TicketBody;
use crate::tree::{Digest, MultiProof, Node, NodeKey, PartialTree, ProofError};
use crate::withheld::Withheld;

/// Requests in one batch at most (VAULT-10). A host that has more waits for the next.
pub const BATCH_MAX: usize = 1024;

/// The one member of a group of one.
const MEMBER: Member = Member::new(0);

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
}

/// Why a core refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CoreError {
    /// The batch is empty or longer than [`BATCH_MAX`].
    #[error("a batch holds 1 to {BATCH_MAX} requests")]
    BatchSize,
    /// An earlier batch is not committed yet: capture and release it, or abandon it.
    #[error("an earlier batch is not committed yet")]
    Pending,
    /// There is nothing to release.
    #[error("there is no batch to release")]
    NothingPending,
    /// Not enough cores have captured the entry. The answers stay inside (VAULT-2).
    #[error("the entry is not captured by a quorum")]
    NotCommitted,
    /// The proof does not lead to this core's root. Nothing was applied.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// An entry or a memory was refused.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The secrets were refused.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// A leaf within the root does not open: sealed by other secrets, or a bug of ours.
    #[error("a record within the root does not open")]
    RecordDamaged,
    /// The log is as long as it can be, or a value does not fit: a bug of ours.
    #[error("an inner bound was reached")]
    Bound,
}

impl CoreError {
    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> keyhaven_secrets::Remedy {
        use keyhaven_secrets::Remedy;
        match self {
            Self::BatchSize | Self::Pending | Self::NothingPending | Self::NotCommitted => {
                Remedy::RetryLater
            }
            Self::Proof(_)
            | Self::Log(_)
            | Self::Secrets(_)
            | Self::RecordDamaged
            | Self::Bound => Remedy::Stop,
        }
    }
}

/// A batch that was executed and is not committed.
struct Proposal {
    entry: Entry,
    answers: Vec<Withheld<Answer>>,
}

/// The trusted core.
pub struct Core {
    secrets: FleetSecrets,
    memory: Memory,
    proposal: Option<Proposal>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("secrets", &self.secrets)
            .field("memory", &self.memory)
            .field("pending", &self.proposal.is_some())
            .finish()
    }
}

impl Core {
    /// Makes a new fleet with its first core. The host appends entry and puts to an empty store and
    /// keeps secrets and memory before it serves anybody.
    ///
    /// # Errors
    /// [`SecretsError::Policy`] for rules that this core does not enforce.
    pub fn genesis(
        policy: Policy,
        entropy: &mut dyn Entropy,
    ) -> Result<(Self, Genesis), SecretsError> {
        let secrets = FleetSecrets::generate(policy, entropy)?;
        let empty = Node::default();
        let place = Place {
            group: secrets.group(),
            configuration: Configuration::new(1),
            term: Term::new(1),
            index: Index::new(0),
        };
        let entry = Entry::genesis(secrets.log(), place, empty.digest());
        let memory = Memory::of(secrets.log(), &entry);
        let genesis = Genesis {
            secrets: secrets.encode()?,
            entry,
            puts: vec![(NodeKey::root(), empty.encode())],
            memory,
        };
        let core = Self {
            secrets,
            memory,
            proposal: None,
        };
        Ok((core, genesis))
    }

    /// Goes on from a memory. If the store's log is longer (a crash between append and capture),
    /// the host hands the entries after the memory's to [`Core::capture`], in order; whatever
    /// answers they held are gone, and the clients ask again.
    ///
    /// # Errors
    /// [`CoreError::Log`] for a memory of another fleet, or one that is damaged.
    pub fn resume(secrets: FleetSecrets, memory: Memory) -> Result<Self, CoreError> {
        memory.verify(secrets.log())?;
        if memory.place.group != secrets.group() {
            return Err(LogError::OtherGroup.into());
        }
        Ok(Self {
            secrets,
            memory,
            proposal: None,
        })
    }

    /// The fleet's name.
    #[must_use]
    pub const fn fleet(&self) -> FleetId {
        self.secrets.fleet()
    }

    /// The rules.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        self.secrets.policy()
    }

    /// The channel's public key, for the validation bundle.
    #[must_use]
    pub const fn channel_key(&self) -> &ChannelPublicKey {
        self.secrets.channel_key()
    }

    /// What the core remembers.
    #[must_use]
    pub const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The root that a proof must lead to.
    #[must_use]
    pub const fn root(&self) -> Digest {
        self.memory.root
    }

    /// Applies a batch, in order. The answers stay inside until [`Core::release`].
    ///
    /// # Errors
    /// [`CoreError::Proof`] when the proof does not lead to the core's root; then nothing was
    /// applied. [`CoreError::Pending`] while an earlier batch is not committed.
    pub fn execute(
        &mut self,
        batch: Vec<Touch>,
        proof: &MultiProof,
        now: HostTime,
        entropy: &mut dyn Entropy,
    ) -> Result<Executed, CoreError> {
        if self.proposal.is_some() {
            return Err(CoreError::Pending);
        }
        if batch.is_empty() || batch.len() > BATCH_MAX {
            return Err(CoreError::BatchSize);
        }
        let mut tree = PartialTree::new(self.memory.root, proof);
        let mut answers = Vec::with_capacity(batch.len());
        for touch in &batch {
            let answer = self.touch(touch, &mut tree, now, entropy)?;
            answers.push(Withheld::new(answer));
        }
        let place = Place {
            index: self.memory.place.index.next().ok_or(CoreError::Bound)?,
            ..self.memory.place
        };
        let entry = Entry::make(self.secrets.log(), place, self.memory.head, tree.root());
        self.proposal = Some(Proposal { entry, answers });
        Ok(Executed {
            entry,
            puts: tree.into_puts(),
        })
    }

    /// Captures an entry that the host has made durable: the one just executed, or, after a crash,
    /// the next one of the store's log. If it is another entry than the one executed, that one's
    /// answers are destroyed: the store has gone another way.
    ///
    /// The memory goes to the host, who keeps it before it releases.
    ///
    /// # Errors
    /// [`CoreError::Log`] for an entry that does not follow. VAULT-4, VAULT-8: a core never goes
    /// back, and never follows an entry that its fleet did not make.
    pub fn capture(&mut self, entry: &Entry) -> Result<(Capture, Memory), CoreError> {
        self.memory = self.memory.advance(self.secrets.log(), entry)?;
        self.proposal.take_if(|proposal| proposal.entry != *entry);
        let capture = Capture::make(self.secrets.log(), MEMBER, entry);
        Ok((capture, self.memory))
    }

    /// Releases the answers of the executed batch, one for each request, in order, if the captures
    /// make a quorum (VAULT-2).
    ///
    /// # Errors
    /// [`CoreError::NotCommitted`] when they do not; the answers then stay inside.
    pub fn release(&mut self, captures: &[Capture]) -> Result<Vec<Answer>, CoreError> {
        let proposal = self.proposal.take().ok_or(CoreError::NothingPending)?;
        let quorum = self.secrets.policy().quorum.captures;
        let tally = Tally::count(self.secrets.log(), &proposal.entry, quorum, captures);
        match tally.committed() {
            Some(committed) => Ok(proposal
                .answers
                .into_iter()
                .map(|answer| answer.release(committed))
                .collect()),
            None => {
                self.proposal = Some(proposal);
                Err(CoreError::NotCommitted)
            }
        }
    }

    /// Destroys the answers of a batch whose entry the host knows was *not* appended. The core
    /// stands at its last captured root again. An entry whose fate is unknown is not abandoned but
    /// read back: if it was appended, it is captured.
    pub fn abandon(&mut self) {
        self.proposal = None;
    }

    fn touch(
        &self,
        touch: &Touch,
        tree: &mut PartialTree<'_>,
        now: HostTime,
        entropy: &mut dyn Entropy,
    ) -> Result<Answer, CoreError> {
        let fleet = self.secrets.fleet();
        let index = LeafIndex::of(&fleet, &touch.account);
        let Some((opened, ticket)) = self.open(&touch.request, &index) else {
            return Ok(Answer::Unreadable);
        };
        let mut record = match tree.read(&index)? {
            None => Record::vacant(self.secrets.policy()),
            Some(sealed) => leaf::open(self.secrets.record(), &fleet, &index, sealed)
                .ok_or(CoreError::RecordDamaged)?,
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
    fn open(&self, request: &[u8], index: &LeafIndex) -> Option<(Opened, Option<TicketBody>)> {
        let fleet = self.secrets.fleet();
        match channel::parse(request).ok()? {
            Sealed::First(first) => {
                let opened = first.open(&fleet, self.secrets.opening(), index).ok()?;
                Some((opened, None))
            }
            Sealed::Second(second) => {
                let ticket =
                    TicketBody::open(&second.ticket(), self.secrets.ticket(), &fleet, index)?;
                let opened = second.open(&fleet, ticket.follow(), index).ok()?;
                Some((opened, Some(ticket)))
            }
        }
    }
}

impl Applied {
    pub(crate) const fn denied(denial: Denial) -> Self {
        Self {
            outcome: Outcome::Denied(denial),
            view: crate::record::View::Account,
        }
    }
}
