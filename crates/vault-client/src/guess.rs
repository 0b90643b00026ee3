//! The randomness of a guess: derived, so that the same password typed again is the same guess.
//!
//! A client that crashed after it sent KE1 must send the same KE1 again, or the crash costs a
//! guess. Storing KE1 with its blind would do, but whoever found them could try passwords against
//! them without limit. So the journal holds a random seed alone, and KE1 is made from the seed
//! *and* the password: HMAC-SHA256 under the seed, in counter mode. The same password then makes
//! the same KE1, hence the same KE2 and the same KE3, also when it is wrong and typed wrong in the
//! same way twice; another password makes an unrelated one, which is another guess, as it should be.

use hmac::Mac as _;
use keyhaven_secrets::{Entropy, Password, random};
use keyhaven_wire::opaque::Parties;
use zeroize::Zeroizing;

use crate::error::VaultError;
use crate::journal::{Journal, Slot};
use crate::mac;

const VERSION: u8 = 1;
const SEED_BYTES: usize = 32;
const DOMAIN: &[u8] = b"keyhaven v1 vault guess\0";

/// The seed of one recovery, as it stands in the journal: version, fleet, leaf, seed.
pub(crate) struct Seed(Zeroizing<[u8; SEED_BYTES]>);

impl Seed {
    /// The seed of the recovery that is under way for this account, or a new one, which is safely
    /// in the journal when this returns.
    pub(crate) fn resume(
        journal: &mut dyn Journal,
        parties: &Parties,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, VaultError> {
        if let Some(entry) = journal.load(Slot::Guess)?
            && let Some(seed) = Self::decode(&entry, parties)
        {
            return Ok(seed);
        }
        let seed = Self(Zeroizing::new(random(entropy)));
        journal.store(Slot::Guess, &seed.encode(parties))?;
        Ok(seed)
    }

    /// The randomness of the guess at this password.
    pub(crate) fn of<'a>(
        &'a self,
        password: &'a Password,
        parties: &'a Parties,
    ) -> GuessEntropy<'a> {
        GuessEntropy {
            seed: &self.0,
            password,
            parties,
            block: 0,
        }
    }

    fn encode(&self, parties: &Parties) -> Zeroizing<Vec<u8>> {
        let mut entry = Zeroizing::new(Vec::with_capacity(97));
        entry.push(VERSION);
        entry.extend_from_slice(parties.fleet.as_bytes());
        entry.extend_from_slice(parties.leaf.as_bytes());
        entry.extend_from_slice(self.0.as_slice());
        entry
    }

    /// A seed of another account or version is left alone: a new recovery begins.
    fn decode(entry: &[u8], parties: &Parties) -> Option<Self> {
        let (rest, seed) = entry.split_last_chunk::<SEED_BYTES>()?;
        let seed = Self(Zeroizing::new(*seed));
        let expected = seed.encode(parties);
        expected
            .starts_with(rest)
            .then_some(seed)
            .filter(|_| entry.len() == expected.len())
    }
}

/// Bytes that seed, account and password determine.
pub(crate) struct GuessEntropy<'a> {
    seed: &'a [u8; SEED_BYTES],
    password: &'a Password,
    parties: &'a Parties,
    block: u64,
}

impl Entropy for GuessEntropy<'_> {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(32) {
            let mut mac = mac::keyed(self.seed);
            mac.update(DOMAIN);
            mac.update(&self.block.to_be_bytes());
            mac.update(self.parties.fleet.as_bytes());
            mac.update(self.parties.leaf.as_bytes());
            mac.update(self.password.expose_bytes());
            let bytes = Zeroizing::new(<[u8; 32]>::from(mac.finalize().into_bytes()));
            for (to, from) in chunk.iter_mut().zip(bytes.iter()) {
                *to = *from;
            }
            self.block = self.block.saturating_add(1);
        }
    }
}
