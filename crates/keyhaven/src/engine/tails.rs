//! Which short packs a run empties: the choice behind `backup --repack`.
//!
//! A *tail* is a pack shorter than a full one. Every run ends in up to three, so that a year of daily backups leaves a
//! thousand. What the newest backup still needs of some is sent again, together, and then it needs them no more.

use std::collections::BTreeMap;

use keyhaven_repo::layout::SizeClass;
use keyhaven_repo::names::PackName;
use keyhaven_repo::pack::PackKind;
use keyhaven_repo::vacated::Vacated;

use super::packs::Packs;
use super::usage::Use;

/// Bytes that a backup sends again at most, to gather what lies scattered over many short objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepackBudget {
    bytes: u64,
}

impl RepackBudget {
    /// So many bytes.
    #[must_use]
    pub const fn of_bytes(bytes: u64) -> Self {
        Self { bytes }
    }

    /// So many MiB.
    #[must_use]
    pub const fn of_mib(mib: u64) -> Self {
        Self::of_bytes(mib.saturating_mul(1 << 20))
    }
}

/// What a repacking came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repacked {
    /// Packs that the new backup needs no more.
    pub objects: u64,
    /// Bytes that lay in them and were sent again.
    pub bytes: u64,
}

/// As many tails at least are made one, where they do not fill a pack.
const TAILS_MIN: usize = 8;
/// Then none of them holds more than this part of all, so that a byte which is moved again goes into a pack at least four
/// times as long as the one before: eleven times at most before it is in a full one, and mostly once or twice.
const PART_MAX: u64 = 4;

/// The packs that a run empties.
#[derive(Debug, Default)]
pub(crate) struct Emptied {
    tails: BTreeMap<PackName, Use>,
    pub(crate) vacated: Vacated,
}

impl Emptied {
    /// Chooses within a budget among what the newest backup uses.
    pub(crate) fn choose(
        uses: &BTreeMap<PackName, Use>,
        packs: &Packs,
        budget: RepackBudget,
    ) -> Self {
        let is_tail = |pack: &PackName| {
            let class = packs.len(pack).and_then(SizeClass::of_object);
            class.is_some_and(|class| class < SizeClass::Mib8)
        };
        let tails = uses.iter().filter(|(pack, used)| {
            // What stays where it is keeps its pack.
            !used.is_bound && is_tail(pack)
        });
        let tails: Vec<_> = tails.map(|(pack, used)| (*pack, *used)).collect();
        Self::of(choose(&tails, budget))
    }

    fn of(tails: BTreeMap<PackName, Use>) -> Self {
        let vacated = Vacated::new(tails.keys().copied().collect());
        Self { tails, vacated }
    }

    /// Whether nothing is to be moved.
    pub(crate) fn is_empty(&self) -> bool {
        self.tails.is_empty()
    }

    /// Whether packs of the index or of messages are emptied.
    pub(crate) fn has_other_than_media(&self) -> bool {
        self.has(PackKind::Index) || self.has(PackKind::Messages)
    }

    /// Whether packs of that kind are emptied.
    pub(crate) fn has(&self, kind: PackKind) -> bool {
        self.tails.values().any(|used| used.kind == kind)
    }

    /// What is needed of those that `counts` takes.
    pub(crate) fn sum(&self, counts: impl Fn(&PackName, &Use) -> bool) -> Repacked {
        let mut sum = Repacked::default();
        for (pack, used) in &self.tails {
            if counts(pack, used) {
                sum.objects = sum.objects.saturating_add(1);
                sum.bytes = sum.bytes.saturating_add(used.live);
            }
        }
        sum
    }
}

/// The index first, since every look at a backup reads it; messages before media.
const KINDS: [PackKind; 3] = [PackKind::Index, PackKind::Messages, PackKind::Media];

/// Takes of each kind those that the least is needed of, as many as go into the budget. They are worth it if they fill a pack, or
/// if many become one. Either way a byte is not moved over and over.
fn choose(tails: &[(PackName, Use)], budget: RepackBudget) -> BTreeMap<PackName, Use> {
    let mut chosen = BTreeMap::new();
    let mut left = budget.bytes;
    for kind in KINDS {
        let mut candidates: Vec<_> = tails.iter().filter(|(_, used)| used.kind == kind).collect();
        candidates.sort_by_key(|(pack, used)| (used.live, *pack));
        let mut sums = Vec::new();
        let mut sum = 0_u64;
        for (_, used) in &candidates {
            sum = sum.saturating_add(used.live);
            if sum > left {
                break;
            }
            sums.push(sum);
        }
        let count = worth(&candidates, &sums);
        let Some(taken) = count.checked_sub(1).and_then(|last| sums.get(last)) else {
            continue;
        };
        left = left.saturating_sub(*taken);
        chosen.extend(candidates.into_iter().take(count).copied());
    }
    chosen
}

/// How many of the first are worth moving, by what they hold together.
fn worth(candidates: &[&(PackName, Use)], sums: &[u64]) -> usize {
    let full = u64::from(SizeClass::Mib8.layout().plain_len());
    if sums.last().is_some_and(|sum| *sum >= full) {
        return sums.len();
    }
    let mut count = 0;
    for (at, ((_, used), sum)) in candidates.iter().zip(sums).enumerate() {
        let so_many = at.saturating_add(1);
        if so_many >= TAILS_MIN && used.live.saturating_mul(PART_MAX) <= *sum {
            count = so_many;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Tails of one kind, by what is needed of each.
    fn tails(kind: PackKind, from: u8, lives: &[u64]) -> Vec<(PackName, Use)> {
        let names = (from..=u8::MAX).map(|byte| PackName::from_bytes([byte; 32]));
        let uses = lives.iter().map(|live| Use {
            kind,
            live: *live,
            is_bound: false,
        });
        names.zip(uses).collect()
    }

    fn taken(tails: &[(PackName, Use)], budget: u64) -> Vec<u64> {
        let chosen = choose(tails, RepackBudget::of_bytes(budget));
        let mut lives: Vec<u64> = chosen.values().map(|used| used.live).collect();
        lives.sort_unstable();
        lives
    }

    #[test]
    fn tails_that_fill_a_pack_are_taken_the_least_first() {
        let many = tails(
            PackKind::Media,
            0,
            &[3 * MIB, MIB, 5 * MIB, 2 * MIB, 6 * MIB],
        );
        assert_eq!(taken(&many, 11 * MIB), [MIB, 2 * MIB, 3 * MIB, 5 * MIB]);
        // One byte less, and six MiB fill no pack.
        assert_eq!(taken(&many, 11 * MIB - 1), Vec::<u64>::new());
        assert_eq!(taken(&many, u64::MAX).len(), 5);
    }

    #[test]
    fn many_small_tails_become_one_and_a_long_one_is_not_moved_for_them() {
        let mut lives = vec![1000; 7];
        assert_eq!(taken(&tails(PackKind::Index, 0, &lives), MIB).len(), 0);
        lives.push(1000);
        assert_eq!(taken(&tails(PackKind::Index, 0, &lives), MIB).len(), 8);
        lives.push(8000);
        assert_eq!(taken(&tails(PackKind::Index, 0, &lives), MIB), [1000; 8]);
        assert_eq!(taken(&tails(PackKind::Index, 0, &lives), 7_999).len(), 0);
    }

    #[test]
    fn each_kind_is_judged_by_itself_and_the_budget_is_for_all() {
        let mut all = tails(PackKind::Media, 0, &[4 * MIB; 4]);
        all.extend(tails(PackKind::Index, 100, &[MIB; 8]));
        all.extend(tails(PackKind::Messages, 200, &[7 * MIB]));
        assert_eq!(
            taken(&all, 32 * MIB),
            [vec![MIB; 8], vec![4 * MIB; 4]].concat()
        );
        assert_eq!(
            taken(&all, 20 * MIB),
            [vec![MIB; 8], vec![4 * MIB; 3]].concat()
        );
        assert_eq!(taken(&all, 15 * MIB), [MIB; 8]);
    }

    /// What a choice leaves, when all of it was moved: full packs, and one tail of the rest.
    fn after(tails: &[(PackName, Use)], chosen: &BTreeMap<PackName, Use>) -> Vec<u64> {
        let full = u64::from(SizeClass::Mib8.layout().plain_len());
        let moved: u64 = chosen.values().map(|used| used.live).sum();
        let stay = tails.iter().filter(|(pack, _)| !chosen.contains_key(pack));
        let mut left: Vec<u64> = stay.map(|(_, used)| used.live).collect();
        left.push(moved.checked_rem(full).unwrap_or(0));
        left
    }

    /// The budget is kept to the byte; what is moved becomes fewer packs; and once it was moved, there is nothing more to
    /// move. In twenty thousand drawn stores.
    #[test]
    fn a_choice_is_within_its_budget_and_is_made_once() {
        let mut word = 0x9e37_79b9_7f4a_7c15_u64;
        let mut draw = |below: u64| {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            word % below
        };
        let everything = RepackBudget::of_bytes(u64::MAX);
        let (mut some, mut none) = (0, 0);
        for _ in 0..20_000 {
            let scale = 2_u64 << draw(23);
            let mut lives: Vec<u64> = (0..draw(60))
                .map(|_| 1 + draw(scale).min(6_289_823))
                .collect();
            lives.extend(
                (0..draw(60))
                    .map(|_| 1 + draw(6_289_824))
                    .take_while(|live| live % 3 > 0),
            );
            let all = tails(PackKind::Media, 0, &lives);
            let budget = 1 + draw(64 * MIB);
            let within = taken(&all, budget);
            assert!(within.iter().sum::<u64>() <= budget);
            assert_ne!(within.len(), 1);
            let first = choose(&all, everything);
            if first.is_empty() {
                none += 1;
                continue;
            }
            some += 1;
            let left = after(&all, &first);
            assert!(left.len() < all.len());
            assert_eq!(
                taken(&tails(PackKind::Media, 0, &left), u64::MAX),
                [0; 0],
                "{lives:?}"
            );
        }
        assert!(some > 5_000 && none > 1_000, "{some} {none}");
    }
}
