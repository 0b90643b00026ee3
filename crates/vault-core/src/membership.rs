//! Which cores keep a group's log, and what a quorum of them is.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use keyhaven_secrets::Entropy;

use crate::policy::{MEMBERS_MAX, Quorum};

/// A core's name within its group: 16 random bytes that the core draws itself.
///
/// A core that keeps its memory over a restart keeps its name with it. One that forgets draws a new
/// name at each start: what its older self captured and promised is not its own any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member([u8; Self::BYTES]);

impl Member {
    /// How many bytes a name has.
    pub const BYTES: usize = 16;

    /// Takes a name's bytes as they were sent.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    pub(crate) fn draw(entropy: &mut dyn Entropy) -> Self {
        Self(keyhaven_secrets::random(entropy))
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

/// Which membership of the group: one more at each change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Configuration(u32);

impl Configuration {
    pub(crate) const FIRST: Self = Self(1);

    /// The number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// As many cores as the fleet's policy says, each once, in the order of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Roster {
    count: u8,
    slots: [Member; MEMBERS_MAX],
}

const NOBODY: Member = Member([0; Member::BYTES]);

impl Roster {
    const BYTES: usize = 1 + MEMBERS_MAX * Member::BYTES;

    fn of(members: &BTreeSet<Member>) -> Option<Self> {
        let mut slots = [NOBODY; MEMBERS_MAX];
        if members.len() > MEMBERS_MAX {
            return None;
        }
        for (slot, member) in slots.iter_mut().zip(members) {
            *slot = *member;
        }
        let count = u8::try_from(members.len()).ok()?;
        Some(Self { count, slots })
    }

    fn members(&self) -> impl Iterator<Item = &Member> {
        self.slots.iter().take(usize::from(self.count))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.count);
        out.extend(self.slots.iter().flat_map(|member| member.0));
    }

    /// Reads a roster; none for anything but its one encoding.
    fn decode(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let (count, bytes) = bytes.split_first()?;
        let (names, _) = bytes.as_chunks::<{ Member::BYTES }>();
        let taken = names.iter().take(usize::from(*count));
        let members: BTreeSet<Member> = taken.copied().map(Member).collect();
        let roster = Self::of(&members)?;
        let mut again = Vec::with_capacity(Self::BYTES);
        roster.encode(&mut again);
        (roster.count == *count && again.get(1..) == Some(bytes)).then_some(roster)
    }
}

/// Who may capture and promise after an entry.
///
/// While one core takes another's place, the roster before stands beside the new one, and a quorum
/// is a quorum of *both* (VAULT-9): so whatever the old roster committed is known to every leader
/// that the new one elects. The first entry that is committed so ends this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    number: Configuration,
    now: Roster,
    before: Option<Roster>,
}

/// Why a membership cannot be changed so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MembershipError {
    /// Not as many cores as the fleet's policy says (the floor that no host can lower).
    #[error("a group of this fleet has {0} cores, each of its own name")]
    Size(u8),
    /// The change before is not committed yet.
    #[error("one core at a time: the change before this one is not committed yet")]
    Underway,
    /// The core to go is not a member, or the one to come is.
    #[error("the core to go is not a member of the group, or the one to come is one already")]
    NotSo,
    /// A leader does not take itself off the roster: let another core lead first.
    #[error("a leading core does not replace itself")]
    Leading,
}

impl Membership {
    /// Number 4, roster 113, whether a roster stands beside it 1, that roster 113.
    pub(crate) const BYTES: usize = 4 + 2 * Roster::BYTES + 1;

    /// A new group's first membership.
    pub(crate) fn first(
        members: &BTreeSet<Member>,
        quorum: Quorum,
    ) -> Result<Self, MembershipError> {
        match Roster::of(members) {
            Some(now) if now.count == quorum.members => Ok(Self {
                number: Configuration::FIRST,
                now,
                before: None,
            }),
            Some(_) | None => Err(MembershipError::Size(quorum.members)),
        }
    }

    /// One core in another's place. The size stays what the policy says.
    pub(crate) fn replace(&self, go: Member, come: Member) -> Result<Self, MembershipError> {
        if self.before.is_some() {
            return Err(MembershipError::Underway);
        }
        let mut members: BTreeSet<Member> = self.now.members().copied().collect();
        if !members.remove(&go) || go == come || !members.insert(come) {
            return Err(MembershipError::NotSo);
        }
        let number = self.number.0.checked_add(1).map(Configuration);
        match (number, Roster::of(&members)) {
            (Some(number), Some(now)) => Ok(Self {
                number,
                now,
                before: Some(self.now),
            }),
            (None, _) | (_, None) => Err(MembershipError::NotSo),
        }
    }

    /// The same after an entry of it is committed: the roster before is history.
    #[must_use]
    pub(crate) const fn settled(self) -> Self {
        Self {
            before: None,
            ..self
        }
    }

    /// Its number.
    #[must_use]
    pub const fn number(&self) -> Configuration {
        self.number
    }

    /// The members, without those that are on their way out.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.now.members()
    }

    /// Every core that a quorum may need: the members, and those that are on their way out.
    pub fn voters(&self) -> impl Iterator<Item = &Member> {
        let before = self.before.as_ref().map(Roster::members);
        self.now.members().chain(before.into_iter().flatten())
    }

    /// Whether a change of members is not committed yet.
    #[must_use]
    pub const fn is_changing(&self) -> bool {
        self.before.is_some()
    }

    pub(crate) fn has_voter(&self, member: Member) -> bool {
        self.voters().any(|voter| *voter == member)
    }

    /// Whether these cores are a quorum. VAULT-9: of the roster before, too, while it stands.
    pub(crate) fn is_quorum(&self, cores: &BTreeSet<Member>, quorum: Quorum) -> bool {
        let enough = |roster: &Roster| {
            let there = roster.members().filter(|member| cores.contains(member));
            there.count() >= usize::from(quorum.captures)
        };
        enough(&self.now) && self.before.as_ref().is_none_or(enough)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.number.0.to_be_bytes());
        self.now.encode(out);
        out.push(u8::from(self.before.is_some()));
        match &self.before {
            Some(before) => before.encode(out),
            None => out.extend([0; Roster::BYTES]),
        }
    }

    pub(crate) fn decode(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let (number, bytes) = bytes.split_first_chunk()?;
        let (now, bytes) = bytes.split_first_chunk()?;
        let (beside, bytes) = bytes.split_first()?;
        let before: &[u8; Roster::BYTES] = bytes.try_into().ok()?;
        let before = match beside {
            0 => (*before == [0; Roster::BYTES]).then_some(None),
            1 => Roster::decode(before).map(Some),
            _ => None,
        };
        Some(Self {
            number: Configuration(u32::from_be_bytes(*number)),
            now: Roster::decode(now)?,
            before: before?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[u8]) -> BTreeSet<Member> {
        names.iter().map(|name| Member([*name; 16])).collect()
    }

    const THREE: Quorum = Quorum {
        members: 3,
        captures: 2,
        rollbacks: 0,
    };

    /// VAULT-9: two quorums of neighbouring memberships always meet.
    #[test]
    fn a_quorum_of_a_change_is_one_of_both_rosters() {
        let old = Membership::first(&names(&[1, 2, 3]), THREE).unwrap();
        assert!(old.is_quorum(&names(&[1, 2]), THREE));
        assert!(!old.is_quorum(&names(&[1, 9]), THREE));
        let changing = old.replace(Member([1; 16]), Member([4; 16])).unwrap();
        assert!(changing.is_changing() && changing.has_voter(Member([1; 16])));
        assert!(changing.is_quorum(&names(&[2, 3]), THREE));
        assert!(!changing.is_quorum(&names(&[1, 2]), THREE));
        assert!(!changing.is_quorum(&names(&[2, 4]), THREE));
        assert!(changing.is_quorum(&names(&[1, 2, 4]), THREE));
        assert_eq!(
            changing.replace(Member([2; 16]), Member([5; 16])),
            Err(MembershipError::Underway)
        );
        let settled = changing.settled();
        assert!(!old.is_changing() && !settled.is_changing());
        let listed: BTreeSet<Member> = settled.members().copied().collect();
        assert_eq!(listed, names(&[2, 3, 4]));
        assert!(settled.is_quorum(&names(&[2, 4]), THREE) && !settled.has_voter(Member([1; 16])));
        assert_eq!(settled.number().number(), 2);
    }

    #[test]
    fn a_group_has_the_size_of_its_policy_and_each_core_once() {
        for few in [&[][..], &[1, 2], &[1, 2, 3, 4], &[1; 3]] {
            assert_eq!(
                Membership::first(&names(few), THREE),
                Err(MembershipError::Size(3))
            );
        }
        let group = Membership::first(&names(&[1, 2, 3]), THREE).unwrap();
        for (go, come) in [(9, 4), (1, 2), (1, 1)] {
            let change = group.replace(Member([go; 16]), Member([come; 16]));
            assert_eq!(change, Err(MembershipError::NotSo));
        }
    }

    #[test]
    fn a_membership_has_one_encoding() {
        let group = Membership::first(&names(&[1, 2, 3]), THREE).unwrap();
        let changing = group.replace(Member([1; 16]), Member([4; 16])).unwrap();
        for membership in [group, changing] {
            let mut bytes = Vec::new();
            membership.encode(&mut bytes);
            let bytes: [u8; Membership::BYTES] = bytes.try_into().unwrap();
            assert_eq!(Membership::decode(&bytes), Some(membership));
            for at in 4..Membership::BYTES {
                let mut changed = bytes;
                changed[at] ^= 1;
                assert!(
                    Membership::decode(&changed).is_none_or(|other| {
                        let mut again = Vec::new();
                        other.encode(&mut again);
                        again == changed
                    }),
                    "byte {at}"
                );
            }
        }
    }
}
