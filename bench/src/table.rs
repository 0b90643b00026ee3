//! What was measured, for people.

use std::fmt::Write as _;
use std::time::Duration;

use keyhaven_vault_core::{Core, MEMORY_BYTES};

use crate::people::Recoveries;
use crate::timed::Parts;
use crate::vault::Vault;

/// One round.
pub(crate) struct Round {
    /// The cryptography alone.
    pub(crate) alone: Parts,
    /// The core as it ships.
    pub(crate) core: Recoveries,
    /// The core with clocks around the suite.
    pub(crate) inside: Recoveries,
    /// What these clocks counted.
    pub(crate) parts: Parts,
    /// Opening and sealing of leaves, tickets, second requests and replies, by themselves.
    pub(crate) sealing: Duration,
}

/// All rounds.
pub(crate) struct Tables {
    pub(crate) rounds: Vec<Round>,
    pub(crate) people: u32,
    pub(crate) accounts: u32,
    pub(crate) batch: usize,
}

/// Microseconds a recovery.
#[expect(clippy::cast_precision_loss, reason = "a batch is far below 2^52")]
fn micros(time: Duration, batch: usize) -> f64 {
    time.as_secs_f64() * 1e6 / batch as f64
}

impl Round {
    pub(crate) fn line(&self, batch: usize) -> String {
        let alone = micros(self.alone.sum(), batch);
        let core = micros(self.core.core(), batch);
        let ratio = 100.0 * alone / core;
        format!("the cryptography alone {alone:.1} us, the core {core:.1} us: {ratio:.1} %")
    }
}

impl Tables {
    /// The median over the rounds, in microseconds a recovery.
    fn median(&self, of: impl Fn(&Round) -> Duration) -> f64 {
        let mut times: Vec<Duration> = self.rounds.iter().map(of).collect();
        times.sort_unstable();
        let middle = times.get(times.len() / 2);
        middle.map_or(0.0, |time| micros(*time, self.batch))
    }

    /// The median of the rounds' own ratios: each compares what ran next to each other.
    fn ratio(&self) -> f64 {
        let mut ratios: Vec<f64> = self
            .rounds
            .iter()
            .map(|round| round.alone.sum().as_secs_f64() / round.core.core().as_secs_f64())
            .collect();
        ratios.sort_unstable_by(f64::total_cmp);
        ratios
            .get(ratios.len() / 2)
            .map_or(0.0, |ratio| 100.0 * ratio)
    }

    pub(crate) fn write(&self, vault: &Vault) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        let core = self.median(|round| round.core.core());
        let alone = self.median(|round| round.alone.sum());
        writeln!(
            out,
            "{} accounts in the tree, {} of them recover; batches of {}; medians of {} rounds.\n",
            self.accounts,
            self.people,
            self.batch,
            self.rounds.len()
        )?;
        writeln!(
            out,
            "| | us a recovery | recoveries a second |\n|--|--:|--:|"
        )?;
        for (what, time) in [("the cryptography alone", alone), ("the core", core)] {
            writeln!(out, "| {what} | {time:.1} | {:.0} |", 1e6 / time)?;
        }
        writeln!(
            out,
            "\nThe cryptography is {:.1} % of what the core takes (the goal is 85 %).\n",
            self.ratio()
        )?;
        self.write_parts(&mut out)?;
        self.write_sizes(&mut out, vault)?;
        Ok(out)
    }

    fn write_parts(&self, out: &mut String) -> std::fmt::Result {
        let inside = self.median(|round| round.inside.core());
        let suite = self.median(|round| round.parts.sum());
        let hashing = self.median(|round| round.inside.hashing());
        let sealing = self.median(|round| round.sealing);
        let parts = [
            (
                "opening the channel (X-Wing, HPKE)",
                Some(self.median(|round| round.alone.opening)),
                self.median(|round| round.parts.opening),
            ),
            (
                "KE1 to KE2 (OPAQUE)",
                Some(self.median(|round| round.alone.ke2)),
                self.median(|round| round.parts.ke2),
            ),
            (
                "checking KE3",
                Some(self.median(|round| round.alone.ke3)),
                self.median(|round| round.parts.ke3),
            ),
            ("the tree's digests, by themselves", None, hashing),
            (
                "sealing of leaves, tickets and replies, by themselves",
                None,
                sealing,
            ),
            (
                "the rest: reading and writing messages and records, the rules, the log",
                None,
                inside - suite - hashing - sealing,
            ),
        ];
        writeln!(
            out,
            "| part of a recovery | alone, us | in the core, us |\n|--|--:|--:|"
        )?;
        for (what, alone, inside) in parts {
            let alone = alone.map_or_else(|| "-".to_owned(), |time| format!("{time:.1}"));
            writeln!(out, "| {what} | {alone} | {inside:.1} |")?;
        }
        writeln!(out)
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "sums that are far below 2^52 are shown with one digit behind the point"
    )]
    fn write_sizes(&self, out: &mut String, vault: &Vault) -> std::fmt::Result {
        let (parts, bytes) = vault.stored();
        let first = self.rounds.last().map(|round| round.core.first);
        let took = first.unwrap_or_default();
        let touches = self.batch as f64;
        writeln!(
            out,
            "The store holds {parts} nodes and leaves, {} MiB; it is read {:.2} times a request, in {:.1} us of \
             the host's time.",
            bytes >> 20,
            took.reads as f64 / touches,
            took.host.as_secs_f64() * 1e6 / touches
        )?;
        writeln!(
            out,
            "The core keeps a memory of {MEMORY_BYTES} bytes, {} bytes of secrets and {} bytes beside them, \
             whatever the number of accounts; during a batch also its proof ({:.0} KiB) and what it changes \
             ({:.0} KiB).",
            vault.secrets().len(),
            size_of::<Core>(),
            took.proof_bytes as f64 / 1024.0,
            took.put_bytes as f64 / 1024.0,
        )
    }
}
