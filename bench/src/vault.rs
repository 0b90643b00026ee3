//! A host in memory, and the one core that it drives.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use keyhaven_secrets::Entropy;
use keyhaven_simulator::standin::StandIn;
use keyhaven_vault_core::{
    Answer, BATCH_MAX, Core, FleetSecrets, MEMORY_BYTES, Memory, NodeKey, Policy, Touch, prove,
};
use keyhaven_wire::channel::seal_first_with;
use keyhaven_wire::message::{AccountName, HostTime, LeafIndex, Request};
use zeroize::Zeroizing;

use crate::{clock, people};

const NOW: HostTime = HostTime::new(1_800_000_000);

/// What carrying out requests took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Took {
    /// Executing, capturing, releasing.
    pub(crate) core: Duration,
    /// Collecting the proof: the host's work, and not part of the comparison.
    pub(crate) host: Duration,
    /// The digests of what was read and changed, once more and by themselves.
    pub(crate) hashing: Duration,
    /// Nodes and leaves that were read from the store.
    pub(crate) reads: usize,
    /// Bytes of the proof.
    pub(crate) proof_bytes: usize,
    /// Bytes of what the entry changed.
    pub(crate) put_bytes: usize,
}

/// One core, and a store of all nodes. Of the leaves it holds those of the people only.
pub(crate) struct Vault {
    core: Core,
    secrets: Zeroizing<Vec<u8>>,
    store: BTreeMap<NodeKey, Box<[u8]>>,
}

impl Vault {
    /// A new fleet of one core, under the suite that ships.
    pub(crate) fn new(entropy: &mut dyn Entropy) -> anyhow::Result<Self> {
        let (core, genesis) = Core::genesis(Policy::DEFAULT, &[], entropy)?;
        let mut vault = Self {
            core,
            secrets: genesis.secrets,
            store: BTreeMap::new(),
        };
        vault.put(genesis.puts);
        Ok(vault)
    }

    pub(crate) const fn core(&self) -> &Core {
        &self.core
    }

    pub(crate) fn secrets(&self) -> &[u8] {
        &self.secrets
    }

    /// Nodes and leaves in the store, and their bytes.
    pub(crate) fn stored(&self) -> (usize, usize) {
        (
            self.store.len(),
            self.store.values().map(|bytes| bytes.len()).sum(),
        )
    }

    /// The core stops, and starts again with its memory and these secrets. It is elected anew.
    pub(crate) fn take_over(
        &mut self,
        secrets: FleetSecrets,
        entropy: &mut dyn Entropy,
    ) -> anyhow::Result<()> {
        let mut core = Core::resume(secrets, *self.core.memory())?;
        let promised = core.memory().reach().0;
        let call = core.stand(promised, entropy)?;
        let report = core.promise(&call)?;
        core.lead(&[report])?;
        self.core = core;
        Ok(())
    }

    fn put(&mut self, puts: impl IntoIterator<Item = (NodeKey, Vec<u8>)>) {
        let puts = puts.into_iter();
        self.store
            .extend(puts.map(|(key, bytes)| (key, bytes.into_boxed_slice())));
    }

    /// A batch, all the way.
    pub(crate) fn carry_out(
        &mut self,
        requests: &[(AccountName, Vec<u8>)],
        entropy: &mut dyn Entropy,
    ) -> anyhow::Result<(Vec<Answer>, Took)> {
        let (answers, puts, took) = self.execute(requests, entropy)?;
        self.put(puts);
        Ok((answers, took))
    }

    #[expect(
        clippy::type_complexity,
        reason = "what an entry changed, as the core names it"
    )]
    fn execute(
        &mut self,
        requests: &[(AccountName, Vec<u8>)],
        entropy: &mut dyn Entropy,
    ) -> anyhow::Result<(Vec<Answer>, Vec<(NodeKey, Vec<u8>)>, Took)> {
        let accounts = requests.iter().map(|(account, _)| account);
        let fleet = self.core.fleet();
        let (proof, host) = clock::time(|| {
            prove(&fleet, accounts, |key| {
                Ok::<_, ()>(self.store.get(key).map(|bytes| bytes.to_vec()))
            })
        });
        let proof = proof.ok().context("the store is not whole")?;
        let batch = requests
            .iter()
            .map(|(account, request)| Touch {
                account: account.clone(),
                request: request.clone(),
            })
            .collect();
        let (done, core) = clock::time(|| {
            let executed = self.core.execute(batch, &proof, NOW, entropy)?;
            let capture = self.core.capture(&executed.entry)?;
            let answers = self.core.release(&[capture])?;
            Ok::<_, keyhaven_vault_core::CoreError>((answers, executed.puts))
        });
        let (answers, puts) = done?;
        let ((), hashing) = clock::time(|| {
            let changed = puts.iter().map(|(_, bytes)| bytes.as_slice());
            for bytes in proof.parts().map(|(_, bytes)| bytes).chain(changed) {
                let mut hasher = blake3::Hasher::new_derive_key("keyhaven bench digest");
                hasher.update(bytes);
                std::hint::black_box(hasher.finalize());
            }
        });
        let took = Took {
            core,
            host,
            hashing,
            reads: proof.parts().count(),
            proof_bytes: proof.parts().map(|(_, bytes)| bytes.len()).sum(),
            put_bytes: puts.iter().map(|(_, bytes)| bytes.len()).sum(),
        };
        Ok((answers, puts, took))
    }

    /// Has every account but the people ask how it stands, which gives it a record. The core must
    /// run the stand-in suite: only its public-key cryptography is cheap, and the tree, the leaves
    /// and the log are made as they always are.
    ///
    /// A leaf of such an account is not kept: its digest stands in the tree, and nobody asks for it
    /// again.
    pub(crate) fn fill(
        &mut self,
        accounts: u32,
        people: &[AccountName],
        entropy: &mut dyn Entropy,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        let fleet = self.core.fleet();
        let people: std::collections::BTreeSet<&AccountName> = people.iter().collect();
        // In the order of the tree, so that a batch shares most of its nodes.
        let mut places = Vec::new();
        for number in 0..accounts {
            let account = people::name(number)?;
            if !people.contains(&account) {
                places.push((LeafIndex::of(&fleet, &account), number));
            }
        }
        places.sort_unstable();
        let mut done = 0_usize;
        for places in places.chunks(BATCH_MAX) {
            let mut requests = Vec::with_capacity(places.len());
            for (leaf, number) in places {
                let (bytes, _) = seal_first_with(
                    &StandIn,
                    &fleet,
                    self.core.channel_key(),
                    leaf,
                    &Request::Status { device: None },
                    entropy,
                )?;
                requests.push((people::name(*number)?, bytes));
            }
            let (_, mut puts, _) = self.execute(&requests, entropy)?;
            let leaves: std::collections::BTreeSet<[u8; 32]> =
                places.iter().map(|(leaf, _)| *leaf.as_bytes()).collect();
            puts.retain(|(key, _)| !is_leaf_of(key, &leaves));
            self.put(puts);
            done = done.saturating_add(places.len());
            if done.is_multiple_of(BATCH_MAX * 1024) {
                let seconds = began.elapsed().as_secs_f64();
                println!("{done} accounts are in the tree after {seconds:.0} s");
            }
        }
        Ok(())
    }

    /// Writes the filled tree to a file.
    pub(crate) fn save(&self, file: &Path) -> anyhow::Result<()> {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        let unfinished = file.with_extension("unfinished");
        let mut out = BufWriter::new(File::create(&unfinished)?);
        write_bytes(&mut out, &self.secrets)?;
        out.write_all(&self.core.memory().encode())?;
        for (key, bytes) in &self.store {
            out.write_all(key.as_bytes())?;
            write_bytes(&mut out, bytes)?;
        }
        out.into_inner()?.sync_all()?;
        Ok(fs::rename(unfinished, file)?)
    }

    /// Reads it again. The core refuses whatever is not under the root that it remembers.
    pub(crate) fn load(file: &Path) -> anyhow::Result<Self> {
        let mut from = BufReader::new(File::open(file)?);
        let secrets = Zeroizing::new(read_bytes(&mut from)?);
        let mut memory = [0; MEMORY_BYTES];
        from.read_exact(&mut memory)?;
        let mut store = BTreeMap::new();
        let mut key = [0; NodeKey::BYTES];
        loop {
            match from.read_exact(&mut key) {
                Ok(()) => {}
                Err(end) if end.kind() == std::io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error.into()),
            }
            let bytes = read_bytes(&mut from)?.into_boxed_slice();
            store.insert(NodeKey::from_bytes(key), bytes);
        }
        ensure!(!store.is_empty(), "{} is empty", file.display());
        let core = Core::resume(FleetSecrets::decode(&secrets)?, Memory::decode(&memory)?)?;
        Ok(Self {
            core,
            secrets,
            store,
        })
    }
}

/// A leaf's key is its kind, a zero and the index.
fn is_leaf_of(key: &NodeKey, leaves: &std::collections::BTreeSet<[u8; 32]>) -> bool {
    let [kind, _, index @ ..] = key.as_bytes();
    *kind == 2 && leaves.contains(index)
}

fn write_bytes(out: &mut impl Write, bytes: &[u8]) -> anyhow::Result<()> {
    out.write_all(&u32::try_from(bytes.len())?.to_be_bytes())?;
    Ok(out.write_all(bytes)?)
}

fn read_bytes(from: &mut impl Read) -> anyhow::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut bytes = vec![0; usize::try_from(u32::from_be_bytes(length))?];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}
