//! The planted bugs of a start of the vault's host after a flush that failed: each is found by the tests that fail
//! flushes and then cut the power.

use super::switches::Switch;

const CERTAIN: &str = "crates/vault-store/src/certain.rs";
const ENGINE: &str = "crates/vault-store/src/redb_engine.rs";
const MACHINE: &str = "crates/vault-node/src/machine.rs";
const MEMORY: &str = "crates/vault-node/src/memory_file.rs";
const TAIL: &str = "crates/vault-node/src/tail_folder.rs";
const FOLDER: &str = "crates/vault-node/src/folder.rs";

pub(super) const START: &[Switch] = &[
    Switch {
        name: "start: a store that nobody has closed is opened as it is",
        file: CERTAIN,
        sound: "    if !was_left_open(medium)? {",
        broken: "    if true || !was_left_open(medium)? {",
    },
    Switch {
        name: "start: a store is read and flushed again, and not written",
        file: CERTAIN,
        sound: "        medium.write(at, &bytes)?;
",
        broken: "",
    },
    Switch {
        name: "start: a store is written again and not flushed",
        file: CERTAIN,
        sound: "    medium.sync_data()
}",
        broken: "    Ok(())
}",
    },
    Switch {
        name: "start: another flag is taken for that of a store that nobody has closed",
        file: CERTAIN,
        sound: "const OPEN: u8 = 2;",
        broken: "const OPEN: u8 = 4;",
    },
    Switch {
        name: "start: a store of which an append failed is read back",
        file: ENGINE,
        sound: "        if self.failed.load(Ordering::Acquire) {",
        broken: "        if false && self.failed.load(Ordering::Acquire) {",
    },
    Switch {
        name: "start: the core's memory is not written again",
        file: MACHINE,
        sound: "    MemoryFile::make_certain(&fleet.memory())?;
",
        broken: "",
    },
    Switch {
        name: "start: the core's memory is flushed again, and not written",
        file: MEMORY,
        sound: "        folder::replace(path, &folder::read_private(path)?)",
        broken: "        std::fs::File::open(path).and_then(|file| file.sync_all()).map_err(FolderError::at(\"cannot flush\", path))",
    },
    Switch {
        name: "start: the newest segment of a tail is not written again",
        file: TAIL,
        sound: "        folder.write(again)?;
",
        broken: "        drop((again, &mut folder));
",
    },
    Switch {
        name: "start: a tail that was given up may come back",
        file: TAIL,
        sound: "                File::open(parent)?.sync_all()?;
",
        broken: "                let _ = parent;
",
    },
    Switch {
        name: "start: the name of the fleet's folder is not flushed",
        file: MACHINE,
        sound: "        fleet.make_name_certain()?;
",
        broken: "",
    },
    Switch {
        name: "start: the name of a data folder that is there is not flushed",
        file: FOLDER,
        sound: "        make_folder(&self.root, true)?;
        make_names_certain(&self.root)",
        broken: "        make_folder(&self.root, true)",
    },
    Switch {
        name: "start: a file that is replaced has its name before its bytes are on the disk",
        file: FOLDER,
        sound: "        file.sync_all()?;
        fs::rename(",
        broken: "        fs::rename(",
    },
    Switch {
        name: "start: the name of a file that is replaced is not flushed",
        file: FOLDER,
        sound: "        Some(parent) => sync_folder(parent),
        None",
        broken: "        Some(_) | None",
    },
];
