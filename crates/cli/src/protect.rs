//! `keyhaven key`.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use keyhaven::Exposure;
use keyhaven::recovery::{RecoveryCard, RecoverySheet};

use crate::args::KeyAction;
use crate::failure::Outcome;
use crate::ui::exposed_json;
use crate::world::World;

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
            haven.check_key_file(file)?;
            let sheet = RecoverySheet::of(&haven.backup_key()?).context("cannot draw the sheet")?;
            write_new(file, sheet.svg().as_bytes())?;
            let exposed = Vec::from_iter(Exposure::of(file));
            voice.exposed(&exposed);
            voice.say(format!(
                "Print {} and delete it: it holds your key.",
                file.display()
            ));
            voice.answer(&serde_json::json!({
                "ok": true,
                "file": file.to_string_lossy(),
                "exposed": exposed_json(&exposed),
            }));
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
            voice.answer(&serde_json::json!({ "ok": true, "file": file.to_string_lossy() }));
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
    file.sync_all()?;
    Ok(crate::ui::keep_name(path)?)
}
