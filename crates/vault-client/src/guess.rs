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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::MemoryJournal;
    use keyhaven_testkit::entropy::SeededEntropy;
    use keyhaven_wire::message::{FleetId, LeafIndex};

    fn parties(leaf: u8) -> Parties {
        Parties {
            fleet: FleetId::new([1; 32]),
            leaf: LeafIndex::new([leaf; 32]),
        }
    }

    /// Golden bytes, made with Python's `hmac` module: a guess begun by one version is finished by
    /// the next.
    #[test]
    fn the_randomness_of_a_guess_is_fixed() {
        let seed = Seed(Zeroizing::new([5; 32]));
        let password = Password::parse("walnut trapeze").unwrap();
        let parties = parties(2);
        let mut entropy = seed.of(&password, &parties);
        let mut bytes = [0; 37];
        let (first, second) = bytes.split_at_mut(33);
        entropy.fill(first);
        entropy.fill(second);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN);
    }

    const GOLDEN: &str = "b28a003a6638e647a46cb23b0a91ab7b7ee1b164a9dd13a29d96358eb4d319d4\
        4c7aaea186";

    /// VAULT-1: the same seed until the guess is over; never one of another account.
    #[test]
    fn a_seed_is_kept_for_its_account_and_drawn_anew_for_another() {
        let mut journal = MemoryJournal::new();
        let mut resume = |leaf, seed| {
            let mut entropy = SeededEntropy::new(seed);
            *Seed::resume(&mut journal, &parties(leaf), &mut entropy)
                .unwrap()
                .0
        };
        let first = resume(2, 1);
        assert_eq!(resume(2, 2), first);
        assert_ne!(resume(3, 3), first);
        assert_ne!(resume(2, 4), first);
    }

    #[test]
    fn an_entry_that_is_no_seed_is_replaced() {
        for entry in [&b""[..], &[1; 96], &[1; 98], &[2; 97]] {
            let mut journal = MemoryJournal::new();
            journal.store(Slot::Guess, entry).unwrap();
            let mut entropy = SeededEntropy::new(1);
            let seed = Seed::resume(&mut journal, &parties(2), &mut entropy).unwrap();
            assert_ne!(*seed.0, [1; 32]);
            assert_ne!(*seed.0, [2; 32]);
        }
    }
}
