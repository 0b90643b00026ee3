//! Page maps back into bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use keyhaven_repo::compress::Expander;
use keyhaven_repo::hash::{ExtentDigest, PageKey};
use keyhaven_repo::keyring::Keyring;
use keyhaven_repo::node::NodeError;
use keyhaven_repo::pack::PackKind;
use keyhaven_repo::page_map::PageMap;

use super::fetch::{FetchError, Fetcher};
use super::nodes::Nodes;

/// A database could not be read back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadBackError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error("the files cannot be written")]
    Write(#[from] std::io::Error),
    #[error(transparent)]
    Rows(#[from] keyhaven_source::rows::RowsError),
}

/// Takes a run of bytes and its offset in the image.
pub(crate) type TakeRun<'a> = dyn FnMut(u64, &[u8]) -> Result<(), ReadBackError> + 'a;

/// Opens frames of pages.
pub(crate) struct FrameReader {
    fetcher: Fetcher,
    expander: Expander,
    key: PageKey,
    keyring: Arc<Keyring>,
    stored: Vec<u8>,
    raw: Vec<u8>,
    recent: VecDeque<(ExtentDigest, Vec<u8>)>,
}

/// Frames that are kept while pages are read in order: an image that was changed over many days
/// takes its pages from several frames in turn.
const RECENT_MAX: usize = 16;

impl FrameReader {
    pub(crate) fn new(fetcher: Fetcher, keyring: Arc<Keyring>) -> Result<Self, NodeError> {
        Ok(Self {
            fetcher,
            expander: Expander::new()?,
            key: keyring.page_key(),
            keyring,
            stored: Vec::new(),
            raw: Vec::new(),
            recent: VecDeque::new(),
        })
    }

    /// Hands runs of pages to `each`, with the offset of each run in the image; in no order. Every
    /// frame is fetched once for each leaf that uses it.
    pub(crate) fn scatter(
        &mut self,
        map: &PageMap,
        nodes: &mut Nodes<'_>,
        each: &mut TakeRun<'_>,
    ) -> Result<(), ReadBackError> {
        let page_bytes = u64::from(map.page_size());
        for index in 0..map.leaves() {
            let leaf = map.leaf(index, nodes)?;
            for used in leaf.frames() {
                let extent = used.frame.extent;
                self.fetcher
                    .extent_into(&extent, PackKind::Messages, &mut self.stored)?;
                let raw_len = usize::try_from(used.raw_len()).map_err(|_| NodeError::TooLong)?;
                self.raw.resize(raw_len, 0);
                self.expander
                    .expand(&self.stored, &mut self.raw)
                    .map_err(NodeError::from)?;
                for placed in &used.pages {
                    let page = used.page(placed, &self.raw, &self.key)?;
                    let number = u64::from(placed.page_no).saturating_sub(1);
                    each(number.saturating_mul(page_bytes), page)?;
                }
            }
        }
        Ok(())
    }

    /// Hands all pages to `each`, in order, and checks the image's digest at the end.
    pub(crate) fn in_order(
        &mut self,
        map: &PageMap,
        nodes: &mut Nodes<'_>,
        each: &mut dyn FnMut(&[u8]) -> Result<(), ReadBackError>,
    ) -> Result<(), ReadBackError> {
        let mut image = self.keyring.content_hasher();
        for index in 0..map.leaves() {
            let leaf = map.leaf(index, nodes)?;
            for number in 0..leaf.pages() {
                let used = leaf
                    .locate(leaf.first_page().saturating_add(number))
                    .ok_or(NodeError::Malformed)?;
                let digest = used.frame.digest;
                if !self.recent.iter().any(|(kept, _)| *kept == digest) {
                    let extent = used.frame.extent;
                    self.fetcher
                        .extent_into(&extent, PackKind::Messages, &mut self.stored)?;
                    let len = usize::try_from(used.raw_len()).map_err(|_| NodeError::TooLong)?;
                    let mut raw = vec![0; len];
                    self.expander
                        .expand(&self.stored, &mut raw)
                        .map_err(NodeError::from)?;
                    if self.recent.len() >= RECENT_MAX {
                        self.recent.pop_front();
                    }
                    self.recent.push_back((digest, raw));
                }
                let kept = self.recent.iter().find(|(kept, _)| *kept == digest);
                let raw = kept.map(|(_, raw)| raw.as_slice()).unwrap_or_default();
                let placed = used.pages.first().ok_or(NodeError::Malformed)?;
                let page = used.page(placed, raw, &self.key)?;
                image.update(page);
                each(page)?;
            }
        }
        if image.finish() == *map.image() {
            Ok(())
        } else {
            Err(NodeError::PageAltered.into())
        }
    }
}
