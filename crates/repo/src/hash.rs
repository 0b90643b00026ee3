//! Keyed BLAKE3: ids of content, hashes of pages, digests of nodes.
//!
//! The keys are random, made once per store and outlive epochs: a rotation must not make every file
//! look new. Ids never stand outside sealed objects, and being keyed they let nobody who knows a
//! file look for it in another person's store.

use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

macro_rules! digest_newtype {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Wraps bytes that came out of a sealed object or a state file.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The bytes as they stand in the format.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            // BACKUP-3: an id in a log would let whoever reads it ask "is this the same file?".
            // Four bytes are enough to follow one through a trace of one run.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let [a, b, c, d, ..] = self.0;
                write!(f, concat!(stringify!($name), "({:02x}{:02x}{:02x}{:02x}…)"), a, b, c, d)
            }
        }
    };
}

digest_newtype! {
    /// The id of a file's whole content, or of a database's whole image.
    ContentId, 32
}
digest_newtype! {
    /// The hash of one database page.
    PageHash, 16
}
digest_newtype! {
    /// The digest of a node's raw bytes. Whoever refers to a node carries it, so a reference can
    /// only point at bytes that existed before it: no cycles.
    NodeDigest, 32
}
digest_newtype! {
    /// What a pack's table of contents says about an extent's bytes.
    ExtentDigest, 16
}

impl ContentId {
    /// The digest for the table of contents of an extent that holds this whole content.
    #[must_use]
    pub fn extent_digest(&self) -> ExtentDigest {
        self.0
            .first_chunk::<16>()
            .map_or(ExtentDigest::NONE, |head| ExtentDigest(*head))
    }
}

impl NodeDigest {
    /// The digest for the table of contents of the extent that holds this node.
    #[must_use]
    pub fn extent_digest(&self) -> ExtentDigest {
        self.0
            .first_chunk::<16>()
            .map_or(ExtentDigest::NONE, |head| ExtentDigest(*head))
    }
}

impl ExtentDigest {
    /// Not recorded: the extent is one part of a file that does not fit one pack, whose content id
    /// covers it.
    pub const NONE: Self = Self([0; 16]);
}

/// Hashes one content as its bytes come by.
#[derive(Clone)]
pub struct ContentHasher(blake3::Hasher);

impl ContentHasher {
    /// Takes the next bytes. Slices of 16 KiB and more are hashed at full speed.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// How many bytes it has taken.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.count()
    }

    /// Whether it has taken none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The id of what was taken so far.
    #[must_use]
    pub fn finish(&self) -> ContentId {
        ContentId(*self.0.finalize().as_bytes())
    }

    /// Forgets what was taken, for the next content.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

impl fmt::Debug for ContentHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentHasher({} bytes)", self.len())
    }
}

/// The key under which pages are hashed.
#[derive(Clone)]
pub struct PageKey(Box<Zeroizing<[u8; 32]>>);

impl PageKey {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(Box::new(Zeroizing::new(*key)))
    }

    /// The hash of one page.
    #[must_use]
    pub fn hash(&self, page: &[u8]) -> PageHash {
        let full = blake3::keyed_hash(&self.0, page);
        let mut out = [0; 16];
        for (slot, byte) in out.iter_mut().zip(full.as_bytes()) {
            *slot = *byte;
        }
        PageHash(out)
    }

    /// Whether a page is the one that was hashed.
    #[must_use]
    pub fn matches(&self, page: &[u8], hash: &PageHash) -> bool {
        bool::from(self.hash(page).0.ct_eq(&hash.0))
    }
}

impl fmt::Debug for PageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PageKey(redacted)")
    }
}

/// The keys for ids, derived from the store's one id key.
#[derive(Clone)]
pub(crate) struct IdKeys {
    content: Box<Zeroizing<[u8; 32]>>,
    node: Box<Zeroizing<[u8; 32]>>,
    shadow: Box<Zeroizing<[u8; 32]>>,
}

impl IdKeys {
    pub(crate) fn new(id_key: &[u8; 32]) -> Self {
        let derive = |context: &[u8]| {
            let key = blake3::keyed_hash(id_key, context);
            Box::new(Zeroizing::new(*key.as_bytes()))
        };
        Self {
            content: derive(b"keyhaven v1 content"),
            node: derive(b"keyhaven v1 node"),
            shadow: derive(b"keyhaven v1 shadow"),
        }
    }

    pub(crate) fn content_hasher(&self) -> ContentHasher {
        ContentHasher(blake3::Hasher::new_keyed(&self.content))
    }

    pub(crate) fn shadow_key(&self, salt: &[u8; 32]) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(*blake3::keyed_hash(&self.shadow, salt).as_bytes())
    }

    pub(crate) fn node_digest(&self, raw: &[u8]) -> NodeDigest {
        NodeDigest(*blake3::keyed_hash(&self.node, raw).as_bytes())
    }
}
