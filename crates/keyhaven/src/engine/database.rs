//! Databases into packs: one commit's pages, only those that changed.
//!
//! BACKUP-1: the pages come from one read transaction of the source, and all of them are read, so
//! what is stored is one committed state. BACKUP-2: the transaction ends when the last page has
//! been taken; nothing here waits for the network while it is open, since the outbox of a remote
//! store writes to the device's spool.

use std::ops::ControlFlow;

use keyhaven_repo::compress::Squeezer;
use keyhaven_repo::hash::{ContentId, ExtentDigest};
use keyhaven_repo::keyring::Keyring;
use keyhaven_repo::layout::{Extent, SizeClass};
use keyhaven_repo::node::{NodeError, NodeKind, NodeRef, NodeStore};
use keyhaven_repo::pack::{ExtentKind, PackBuilder, PackKind};
use keyhaven_repo::page_map::{PageDiffer, PageMap, PageStore};
use keyhaven_repo::rows::{Patch, PatchFrame};
use keyhaven_repo::vacated::Vacated;
use keyhaven_source::{DatabaseError, ImageShape, PageSink, PageSource, Signature};

use super::nodes::Nodes;
use super::outbox::Outbox;
use super::sent_log::{Left, SentLog};
use super::tails::Emptied;

/// zstd's level for pages: chat rows shrink to a third; higher levels cost more time than the disk.
const LEVEL: i32 = 3;
/// A patch is small and is sent once: a higher level costs a blink.
const PATCH_LEVEL: i32 = 15;
/// Up to so many bytes: of a longer one it would save a hundredth, and take 16 MiB.
const SMALL_PATCH_BYTES: usize = 512 << 10;

/// A database that the store has now.
pub(crate) struct StoredDatabase {
    pub(crate) pages: PageMap,
    /// By rows, the patches on these pages.
    pub(crate) rows: Option<NodeRef>,
    pub(crate) signature: Vec<u8>,
    /// Whether everything was stored anew although an older map was there.
    pub(crate) new_base: bool,
}

/// Why a database was not stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PagesError {
    /// The source's fault: it is reported, and the run goes on.
    #[error(transparent)]
    Source(#[from] DatabaseError),
    #[error(transparent)]
    Node(#[from] NodeError),
}

/// Puts frames of pages into Messages packs.
pub(crate) struct FrameWriter<'a> {
    outbox: &'a Outbox,
    open: Option<PackBuilder>,
    full: SizeClass,
    /// Pages that lie here are stored again.
    vacated: Vacated,
    /// How large packs become while little is written.
    full_of_changes: SizeClass,
    squeezer: Option<Squeezer>,
    log: &'a SentLog,
    /// What a run that was killed had sent already.
    left: &'a Left,
    /// What was put into packs, before their padding.
    sealed_bytes: u64,
    /// Frames of pages in the open pack.
    unsent: Vec<(ExtentDigest, Extent)>,
}

impl<'a> FrameWriter<'a> {
    pub(crate) fn new(
        outbox: &'a Outbox,
        log: &'a SentLog,
        left: &'a Left,
    ) -> Result<Self, NodeError> {
        let squeezer = Some(Squeezer::new(LEVEL)?);
        Ok(Self {
            outbox,
            log,
            left,
            sealed_bytes: 0,
            unsent: Vec::new(),
            open: None,
            full: SizeClass::Mib8,
            vacated: Vacated::default(),
            full_of_changes: SizeClass::Mib4,
            squeezer,
        })
    }

    /// Bytes of all frames that were put into packs, sealed, without what the packs are padded with.
    pub(crate) fn sealed_bytes(&self) -> u64 {
        self.sealed_bytes
    }

    /// Stores again what lies in packs that are emptied; into packs of full length, if pages are among it.
    pub(crate) fn emptying(self, emptied: &Emptied) -> Self {
        let full_of_changes = if emptied.has(PackKind::Messages) {
            SizeClass::Mib8
        } else {
            self.full_of_changes
        };
        Self {
            vacated: emptied.vacated.clone(),
            full_of_changes,
            ..self
        }
    }

    /// Stores what changed of a database.
    pub(crate) fn store(
        &mut self,
        source: &mut dyn PageSource,
        old: Option<PageMap>,
        keyring: &Keyring,
        nodes: &mut Nodes<'_>,
    ) -> Result<StoredDatabase, PagesError> {
        let had_old = old.is_some();
        // A day's changes are some ten MiB: in packs of 8 MiB their padding would weigh as much as
        // a third of them.
        self.full = if had_old {
            self.full_of_changes
        } else {
            SizeClass::Mib8
        };
        let mut sink = Sink {
            frames: self,
            nodes,
            keyring,
            old,
            differ: None,
            failed: None,
        };
        let read = source.read_pages(&mut sink);
        let Sink { differ, failed, .. } = sink;
        if let Some(error) = failed {
            return Err(error.into());
        }
        let image = read?;
        let differ = differ.ok_or(NodeError::PageOutOfTurn)?;
        let new_base = had_old && differ.is_new_base();
        let pages = differ.finish(&mut Out {
            frames: self,
            nodes,
        })?;
        let signature = image
            .signature
            .as_ref()
            .map(Signature::encode)
            .unwrap_or_default();
        Ok(StoredDatabase {
            pages,
            rows: None,
            signature,
            new_base,
        })
    }

    /// Sends the last pack, however full it is.
    pub(crate) fn finish(&mut self) {
        if let Some(pack) = self.open.take()
            && !pack.is_empty()
        {
            self.send(pack);
        }
    }

    fn send(&mut self, pack: PackBuilder) {
        self.log.frames(&self.unsent);
        self.unsent.clear();
        self.outbox.send(pack);
    }

    /// Stores a patch of rows, which leads to `state`.
    pub(crate) fn store_patch(
        &mut self,
        patch: &[u8],
        state: ContentId,
        keyring: &Keyring,
    ) -> Result<Patch, NodeError> {
        self.full = SizeClass::Mib4;
        let id = |bytes: &[u8]| {
            let mut hasher = keyring.content_hasher();
            hasher.update(bytes);
            hasher.finish()
        };
        let is_small = patch.len() <= SMALL_PATCH_BYTES;
        let mut squeezer = Squeezer::new(if is_small { PATCH_LEVEL } else { LEVEL })?;
        let mut frames = Vec::new();
        for raw in super::rows::frames_of(patch) {
            let stored = squeezer.squeeze(raw)?;
            let digest = id(raw).extent_digest();
            frames.push(PatchFrame {
                extent: self.append(stored, ExtentKind::PatchFrame, digest)?,
                raw_len: u32::try_from(raw.len()).map_err(|_| NodeError::TooLong)?,
            });
        }
        Ok(Patch {
            content: id(patch),
            state,
            frames,
        })
    }

    fn save(&mut self, raw: &[u8], digest: ExtentDigest) -> Result<Extent, NodeError> {
        let sent = self.left.frame(&digest);
        if let Some(sent) = sent.filter(|sent| !self.vacated.holds(sent)) {
            return Ok(sent);
        }
        // Taken out while it lends its buffer.
        let mut squeezer = match self.squeezer.take() {
            Some(squeezer) => squeezer,
            None => Squeezer::new(LEVEL)?,
        };
        let extent = squeezer
            .squeeze(raw)
            .map_err(NodeError::from)
            .and_then(|stored| self.append(stored, ExtentKind::PageFrame, digest));
        self.squeezer = Some(squeezer);
        self.unsent
            .extend(extent.iter().map(|extent| (digest, *extent)));
        extent
    }

    fn append(
        &mut self,
        stored: &[u8],
        kind: ExtentKind,
        digest: ExtentDigest,
    ) -> Result<Extent, NodeError> {
        let is_full = |pack: &PackBuilder| usize::try_from(pack.room()).unwrap_or(0) < stored.len();
        if self.open.as_ref().is_some_and(is_full)
            && let Some(pack) = self.open.take()
        {
            self.send(pack);
        }
        let mut pack = match self.open.take() {
            Some(pack) => pack,
            None => {
                let begun = self.outbox.begin(PackKind::Messages)?;
                begun.limited_to(self.full)
            }
        };
        let extent = pack
            .append(stored, kind, digest)
            .ok_or(NodeError::TooLong)?;
        self.sealed_bytes = self.sealed_bytes.saturating_add(extent.len.into());
        self.open = Some(pack);
        Ok(extent)
    }
}

/// Frames and nodes, as the page differ wants them.
struct Out<'a, 'b, 'c> {
    frames: &'a mut FrameWriter<'b>,
    nodes: &'a mut Nodes<'c>,
}

impl NodeStore for Out<'_, '_, '_> {
    fn load(&mut self, node: &NodeRef) -> Result<Vec<u8>, NodeError> {
        self.nodes.load(node)
    }

    fn save(&mut self, kind: NodeKind, raw: &[u8]) -> Result<NodeRef, NodeError> {
        self.nodes.save(kind, raw)
    }
}

impl PageStore for Out<'_, '_, '_> {
    fn save_frame(&mut self, raw: &[u8], digest: ExtentDigest) -> Result<Extent, NodeError> {
        self.frames.save(raw, digest)
    }
}

/// Takes the pages of one image.
struct Sink<'a, 'b, 'c> {
    frames: &'a mut FrameWriter<'b>,
    nodes: &'a mut Nodes<'c>,
    keyring: &'a Keyring,
    old: Option<PageMap>,
    differ: Option<PageDiffer>,
    failed: Option<NodeError>,
}

impl Sink<'_, '_, '_> {
    fn note(&mut self, result: Result<(), NodeError>) -> ControlFlow<()> {
        match result {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }
}

impl PageSink for Sink<'_, '_, '_> {
    fn begin(&mut self, shape: ImageShape) -> ControlFlow<()> {
        // What an image before this one left in packs is named by nothing.
        let page_size = shape.page_size.bytes();
        let made = PageDiffer::new(self.keyring, self.old, page_size, shape.page_count);
        let vacated = self.frames.vacated.clone();
        let result = made.map(|differ| self.differ = Some(differ.vacating(vacated)));
        self.note(result)
    }

    fn page(&mut self, _number: u32, bytes: &[u8]) -> ControlFlow<()> {
        let Some(differ) = &mut self.differ else {
            return self.note(Err(NodeError::PageOutOfTurn));
        };
        let mut out = Out {
            frames: self.frames,
            nodes: self.nodes,
        };
        let result = differ.feed(bytes, &mut out);
        self.note(result)
    }
}
