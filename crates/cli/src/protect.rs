//! `keyhaven password` and `keyhaven key`.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use keyhaven::recovery::{RecoveryCard, RecoverySheet};

use crate::args::{KeyAction, PasswordAction};
use crate::failure::{Failure, Outcome};
use crate::ui;
use crate::world::World;

pub(crate) fn password(world: &World, action: &PasswordAction) -> Outcome {
    let haven = world.open()?;
    match action {
        PasswordAction::Set {
            vault,
            password_file,
        } => {
            let login = world
                .login(vault)?
                .ok_or_else(|| Failure::ask("say which vault keeps it, with --vault"))?;
            let file = password_file.as_deref();
            let password = world.password(file, "Choose a password for your backup", true)?;
            haven.set_password(&login, &password)?;
            world.voice.say("The password is set, and was proven once.");
        }
        PasswordAction::Change { password_file } => {
            let file = password_file.as_deref();
            let password = world.password(file, "Choose a new password", true)?;
            haven.change_password(&password)?;
            world
                .voice
                .say("The password is changed, and the new one was proven once.");
        }
        PasswordAction::Remove { yes } => {
            if !yes && ui::ask("Destroy the record at the vault? Type yes")? != "yes" {
                return Err(Failure::ask("nothing was changed"));
            }
            haven.remove_password()?;
            world
                .voice
                .say("The vault's record is destroyed. The 64-digit key opens your backup.");
        }
    }
    world.voice.answer(&serde_json::json!({ "ok": true }));
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn key(world: &World, action: &KeyAction) -> Outcome {
    let haven = world.open()?;
    let voice = world.voice;
    match action {
        KeyAction::Show => {
            let digits = haven.backup_key()?.digits();
            voice.warn("Whoever has these digits can read your backup.");
            for line in digits.lines() {
                voice.say(format!("    {}", *line));
            }
            voice.answer(&serde_json::json!({ "ok": true, "key": digits.to_string() }));
        }
        KeyAction::Check { recovery_key_file } => {
            let typed = world.digits(recovery_key_file.as_deref())?;
            let checked = haven.check_recovery_key(&typed)?;
            match &checked.corrected {
                None => voice.say("This is the key of your backup."),
                Some(slip) => {
                    voice.say(format!("Almost: {slip}. The key of your backup is:"));
                    for line in checked.key.digits().lines() {
                        voice.say(format!("    {}", *line));
                    }
                }
            }
            let corrected = checked.corrected;
            voice.answer(&serde_json::json!({ "ok": true, "corrected": corrected }));
        }
        KeyAction::Sheet { file } => {
            let sheet = RecoverySheet::of(&haven.backup_key()?).context("cannot draw the sheet")?;
            write_new(file, sheet.svg().as_bytes())?;
            voice.say(format!(
                "Print {} and delete it: it holds your key.",
                file.display()
            ));
            voice.answer(&serde_json::json!({ "ok": true, "file": file }));
        }
        KeyAction::Card { file } => {
            let mut card = RecoveryCard::new(&haven.config()?.store, haven.fingerprint()?)?;
            if let Some(login) = haven.login()? {
                card = card.with_vault(login.address().clone(), login.account().as_str())?;
            }
            let content = if file.extension().is_some_and(|ending| ending == "svg") {
                card.svg()?
            } else {
                card.text()
            };
            write_new(file, content.as_bytes())?;
            voice.say(format!(
                "{} says where to ask, and holds no secret.",
                file.display()
            ));
            voice.answer(&serde_json::json!({ "ok": true, "file": file }));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a file of mode 0600 that must not exist yet.
fn write_new(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot make {}", path.display()))?;
    file.write_all(bytes)?;
    Ok(file.sync_all()?)
}
