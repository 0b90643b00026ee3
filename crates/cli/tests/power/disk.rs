//! A disk that can lose its power.
//!
//! It is told every change that a program makes to files, in their order, and keeps two states: how the program
//! sees its files, and what a disk has for certain. Between them lie effects that nothing has flushed yet. An
//! [`Image`] is what may be found when the power comes back: all that is certain, and of the effects those that a
//! [`Rule`] lets survive.
//!
//! What the model permits:
//!
//! - A write that no flush of its file covers survives whole, not at all, or in part: each sector of 512 bytes for itself.
//!   A lost sector holds what it held before; where it held nothing, zeros or any bytes. The file's length survives or not
//!   whatever becomes of the bytes, so a file comes up empty, short, or of its full length and without its bytes.
//! - A name survives only if its folder was flushed after it was made, renamed or removed. That a *file* was flushed makes no
//!   name of it certain (fsync(2)), nor does the flush of a folder make the folder's own name certain. Names that were not
//!   flushed survive in any mixture and order, also of one folder.
//! - A rename is one effect for what it replaces: under the new name is the old file or the new one. Its old name may still be
//!   there when the new one is (two folders are two flushes); never is the file gone from both. A flush of the old name's
//!   folder makes all of it certain.
//! - `syncfs` and `sync` make everything certain. What a flush of a file that failed covers is not certain, and no
//!   later flush makes it so, though it can be read until the power goes (Linux: Rebello et al., "Can Applications Recover from
//!   fsync Failures?", USENIX ATC 2020).
//! - Modes are certain at once: nothing that is checked hangs on them. Times are not kept.
//!
//! That is more than ext4, XFS and btrfs do on a sound disk: their journals keep the order of what happens to names,
//! and a flush of a new file takes its name along. It is what POSIX leaves open, and what was found in file systems of use by Pillai
//! et al., "All File Systems Are Not Created Equal" (OSDI 2014; ext2, ext3, ext4, btrfs, XFS, ReiserFS) and by Mohan et al.,
//! "Finding Crash-Consistency Bugs with Bounded Black-Box Crash Testing" (OSDI 2018; btrfs, F2FS). Not permitted: a sector that is half old
//! and half new, and damage to what was flushed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::image::{Entry, Image};
use crate::rule::{Choice, Rule};

/// What a disk writes at once.
pub(crate) const SECTOR: usize = 512;

/// What a program does to files. Paths are relative to the watched folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change {
    /// A new, empty file.
    Make { path: PathBuf, mode: u32 },
    /// A new folder.
    MakeFolder { path: PathBuf, mode: u32 },
    /// Bytes in a file.
    Write {
        path: PathBuf,
        at: usize,
        bytes: Vec<u8>,
    },
    /// Another length of a file.
    Length { path: PathBuf, len: usize },
    /// Another mode of a file or folder.
    Mode { path: PathBuf, mode: u32 },
    /// Another name, in place of what had it.
    Rename { from: PathBuf, to: PathBuf },
    /// A file or an empty folder is removed.
    Remove { path: PathBuf },
    /// A file or folder is made certain.
    Flush { path: PathBuf },
    /// Everything is.
    FlushAll,
    /// A file could not be made certain.
    FlushFails { path: PathBuf },
    /// Nothing could.
    FlushAllFails,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Make { path, .. } => write!(f, "make {}", path.display()),
            Self::MakeFolder { path, .. } => write!(f, "make folder {}", path.display()),
            Self::Write { path, at, bytes } => {
                let end = at + bytes.len();
                write!(f, "write {} from {at} to {end}", path.display())
            }
            Self::Length { path, len } => write!(f, "cut or extend {} to {len}", path.display()),
            Self::Mode { path, mode } => write!(f, "mode of {} {mode:o}", path.display()),
            Self::Rename { from, to } => {
                write!(f, "rename {} to {}", from.display(), to.display())
            }
            Self::Remove { path } => write!(f, "remove {}", path.display()),
            Self::Flush { path } => write!(f, "flush {}", path.display()),
            Self::FlushAll => write!(f, "flush everything"),
            Self::FlushFails { path } => write!(f, "a flush of {} that fails", path.display()),
            Self::FlushAllFails => write!(f, "a flush of everything that fails"),
        }
    }
}

/// A file or folder, whatever its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Node(usize);

#[derive(Clone, Debug)]
struct File {
    now: Rc<Vec<u8>>,
    certain: Rc<Vec<u8>>,
    /// What leads from the one to the other.
    edits: Vec<(Held, Edit)>,
}

/// How an edit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// The next flush makes it certain.
    Open,
    /// A flush failed over it: what reads the file still sees it, and no flush brings it to the disk any more.
    Dropped,
    /// It was flushed, and stands on one that was dropped.
    Certain,
}

#[derive(Clone, Debug)]
enum Edit {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Clone, Debug, Default)]
struct Folder {
    now: BTreeMap<OsString, Node>,
    certain: BTreeMap<OsString, Node>,
    steps: Vec<Step>,
}

/// What becomes of a name.
#[derive(Clone, Debug)]
struct Step {
    name: OsString,
    node: Option<Node>,
    /// Which rename it is half of.
    rename: Option<usize>,
}

#[derive(Clone, Debug)]
enum Kind {
    File(File),
    Folder(Folder),
}

/// See the file's head.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    nodes: Vec<(Kind, u32)>,
    renames: usize,
}

const ROOT: Node = Node(0);

impl Disk {
    /// A disk on which all of this is certain.
    pub(crate) fn holding(image: &Image) -> Self {
        let mut disk = Self {
            nodes: vec![(Kind::Folder(Folder::default()), 0o700)],
            renames: 0,
        };
        for (path, entry) in image.entries() {
            match entry {
                Entry::Folder { mode } => {
                    let folder = Kind::Folder(Folder::default());
                    disk.make(path, folder, *mode);
                }
                Entry::File { mode, bytes } => {
                    let file = File {
                        now: Rc::clone(bytes),
                        certain: Rc::clone(bytes),
                        edits: Vec::new(),
                    };
                    disk.make(path, Kind::File(file), *mode);
                }
            }
        }
        disk.flush_all();
        disk
    }

    /// The next thing that the program does.
    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Make { path, mode } => {
                let file = File {
                    now: Rc::default(),
                    certain: Rc::default(),
                    edits: Vec::new(),
                };
                self.make(path, Kind::File(file), *mode);
            }
            Change::MakeFolder { path, mode } => {
                self.make(path, Kind::Folder(Folder::default()), *mode);
            }
            Change::Write { path, at, bytes } => {
                let file = self.file(path);
                let now = Rc::make_mut(&mut file.now);
                put(now, *at, bytes);
                let (at, bytes) = (*at, bytes.clone());
                file.edits.push((Held::Open, Edit::Write { at, bytes }));
            }
            Change::Length { path, len } => {
                let file = self.file(path);
                Rc::make_mut(&mut file.now).resize(*len, 0);
                file.edits.push((Held::Open, Edit::Length(*len)));
            }
            Change::Mode { path, mode } => {
                let node = self.find(path);
                self.nodes[node.0].1 = *mode;
            }
            Change::Rename { from, to } => {
                let node = self.find(from);
                self.renames += 1;
                let rename = Some(self.renames);
                self.step(to, Some(node), rename);
                self.step(from, None, rename);
            }
            Change::Remove { path } => self.step(path, None, None),
            Change::Flush { path } => {
                let node = self.find(path);
                self.flush(node);
            }
            Change::FlushAll => self.flush_all(),
            Change::FlushFails { path } => {
                let node = self.find(path);
                self.drop_what_is_open(node);
            }
            Change::FlushAllFails => {
                for node in 0..self.nodes.len() {
                    self.drop_what_is_open(Node(node));
                }
            }
        }
    }

    /// How many effects are not certain.
    pub(crate) fn pending(&self) -> usize {
        let all = self.reachable().into_iter();
        all.map(|node| match &self.nodes[node.0].0 {
            Kind::File(file) => {
                let edits = file.edits.iter();
                edits.filter(|(held, _)| *held != Held::Certain).count()
            }
            Kind::Folder(folder) => folder.steps.len(),
        })
        .sum()
    }

    /// What may be found if the power goes now.
    pub(crate) fn image(&self, rule: Rule) -> Image {
        let mut choice = Choice::new(rule);
        let reachable = self.reachable();
        let mut survive: BTreeMap<Node, Vec<bool>> = BTreeMap::new();
        let mut lost_renames = BTreeSet::new();
        for &node in &reachable {
            if let Kind::Folder(folder) = &self.nodes[node.0].0 {
                let drawn = folder.steps.iter().map(|step| {
                    let survives = choice.name();
                    if step.node.is_some() && !survives {
                        lost_renames.extend(step.rename);
                    }
                    survives
                });
                survive.insert(node, drawn.collect());
            }
        }
        let mut files = BTreeMap::new();
        for &node in &reachable {
            if let Kind::File(file) = &self.nodes[node.0].0 {
                files.insert(node, file.after(&mut choice));
            }
        }
        let mut image = Image::default();
        let mut open = vec![(PathBuf::new(), ROOT)];
        while let Some((at, node)) = open.pop() {
            let Kind::Folder(folder) = &self.nodes[node.0].0 else {
                continue;
            };
            let mut names = folder.certain.clone();
            for (step, survives) in folder.steps.iter().zip(&survive[&node]) {
                let is_left = step.node.is_none()
                    && step
                        .rename
                        .is_some_and(|rename| lost_renames.contains(&rename));
                if *survives && !is_left {
                    set(&mut names, step);
                }
            }
            for (name, node) in names {
                let path = at.join(name);
                let (kind, mode) = &self.nodes[node.0];
                let mode = *mode;
                match kind {
                    Kind::File(_) => {
                        let bytes = Rc::clone(&files[&node]);
                        image.insert(path, Entry::File { mode, bytes });
                    }
                    Kind::Folder(_) => {
                        image.insert(path.clone(), Entry::Folder { mode });
                        open.push((path, node));
                    }
                }
            }
        }
        image
    }

    /// All that a name leads to or may lead to, in the order in which they were made.
    fn reachable(&self) -> BTreeSet<Node> {
        let mut found = BTreeSet::from([ROOT]);
        let mut open = vec![ROOT];
        while let Some(node) = open.pop() {
            if let Kind::Folder(folder) = &self.nodes[node.0].0 {
                let steps = folder.steps.iter().filter_map(|step| step.node);
                for node in folder.certain.values().copied().chain(steps) {
                    if found.insert(node) {
                        open.push(node);
                    }
                }
            }
        }
        found
    }

    fn find(&self, path: &Path) -> Node {
        path.iter().fold(ROOT, |node, name| {
            let Kind::Folder(folder) = &self.nodes[node.0].0 else {
                panic!("{}: a file is no folder", path.display());
            };
            let found = folder.now.get(name);
            *found.unwrap_or_else(|| panic!("{} was never made", path.display()))
        })
    }

    fn file(&mut self, path: &Path) -> &mut File {
        let node = self.find(path);
        match &mut self.nodes[node.0].0 {
            Kind::File(file) => file,
            Kind::Folder(_) => panic!("{} is a folder", path.display()),
        }
    }

    fn make(&mut self, path: &Path, kind: Kind, mode: u32) {
        self.nodes.push((kind, mode));
        let node = Node(self.nodes.len() - 1);
        self.step(path, Some(node), None);
    }

    fn step(&mut self, path: &Path, node: Option<Node>, rename: Option<usize>) {
        let parent = self.find(path.parent().unwrap());
        let Kind::Folder(folder) = &mut self.nodes[parent.0].0 else {
            panic!("{} is not in a folder", path.display());
        };
        let step = Step {
            name: path.file_name().unwrap().to_owned(),
            node,
            rename,
        };
        set(&mut folder.now, &step);
        folder.steps.push(step);
    }

    fn flush(&mut self, node: Node) {
        match &mut self.nodes[node.0].0 {
            Kind::File(file) if file.edits.iter().any(|(held, _)| *held == Held::Dropped) => {
                file.turn(Held::Open, Held::Certain);
            }
            Kind::File(file) => {
                file.certain = Rc::clone(&file.now);
                file.edits.clear();
            }
            Kind::Folder(folder) => {
                folder.certain = folder.now.clone();
                let steps = std::mem::take(&mut folder.steps);
                let whole: BTreeSet<usize> = steps
                    .iter()
                    .filter(|step| step.node.is_none())
                    .filter_map(|step| step.rename)
                    .collect();
                self.finish_renames(&whole);
            }
        }
    }

    /// A name that could not be flushed is flushed the next time; a file system that fails there takes no more.
    fn drop_what_is_open(&mut self, node: Node) {
        if let Kind::File(file) = &mut self.nodes[node.0].0 {
            file.turn(Held::Open, Held::Dropped);
        }
    }

    /// Makes the new names of these certain, wherever they are.
    fn finish_renames(&mut self, whole: &BTreeSet<usize>) {
        let is_whole = |step: &Step| step.rename.is_some_and(|rename| whole.contains(&rename));
        for (kind, _) in &mut self.nodes {
            if let Kind::Folder(folder) = kind {
                let steps = std::mem::take(&mut folder.steps);
                for step in steps {
                    if step.node.is_some() && is_whole(&step) {
                        set(&mut folder.certain, &step);
                    } else {
                        folder.steps.push(step);
                    }
                }
            }
        }
    }

    fn flush_all(&mut self) {
        for node in 0..self.nodes.len() {
            self.flush(Node(node));
        }
    }
}

fn set(names: &mut BTreeMap<OsString, Node>, step: &Step) {
    match step.node {
        Some(node) => names.insert(step.name.clone(), node),
        None => names.remove(&step.name),
    };
}

fn put(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[at..end].copy_from_slice(bytes);
}

impl File {
    fn turn(&mut self, from: Held, to: Held) {
        for (held, _) in &mut self.edits {
            if *held == from {
                *held = to;
            }
        }
    }

    /// What is left of it.
    fn after(&self, choice: &mut Choice) -> Rc<Vec<u8>> {
        if self.edits.is_empty() {
            return Rc::clone(&self.certain);
        }
        let mut content = (*self.certain).clone();
        let mut len = content.len();
        for (held, edit) in &self.edits {
            match edit {
                Edit::Length(new) if *held == Held::Certain => {
                    content.truncate(*new);
                    len = *new;
                }
                Edit::Write { at, bytes } if *held == Held::Certain => {
                    put(&mut content, *at, bytes);
                    len = len.max(at + bytes.len());
                }
                Edit::Length(new) => {
                    if choice.length() {
                        content.truncate(*new);
                        len = *new;
                    }
                }
                Edit::Write { at, bytes } => {
                    let mut write = choice.write();
                    let (mut done, mut survivor) = (0, false);
                    while done < bytes.len() {
                        let from = at + done;
                        let to = (from / SECTOR + 1) * SECTOR;
                        let piece = &bytes[done..bytes.len().min(to - at)];
                        if write.sector() {
                            put(&mut content, from, piece);
                            survivor = true;
                        } else if from >= self.certain.len()
                            && let Some(any) = write.any_bytes(piece.len())
                        {
                            put(&mut content, from, &any);
                        }
                        done += piece.len();
                    }
                    let end = at + bytes.len();
                    if end > len && write.length(survivor) {
                        len = end;
                    }
                }
            }
        }
        content.resize(len, 0);
        Rc::new(content)
    }
}
