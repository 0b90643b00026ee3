//! One folder of a walk: its names, and what stands under each.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, openat, readlinkat, statat};

use crate::item::{Regular, SkipReason};
use crate::key::PathKey;
use crate::leveldb::LevelDb;
use crate::names::{CutOff, Names};
use crate::sniff::{Companions, Content, Siblings};
use crate::stat::Stat;
use crate::walk::Rules;

/// What stands under one name.
pub(crate) enum Seen {
    Regular(Regular),
    Dir(Stat),
    Symlink(Stat, OsString),
    /// A log, index or journal: part of the database beside it.
    Companion,
}

/// A folder that is being walked.
#[derive(Debug)]
pub(crate) struct Folder {
    fd: OwnedFd,
    pub(crate) key: Option<PathKey>,
    path: PathBuf,
    names: Names,
    /// Whether its files belong together in a database that we cannot read.
    pub(crate) leveldb: Option<LevelDb>,
    /// The databases of this folder that have companions, so that those can be told; and what has companions and cannot be
    /// looked at.
    databases: BTreeSet<Vec<u8>>,
}

impl Folder {
    pub(crate) fn list(
        fd: OwnedFd,
        key: Option<PathKey>,
        path: PathBuf,
        rules: &Rules,
    ) -> Result<Self, SkipReason> {
        let reason = |error: rustix::io::Errno| SkipReason::from_io(&error.into());
        // The stat before the names: what comes or goes after it changes it.
        let stat = Stat::from(&fstat(&fd).map_err(reason)?);
        let names = Names::list(&fd, rules.names_bytes_max).map_err(reason)?;
        let leveldb = LevelDb::recognise(&fd, key.as_ref(), &path, stat, &names);
        Ok(Self {
            fd,
            key,
            path,
            names,
            leveldb,
            databases: BTreeSet::new(),
        })
    }

    pub(crate) fn enter(
        &self,
        name: &[u8],
        key: &PathKey,
        stat: &Stat,
        rules: &Rules,
    ) -> Result<Self, SkipReason> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let reason = |error: rustix::io::Errno| SkipReason::from_io(&error.into());
        let fd = openat(&self.fd, name, flags, Mode::empty()).map_err(reason)?;
        let opened = Stat::from(&rustix::fs::fstat(&fd).map_err(reason)?);
        if !opened.is_same_file(stat) {
            return Err(SkipReason::Replaced);
        }
        Self::list(
            fd,
            Some(key.clone()),
            self.path.join(OsStr::from_bytes(name)),
            rules,
        )
    }

    /// The next name in order.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, CutOff> {
        self.names.next(&self.fd)
    }

    /// What stands under a name.
    ///
    /// BACKUP-1: what an older backup has of a name that cannot be looked at stays. Beside it a log or journal of now would make a
    /// state that never was, so those are no items either.
    pub(crate) fn look(
        &mut self,
        name: &[u8],
        key: &PathKey,
        rules: &Rules,
    ) -> Result<Seen, SkipReason> {
        let seen = self.see(name, key, rules);
        if seen.is_err() && Companions::of(name, &self.names).any() {
            self.databases.insert(name.to_vec());
        }
        seen
    }

    fn see(&mut self, name: &[u8], key: &PathKey, rules: &Rules) -> Result<Seen, SkipReason> {
        let reason = |error: rustix::io::Errno| SkipReason::from_io(&error.into());
        let raw = match statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            // A journal is gone with each commit. Its database tells what that means.
            Err(rustix::io::Errno::NOENT) if self.is_companion(name) => return Ok(Seen::Companion),
            raw => raw.map_err(reason)?,
        };
        let stat = Stat::from(&raw);
        match FileType::from_raw_mode(raw.st_mode) {
            FileType::RegularFile => self.regular(name, key, stat, rules),
            FileType::Directory => Ok(Seen::Dir(stat)),
            FileType::Symlink => {
                let target = readlinkat(&self.fd, name, Vec::new()).map_err(reason)?;
                Ok(Seen::Symlink(stat, OsString::from_vec(target.into_bytes())))
            }
            FileType::Fifo => Err(SkipReason::Pipe),
            FileType::Socket => Err(SkipReason::Socket),
            FileType::CharacterDevice | FileType::BlockDevice => Err(SkipReason::Device),
            FileType::Unknown => Err(SkipReason::UnknownType),
        }
    }

    fn regular(
        &mut self,
        name: &[u8],
        key: &PathKey,
        stat: Stat,
        rules: &Rules,
    ) -> Result<Seen, SkipReason> {
        if self.is_companion(name) {
            return Ok(Seen::Companion);
        }
        if self
            .leveldb
            .as_ref()
            .is_some_and(|leveldb| !leveldb.is_quiet)
        {
            return Err(SkipReason::InUse);
        }
        let companions = Companions::of(name, &self.names);
        let path = self.path.join(OsStr::from_bytes(name));
        // Only where a companion stands beside it must the content be known now, to tell whether
        // the companion is an item of its own. That is rare, so that a folder of photos costs none.
        let known = if rules.supplied.contains(key) {
            Some(Content::Supplied)
        } else if companions.any() {
            Some(crate::sniff::sniff(&path, &stat, companions)?)
        } else {
            None
        };
        if companions.any() && known.is_some_and(|content| content != Content::File) {
            self.databases.insert(name.to_vec());
        }
        Ok(Seen::Regular(Regular {
            key: key.clone(),
            stat,
            path,
            companions,
            known,
        }))
    }

    fn is_companion(&self, name: &[u8]) -> bool {
        crate::sniff::owner_of(name).is_some_and(|owner| self.databases.contains(owner))
    }
}

impl Siblings for Names {
    fn has(&self, name: &[u8]) -> bool {
        self.told(name)
    }

    fn may_have_companions(&self) -> bool {
        self.has_companion_names()
    }
}
