//! What befalls the local state of a device.

use std::path::{Path, PathBuf};

use super::chance::{Chance, Pick};
use super::plan::Spoil;
use super::world::{Held, World};

impl World {
    /// The power goes: of the store, and of the device.
    pub(super) fn lose_power(&mut self, on: usize, noise: u64) -> Held {
        if self.disk.lose_power(noise) > 0 {
            self.meet("a loss of power takes from the store");
        }
        let mut chance = Chance::new(noise);
        for file in spoilable(&self.devices[on].home) {
            let name = file.to_string_lossy();
            // The others are on the disk before anything builds on them, and objects of the spool before they have a name.
            let is_flushed = ["/contents", "/shadow/", "/spool/"]
                .iter()
                .any(|one| name.contains(one));
            match chance.below(4) {
                0 if !is_flushed => std::fs::remove_file(&file).unwrap(),
                1 if !is_flushed => cut(&file, Pick::draw(&mut chance)),
                _ => {}
            }
        }
        self.holds()?;
        match self.devices[on].knows.clone() {
            Some(name) => self.gives(on, &name),
            None => Ok(()),
        }
    }

    pub(super) fn spoil(&mut self, on: usize, spoil: Spoil) {
        let device = &mut self.devices[on];
        let files = spoilable(&device.home);
        match spoil {
            Spoil::Everything => {
                if std::fs::remove_dir_all(device.home.join("state")).is_ok() {
                    device.knows = None;
                    self.meet("all local state is gone");
                }
            }
            Spoil::Gone { file } => {
                if let Some(file) = file.of(&files) {
                    std::fs::remove_file(file).unwrap();
                    self.meet("a file of local state is gone");
                }
            }
            Spoil::Flipped { file, at, bits } => {
                if let Some(file) = file.of(&files) {
                    let mut bytes = std::fs::read(file).unwrap();
                    if let Some(at) = at.index(bytes.len()) {
                        bytes[at] ^= bits;
                    }
                    std::fs::write(file, bytes).unwrap();
                    self.meet("a bit of local state is another");
                }
            }
            Spoil::Cut { file, at } => {
                if let Some(file) = file.of(&files) {
                    cut(file, at);
                    self.meet("a file of local state is cut");
                }
            }
        }
    }
}

/// The files of local state that can be deleted without loss.
fn spoilable(home: &Path) -> Vec<PathBuf> {
    let state = home.join("state");
    let mut open = vec![state.clone()];
    let mut all = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let is_kept = ["newest", "lock", "vault"]
                .iter()
                .any(|kept| path == state.join(kept));
            if path.is_dir() {
                open.push(path);
            } else if !is_kept {
                all.push(path);
            }
        }
    }
    all.sort();
    all
}

fn cut(file: &Path, at: Pick) {
    let len = std::fs::metadata(file).unwrap().len();
    let to = at.index(len as usize).unwrap_or(0) as u64;
    let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
    file.set_len(to).unwrap();
}
