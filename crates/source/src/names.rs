//! The names of one folder, sorted, in two allocations however many there are.

use crate::sniff::owner_of;

/// The names of a folder.
#[derive(Debug, Default)]
pub(crate) struct Names {
    bytes: Vec<u8>,
    /// Where each name begins and ends in `bytes`.
    spans: Vec<(usize, usize)>,
    next: usize,
    companions: bool,
}

impl Names {
    pub(crate) fn push(&mut self, name: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.spans.push((start, self.bytes.len()));
        self.companions |= owner_of(name).is_some();
    }

    pub(crate) fn sort(&mut self) {
        let bytes = &self.bytes;
        self.spans.sort_unstable_by_key(|span| slice(bytes, *span));
    }

    /// The next name in order.
    pub(crate) fn next(&mut self) -> Option<&[u8]> {
        let span = *self.spans.get(self.next)?;
        self.next = self.next.saturating_add(1);
        Some(slice(&self.bytes, span))
    }

    pub(crate) fn contains(&self, name: &[u8]) -> bool {
        self.spans
            .binary_search_by(|span| slice(&self.bytes, *span).cmp(name))
            .is_ok()
    }

    pub(crate) fn has_prefix(&self, prefix: &[u8]) -> bool {
        let at = self
            .spans
            .partition_point(|span| slice(&self.bytes, *span) < prefix);
        self.spans
            .get(at)
            .is_some_and(|span| slice(&self.bytes, *span).starts_with(prefix))
    }

    /// Whether any name looks like a database's log, index or journal.
    pub(crate) fn has_companion_names(&self) -> bool {
        self.companions
    }
}

fn slice(bytes: &[u8], (start, end): (usize, usize)) -> &[u8] {
    bytes.get(start..end).unwrap_or_default()
}
