//! Page maps back into bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use keyhaven_repo::compress::Expander;
use keyhaven_repo::hash::{ExtentDigest, PageKey};
use keyhaven_repo::keyring::Keyring;
use keyhaven_repo::layout::Extent;
use keyhaven_repo::node::NodeError;
use keyhaven_repo::pack::PackKind;
use keyhaven_repo::page_map::{FrameUse, PageMap};

use super::crew::{self, Crew, Worker};
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

/// Takes a run of pages and its offset in the image.
pub(crate) type TakeRun<'a> = dyn Fn(u64, &[u8]) -> std::io::Result<()> + Sync + 'a;

/// Reads databases, one after the other.
pub(crate) struct FrameReader {
    fetcher: Fetcher,
    key: PageKey,
    keyring: Arc<Keyring>,
}

/// Opens one frame at a time; each thread has its own.
struct Opener {
    fetcher: Fetcher,
    expander: Expander,
    raw: Vec<u8>,
}

/// Leaves whose frames are put in the order of packs. Each backup has put what changed anywhere in a database side by side in
/// a pack of its own, and to look for it leaf by leaf would be a request for each. So many are 256 MiB of a database, for
/// which some 2 MiB are held.
const LEAVES_GATHERED: usize = 32;
/// Frames that are kept while pages are read in order: an image that was changed over many days
/// takes its pages from several frames in turn.
const RECENT_MAX: usize = 16;

impl Opener {
    /// The raw bytes of a frame.
    fn open(&mut self, used: &FrameUse) -> Result<&mut Vec<u8>, ReadBackError> {
        let extent = used.frame.extent;
        let stored = self.fetcher.extent(&extent, PackKind::Messages)?;
        let len = usize::try_from(used.raw_len()).map_err(|_| NodeError::TooLong)?;
        self.raw.resize(len, 0);
        self.expander
            .expand(stored, &mut self.raw)
            .map_err(NodeError::from)?;
        Ok(&mut self.raw)
    }
}

/// Opens frames and hands on what the image takes from them.
struct Scatter<'a> {
    opener: Opener,
    key: &'a PageKey,
    each: &'a TakeRun<'a>,
}

impl Worker for Scatter<'_> {
    type Job = FrameUse;
    type Answer = Result<(), ReadBackError>;

    fn extents(used: &FrameUse) -> &[Extent] {
        std::slice::from_ref(&used.frame.extent)
    }

    fn expect(&mut self, run: Option<Extent>) {
        self.opener.fetcher.expect(run);
    }

    fn work(&mut self, used: FrameUse) -> Self::Answer {
        let raw = self.opener.open(&used)?;
        for run in used.runs(raw, self.key) {
            let (offset, pages) = run?;
            (self.each)(offset, pages)?;
        }
        Ok(())
    }
}

impl FrameReader {
    pub(crate) fn new(fetcher: &Fetcher, keyring: &Arc<Keyring>) -> Self {
        Self {
            fetcher: fetcher.clone(),
            key: keyring.page_key(),
            keyring: Arc::clone(keyring),
        }
    }

    fn opener(&self) -> Result<Opener, NodeError> {
        Ok(Opener {
            fetcher: self.fetcher.clone(),
            expander: Expander::new()?,
            raw: Vec::new(),
        })
    }

    /// Hands runs of pages to `each`, with the offset of each run in the image; in no order, and from several threads.
    pub(crate) fn scatter(
        &self,
        map: &PageMap,
        nodes: &mut Nodes<'_>,
        each: &TakeRun<'_>,
    ) -> Result<(), ReadBackError> {
        let key = &self.key;
        let workers = (0..crew::SIZE).map(|_| {
            let opener = self.opener()?;
            Ok(Scatter { opener, key, each })
        });
        let workers = workers.collect::<Result<Vec<_>, NodeError>>()?;
        std::thread::scope(|scope| {
            let mut crew = Crew::start(scope, workers);
            let mut gathered = (0..map.leaves()).step_by(LEAVES_GATHERED);
            let fed = gathered.try_for_each(|first| {
                let mut frames = Vec::new();
                for index in (first..map.leaves()).take(LEAVES_GATHERED) {
                    frames.extend(map.leaf(index, nodes)?.frames());
                }
                frames.sort_unstable_by_key(|used| used.frame.extent);
                frames.into_iter().try_for_each(|used| {
                    crew.send(used);
                    crew.ready().collect()
                })
            });
            crew.finish().fold(fed, Result::and)
        })
    }

    /// Hands all pages to `each`, in order, and checks the image's digest at the end.
    pub(crate) fn in_order(
        &self,
        map: &PageMap,
        nodes: &mut Nodes<'_>,
        each: &mut dyn FnMut(&[u8]) -> Result<(), ReadBackError>,
    ) -> Result<(), ReadBackError> {
        let mut image = self.keyring.content_hasher();
        let mut opener = self.opener()?;
        let mut recent: VecDeque<(ExtentDigest, Vec<u8>)> = VecDeque::new();
        for index in 0..map.leaves() {
            let leaf = map.leaf(index, nodes)?;
            for number in 0..leaf.pages() {
                let used = leaf
                    .locate(leaf.first_page().saturating_add(number))
                    .ok_or(NodeError::Malformed)?;
                let digest = used.frame.digest;
                if !recent.iter().any(|(kept, _)| *kept == digest) {
                    let raw = std::mem::take(opener.open(&used)?);
                    if recent.len() >= RECENT_MAX {
                        recent.pop_front();
                    }
                    recent.push_back((digest, raw));
                }
                let kept = recent.iter().find(|(kept, _)| *kept == digest);
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
