//! Bringing the store to where the cores are: on what a leader left there that died, or forward again
//! from what it has lost.
//!
//! The core was elected on its *base*: everything committed is in the base or before it. The store may
//! stand there, or ahead by entries that an earlier leader appended and that no core of the quorum
//! captured: these are built on. Or it has lost commits: then the records that lead to the base are
//! looked for, from the base backwards, in the own tail and in the other hosts', until one leads on
//! from where the store is. They are appended in order.

use std::collections::BTreeSet;
use std::sync::Arc;

use keyhaven_secrets::Entropy;
use keyhaven_vault_core::{Entry, Head, Mac};

use crate::host::Host;
use crate::lead::Doing;
use crate::message::{Append, Ask, HostId, Looked, Message, Notice};
use crate::record::Record;

/// After how many ticks a search that has come to nothing is begun anew.
const SEARCHED_AGAIN: u32 = 8;

/// After how many searches that have come to nothing the host lets others try.
const SEARCHES: u32 = 2;

/// A store on its way to the base.
#[derive(Debug)]
pub(crate) struct Mend {
    base: Head,
    store: Option<Entry>,
    /// The records that lead to the base, the last one first.
    found: Vec<Arc<Record>>,
    /// The entry whose record is looked for, while one is.
    need: Option<Mac>,
    /// The hosts that do not have it.
    without: BTreeSet<HostId>,
    gone: bool,
    searches: u32,
    ticks: u32,
}

impl Mend {
    pub(crate) const fn new(base: Head) -> Self {
        Self {
            base,
            store: None,
            found: Vec::new(),
            need: None,
            without: BTreeSet::new(),
            gone: false,
            searches: 0,
            ticks: 0,
        }
    }

    pub(crate) const fn is_gone(&self) -> bool {
        self.gone
    }
}

/// Where a store stands, seen from the base.
enum Line<'a> {
    /// At the base, or ahead of it by these.
    Ahead(&'a [Entry]),
    /// Before it, or elsewhere.
    Behind,
    /// Ahead, and its log does not reach back to the base.
    Unknown,
}

impl Looked {
    fn line(&self, base: &Head) -> Line<'_> {
        let Some(head) = &self.head else {
            return Line::Behind;
        };
        if let Some(at) = self.rows.iter().position(|row| row.index() == base.index()) {
            let same = self.rows.get(at).map(Entry::mac) == Some(base.mac());
            return match at.checked_add(1).and_then(|next| self.rows.get(next..)) {
                Some(ahead) if same => Line::Ahead(ahead),
                Some(_) | None => Line::Behind,
            };
        }
        if head.index() < base.index() {
            return Line::Behind;
        }
        match self.rows.first() {
            // The log begins with the next one: it has to name the base.
            Some(first) if first.previous() == base.mac() => Line::Ahead(&self.rows),
            Some(_) | None => Line::Unknown,
        }
    }
}

impl Host {
    /// Looks where the store is.
    pub(crate) fn look(&mut self) {
        if let Some(base) = self.core.base().map(Head::index) {
            let nodes = self.tailed;
            self.ask(Ask::Look { base, nodes });
        }
    }

    fn mend_mut(&mut self) -> Option<&mut Mend> {
        match self.lead_mut().map(|lead| &mut lead.doing) {
            Some(Doing::Mend(mend)) => Some(mend),
            Some(Doing::Ready(_) | Doing::Prove(_) | Doing::Append(..) | Doing::Gather { .. })
            | None => None,
        }
    }

    pub(crate) fn looked(&mut self, looked: Looked, entropy: &mut dyn Entropy) {
        let Some(mend) = self.mend_mut() else { return };
        mend.store = looked.head;
        let base = mend.base;
        match looked.line(&base) {
            Line::Ahead(ahead) => {
                for entry in ahead {
                    if self.core.adopt(entry).is_ok() {
                        continue;
                    }
                    // A later leader's: this one's time is over; or this core's own, of a term that it
                    // does not remember. Otherwise it is no entry of this line.
                    let head = looked.head.filter(|head| self.core.vouch(head).is_ok());
                    let newest = head.map_or(entry.term(), |head| head.term());
                    match self.lead_mut() {
                        Some(lead) if entry.term() >= lead.term => {
                            self.heard = self.heard.max(newest);
                            self.fall(entropy);
                        }
                        _ => self.give_up_mending(),
                    }
                    return;
                }
                self.caught_up(looked);
            }
            Line::Behind => self.search(base.mac()),
            Line::Unknown => self.give_up_mending(),
        }
    }

    /// The core stands where the rows end.
    fn caught_up(&mut self, looked: Looked) {
        let (tailed, alone) = (self.tailed, self.peers.is_empty());
        let Some(base) = self.core.base().copied() else {
            return;
        };
        let elected_on = self.mend_mut().map(|mend| mend.base.index());
        let was_gone = self.mend_mut().is_some_and(|mend| mend.gone);
        let Some(lead) = self.lead_mut() else { return };
        if looked.more {
            // So many uncommitted entries cannot be carried. Only a core that is alone meets them,
            // when an older memory was put back; what its tail has of them, it has.
            let stands = matches!(&lead.doing, Doing::Mend(mend) if mend.base == base);
            if stands {
                return self.give_up_mending();
            }
            lead.doing = Doing::Mend(Box::new(Mend::new(base)));
            return self.look();
        }
        if let Some(head) = looked.head {
            lead.doing = Doing::Ready(head);
        }
        let mut carried = Record {
            entries: looked.rows,
            puts: looked.puts,
        };
        if alone {
            // What a core that is alone captured is committed, and its tail has it.
            let ahead = |entry: &Entry| Some(entry.index()) > elected_on;
            carried.entries.retain(ahead);
        }
        lead.carried = match tailed && !carried.entries.is_empty() {
            true => carried,
            false => Record::default(),
        };
        if was_gone {
            self.notice(Notice::Mended);
        }
        self.go_on();
    }

    /// Looks for the record that ends with an entry.
    fn search(&mut self, need: Mac) {
        if let Some(mend) = self.mend_mut() {
            mend.need = Some(need);
            mend.without.clear();
            self.ask(Ask::Tail(need));
        }
    }

    /// The own tail has the record, or not.
    pub(crate) fn found_here(&mut self, record: Option<Arc<Record>>) {
        let Some(need) = self.mend_mut().and_then(|mend| mend.need) else {
            return;
        };
        match self.usable(need, record) {
            Some(record) => self.found(record),
            None if self.peers.is_empty() => self.give_up_mending(),
            None => self.broadcast(&Message::Need(need)),
        }
    }

    /// Another host has the record, or not.
    pub(crate) fn found_there(&mut self, from: HostId, last: Mac, record: Option<Arc<Record>>) {
        let peers = self.peers.len();
        if self.mend_mut().and_then(|mend| mend.need) != Some(last) {
            return;
        }
        if let Some(record) = self.usable(last, record) {
            return self.found(record);
        }
        let Some(mend) = self.mend_mut() else { return };
        mend.without.insert(from);
        if mend.without.len() >= peers {
            self.give_up_mending();
        }
    }

    fn usable(&self, need: Mac, record: Option<Arc<Record>>) -> Option<Arc<Record>> {
        record.filter(|record| {
            record.last().map(Entry::mac) == Some(need) && record.is_whole(&self.core)
        })
    }

    fn found(&mut self, record: Arc<Record>) {
        let Some(mend) = self.mend_mut() else { return };
        let met = record.after(mend.store.as_ref()).is_some();
        let passed = record.first() <= mend.store.map(|store| store.index());
        let from = record.from();
        // Others may send it as well.
        mend.need = None;
        mend.found.push(record);
        match from {
            _ if met => self.append_next(),
            // The records lead past the store without meeting it: it holds another history.
            Some(from) if !passed => self.search(from),
            _ => self.give_up_mending(),
        }
    }

    /// Appends the next record, or looks whether all is well when there is none left.
    fn append_next(&mut self) {
        let Some(mend) = self.mend_mut() else { return };
        let Some(record) = mend.found.last() else {
            return self.look();
        };
        let (Some(entries), Some(first)) = (record.after(mend.store.as_ref()), record.first())
        else {
            return self.give_up_mending();
        };
        let append = Append {
            expected: mend.store,
            entries: entries.to_vec(),
            first,
            puts: record.puts.clone(),
        };
        self.ask(Ask::Append(Box::new(append)));
    }

    /// A record was appended.
    pub(crate) fn mended_on(&mut self) {
        if let Some(mend) = self.mend_mut()
            && let Some(record) = mend.found.pop()
        {
            mend.store = record.last().copied();
            self.append_next();
        }
    }

    /// Begins anew: the store is not where it was.
    pub(crate) fn mend_anew(&mut self) {
        let Some(base) = self.core.base().copied() else {
            return;
        };
        if let Some(mend) = self.mend_mut() {
            let (gone, searches) = (mend.gone, mend.searches);
            *mend = Mend {
                gone,
                searches,
                ..Mend::new(base)
            };
            self.look();
        }
    }

    /// No way leads from the store to the base, as far as anybody knows.
    fn give_up_mending(&mut self) {
        let Some(mend) = self.mend_mut() else { return };
        let notice = Notice::Gone {
            store: mend.store.map(|store| store.index()),
            cores: mend.base.index(),
        };
        if !std::mem::replace(&mut mend.gone, true) {
            self.notice(notice);
        }
    }

    /// A search that has come to nothing is begun anew: a host may have come back, or the operator
    /// put a newer store in place.
    ///
    /// After some searches the host steps aside. It may be that its own core captured an entry that
    /// nobody else did and whose record is lost: then the others can go on without it.
    pub(crate) fn tick_mending(&mut self, entropy: &mut dyn Entropy) {
        let alone = self.peers.is_empty();
        if self.is_asking() {
            return;
        }
        let Some(mend) = self.mend_mut() else { return };
        mend.ticks = mend.ticks.saturating_add(1);
        if mend.ticks < SEARCHED_AGAIN {
            return;
        }
        mend.searches = mend.searches.saturating_add(1);
        if mend.searches >= SEARCHES && mend.gone && !alone {
            self.step_aside(entropy);
        } else {
            self.mend_anew();
        }
    }
}
