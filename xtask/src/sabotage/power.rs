//! The planted bugs of what outlives a loss of power: each is found by the recorded runs of the command.

use super::switches::Switch;

const FILES: &str = "crates/keyhaven/src/files.rs";
const FOOTING: &str = "crates/keyhaven/src/footing.rs";
const TAKE_UP: &str = "crates/keyhaven/src/engine/take_up.rs";
const COMMIT: &str = "crates/keyhaven/src/engine/backup.rs";
const SHADOWS: &str = "crates/keyhaven/src/engine/rows.rs";
const FOLDER: &str = "crates/keyhaven/src/store/folder/mod.rs";
const SYNCER: &str = "crates/keyhaven/src/store/folder/syncer.rs";
const STORE: &str = "crates/keyhaven/src/setup/store.rs";
const TARGET: &str = "crates/keyhaven/src/engine/target.rs";
const RESTORE: &str = "crates/keyhaven/src/engine/restore.rs";
const RESTORE_DATABASE: &str = "crates/keyhaven/src/engine/restore/database.rs";
const SETUP: &str = "crates/cli/src/setup.rs";
const BEGUN: &str = "crates/keyhaven/src/setup.rs";
const LINK: &str = "crates/keyhaven/src/vault.rs";
const PASSWORD: &str = "crates/keyhaven/src/password.rs";
const PROTECT: &str = "crates/keyhaven/src/protect.rs";
const REGISTER: &str = "crates/vault-client/src/register.rs";

pub(super) const POWER: &[Switch] = &[
    Switch {
        name: "power: a small file has its name before its bytes are on the disk",
        file: FILES,
        sound: "    file.sync_all()?;
    std::fs::rename(&temporary, path)?;",
        broken: "    std::fs::rename(&temporary, path)?;",
    },
    Switch {
        name: "power: the name of a replaced file is not flushed",
        file: FILES,
        sound: "    std::fs::rename(&temporary, path)?;
    sync_folder(folder)",
        broken: "    std::fs::rename(&temporary, path)",
    },
    Switch {
        name: "power: the name of a new folder is not flushed",
        file: FILES,
        sound: "    create_folder(folder)?;
    std::fs::set_permissions(",
        broken: "    std::fs::create_dir_all(folder)?;
    std::fs::set_permissions(",
    },
    Switch {
        name: "power: contents are remembered before they are durable",
        file: COMMIT,
        sound: "        self.access.store.flush()?;
        self.contents.keep_sent(None)?;",
        broken: "        self.contents.keep_sent(None)?;
        self.access.store.flush()?;",
    },
    Switch {
        name: "power: the mark of a shadow may come back",
        file: SHADOWS,
        sound: "removed => removed.and_then(|()| files::sync_folder(&self.folder)),",
        broken: "removed => removed,",
    },
    Switch {
        name: "power: what a killed run left is built on before it is flushed",
        file: FOLDER,
        sound: "        found.into_iter().for_each(|folder| syncer.touch(folder));",
        broken: "        drop(found);",
    },
    Switch {
        name: "power: the name of a pack that a killed run left is not flushed",
        file: TAKE_UP,
        sound: "    there.values().try_for_each(|path| store.adopt(path))?;
",
        broken: "",
    },
    Switch {
        name: "power: a backup that a killed run left is told to be safe",
        file: FOOTING,
        sound: "        if !matches!(state, State::Known) {",
        broken: "        if false {",
    },
    Switch {
        name: "power: a store's folders are not flushed",
        file: SYNCER,
        sound: "if let Err(errno) = self.shared.flush_folder(folder) {",
        broken: "if let Err(errno) = Ok::<(), Errno>({ let _ = folder; }) {",
    },
    Switch {
        name: "power: the first snapshot of a store may be there without the marker",
        file: STORE,
        sound: "            store.flush()?;
            first_snapshot(",
        broken: "            first_snapshot(",
    },
    Switch {
        name: "power: the name of the file with the 64 digits is not flushed",
        file: SETUP,
        sound: "            ui::keep_name(file).context(\"cannot write the 64 digits\")?;
",
        broken: "",
    },
    Switch {
        name: "power: a restored file has its name before its bytes are on the disk",
        file: TARGET,
        sound: "        self.flush()?;
        Ok(files",
        broken: "        Ok(files",
    },
    Switch {
        name: "power: a large database has its name before its bytes are on the disk",
        file: TARGET,
        sound: "|| self.file.sync_all());",
        broken: "|| io::Result::Ok(()));",
    },
    Switch {
        name: "power: a restore ends before the names are on the disk",
        file: RESTORE,
        sound: "    meter.end();
    target.flush()?;
    Ok(report)",
        broken: "    meter.end();
    Ok(report)",
    },
    Switch {
        name: "power: beside a file that is there, what a restore left before its name stays",
        file: RESTORE_DATABASE,
        sound: "            let cleared = target.clear(key);
            cleared.map_err",
        broken: "            let cleared = Ok(());
            cleared.map_err",
    },
    Switch {
        name: "power: what a vault is told is not on the disk before",
        file: LINK,
        sound: "files::replace(&self.path(slot), entry, Mode::Private)",
        broken: "std::fs::write(self.path(slot), entry)",
    },
    Switch {
        name: "power: the seed of a guess is not on the disk before the guess",
        file: LINK,
        sound: ".and_then(|()| files::replace(&self.path(slot), entry, Mode::Private))",
        broken: ".and_then(|()| match slot {
                Slot::Guess => std::fs::write(self.path(slot), entry),
                Slot::Registration | Slot::Change => files::replace(&self.path(slot), entry, Mode::Private),
            })",
    },
    Switch {
        name: "power: a registration is not written down before it is sent",
        file: REGISTER,
        sound: "        journal.store(
            Slot::Registration,
            &codec::encode(&pending).map_err(encode)?,
        )?;
",
        broken: "",
    },
    Switch {
        name: "power: a device is set up before it has its key",
        file: PROTECT,
        sound: "    keystore.save(Item::BackupKey, key.expose())?;
    home.save_config(config)?;",
        broken: "    home.save_config(config)?;
    keystore.save(Item::BackupKey, key.expose())?;",
    },
    Switch {
        name: "power: a password is registered for a device that does not keep its key",
        file: BEGUN,
        sound: "        self.keystore.save(Item::DeviceKey, self.device.expose())?;
        let registering",
        broken: "        let registering",
    },
    Switch {
        name: "power: what is known of a vault comes back when its record is destroyed",
        file: LINK,
        sound: "        flush_cleared(&self.journal.folder)
",
        broken: "        Ok(())
",
    },
    Switch {
        name: "power: a removal that was cut off leaves the login",
        file: PASSWORD,
        sound: "            true => self.remove_login(),",
        broken: "            true => Err(OpenError::NoPassword.into()),",
    },
    Switch {
        name: "power: a set-up whose last flush failed removes the 64 digits",
        file: SETUP,
        sound: ".filter(|_| !is_set_up)",
        broken: ".filter(|_| !is_set_up || true)",
    },
];
