//! `keyhaven restore`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use keyhaven::{Fresh, Keyhaven, Lost, LostPart, Place, Recovery, RestoreOptions, Restored};
use keyhaven_secrets::Remedy;
use keyhaven_vault_client::Standing;

use crate::args;
use crate::failure::{Failure, Outcome, code, word};
use crate::interrupt::cancel_on_signals;
use crate::password::last_guess;
use crate::ui::{self, Voice};
use crate::world::World;

/// The exit code when something is missing or damaged.
pub(crate) const DAMAGED: u8 = 6;

pub(crate) fn run(world: &World, args: &args::Restore) -> Outcome {
    let haven = if keyhaven::home::Home::new(&world.home).is_set_up() {
        let haven = world.open()?;
        is_the_same(&haven.config()?.store, args.store.as_deref())?;
        haven
    } else {
        recover(world, args)?
    };
    let begun = Instant::now();
    let options = RestoreOptions {
        path: args.path.clone(),
        snapshot: args.snapshot.clone(),
        overwrite: args.overwrite,
        cancel: cancel_on_signals()?,
    };
    let mut show = world.voice.observer();
    let restored = haven.restore(&args.to, &options, &mut show)?;
    drop(show);
    tell(world.voice, &restored, args.path.is_none(), begun.elapsed());
    world.voice.answer(&answer(&restored, begun.elapsed()));
    Ok(match &restored.report.lost[..] {
        [] if restored.unreadable.is_empty() => ExitCode::SUCCESS,
        [] => ExitCode::from(DAMAGED),
        lost if lost.iter().all(may_come_back) => ExitCode::from(code(Remedy::RetryLater)),
        _ => ExitCode::from(DAMAGED),
    })
}

fn may_come_back(lost: &Lost) -> bool {
    lost.remedy == Remedy::RetryLater
}

/// A restore that is begun again names the store that it named before. Another one wants a home of
/// its own: what is set up here would be restored in its stead.
fn is_the_same(known: &str, given: Option<&str>) -> Result<(), Failure> {
    match given {
        Some(given) if Place::parse(given)?.address() != known => Err(Failure::ask(format!(
            "this device is set up with the store {known}; to restore from {given}, give a new home \
             with --home"
        ))),
        Some(_) | None => Ok(()),
    }
}

/// A new device: gets the key back first.
fn recover(world: &World, args: &args::Restore) -> Result<Keyhaven, Failure> {
    let Some(store) = &args.store else {
        return Err(Failure::ask(
            "nothing is set up on this device: say where the backup is with --store, and how the key \
             comes back with --vault or --recovery-key",
        ));
    };
    let place = World::place(store)?;
    let login = if args.recovery_key || args.recovery_key_file.is_some() {
        None
    } else {
        world.login(&args.vault)?
    };
    let returned = match login {
        None => {
            let typed = world.digits(args.recovery_key_file.as_deref())?;
            Keyhaven::recover(&world.home, &args.to, place, Recovery::RecoveryKey(&typed))?
        }
        Some(login) => {
            let guess = &args.guess;
            let file = guess.password_file.as_deref();
            let password = world.password(file, "The password of your backup", false)?;
            last_guess(guess.use_last_guess, |last| {
                let by = Recovery::Password {
                    login: login.clone(),
                    password: &password,
                    last,
                };
                Keyhaven::recover(&world.home, &args.to, place.clone(), by)
            })?
        }
    };
    world.voice.exposed(&returned.haven.exposed());
    if let Some(slip) = &returned.corrected {
        let key = returned.haven.backup_key()?;
        world.voice.say(format!(
            "One slip was found and corrected: {slip}. The key is:"
        ));
        world.voice.say(format!("    {}", key.digits()));
    }
    if let Some(standing) = &returned.standing {
        world.voice.say(guesses(standing));
    }
    Ok(returned.haven)
}

/// How many guesses are left, and what has happened.
pub(crate) fn guesses(standing: &Standing) -> String {
    let totals = standing.totals;
    format!(
        "The password is right. {} guesses are left in a row; {} wrong or unfinished so far.",
        standing.guesses_left,
        totals.answered.saturating_sub(totals.right)
    )
}

fn tell(voice: Voice, restored: &Restored, whole: bool, took: Duration) {
    let report = &restored.report;
    voice.say(format!(
        "Restored backup number {}: {}, {}, in {}{}.",
        restored.snapshot.sequence,
        ui::counted(report.files, "file"),
        ui::bytes(report.bytes),
        ui::seconds(took),
        match report.already_there {
            0 => String::new(),
            there => format!("; {there} were there already"),
        }
    ));
    voice.say(match restored.fresh {
        Fresh::AtLeast { sequence } => {
            format!(
                "It is at least as new as number {sequence}, which was noted outside the store."
            )
        }
        Fresh::NotVerified => "Freshness not verified: nobody outside the store says which backup \
                               is the newest."
            .to_owned(),
    });
    tell_lost(voice, &report.lost);
    if whole && !report.lost.is_empty() {
        let all = restored
            .snapshot
            .files
            .saturating_add(restored.snapshot.databases);
        let back = report.files.saturating_add(report.already_there);
        voice.warn(format!(
            "Of {} in this backup, {back} came back.",
            ui::counted(all, "file")
        ));
    }
}

/// Says what cannot be brought back, and what helps.
pub(crate) fn tell_lost(voice: Voice, lost: &[Lost]) {
    list_lost(voice, lost);
    let any = |remedy| lost.iter().any(|one| one.remedy == remedy);
    if any(Remedy::RetryLater) {
        voice.warn(
            "What the server did not give it may give later: run the same command again, and it goes on from here.",
        );
    }
    if any(Remedy::AskUser) {
        voice.warn(
            "What is listed as not restored is well in the backup, and the file system that was restored to cannot have it. Restore \
             it to a folder elsewhere: `keyhaven restore --path PATH --to FOLDER`.",
        );
    }
    if any(Remedy::Stop) {
        voice.warn(
            "What is listed as lost cannot be brought back from this backup, and trying again helps only if \
             the store gives the named objects again, whole: look for a copy of them. Otherwise an \
             older backup may have it: `keyhaven browse` lists them, and `keyhaven restore --snapshot \
             NAME --path PATH` brings it back from there.",
        );
    }
}

/// Names each thing that cannot be brought back.
pub(crate) fn list_lost(voice: Voice, lost: &[Lost]) {
    for one in lost {
        let path = ui::shown(&one.path);
        let what = match &one.part {
            LostPart::File { bytes } => format!("{path}, {}", ui::bytes(*bytes)),
            LostPart::Folder => format!("{path}, a folder"),
            LostPart::Stretch { before: Some(end) } => format!(
                "everything from {path} on, as far as {} (which is not lost), in the order of paths",
                ui::shown(end)
            ),
            LostPart::Stretch { before: None } => {
                format!("everything from {path} on, in the order of paths")
            }
            LostPart::All => "all of this backup: its list of files cannot be read".to_owned(),
        };
        let how = match one.remedy {
            Remedy::AskUser => "not restored",
            Remedy::RetryLater | Remedy::Stop => "lost",
        };
        voice.warn(format!("{how}: {what} ({})", one.reason));
    }
}

/// What is lost, for programs.
pub(crate) fn lost_json(lost: &[Lost]) -> Vec<serde_json::Value> {
    let one = |lost: &Lost| {
        let (kind, bytes, before) = match &lost.part {
            LostPart::File { bytes } => ("file", Some(*bytes), None),
            LostPart::Folder => ("folder", None, None),
            LostPart::Stretch { before } => ("stretch", None, before.as_ref()),
            LostPart::All => ("all", None, None),
        };
        serde_json::json!({
            "path": lost.path.to_string_lossy(),
            "kind": kind,
            "bytes": bytes,
            "before": before.map(|before| before.to_string_lossy()),
            "reason": lost.reason,
            "remedy": word(lost.remedy),
        })
    };
    lost.iter().map(one).collect()
}

fn answer(restored: &Restored, took: Duration) -> serde_json::Value {
    let report = &restored.report;
    serde_json::json!({
        "ok": report.lost.is_empty() && restored.unreadable.is_empty(),
        "sequence": restored.snapshot.sequence,
        "snapshot": restored.snapshot.name.to_string(),
        "complete": restored.snapshot.complete,
        "files": report.files,
        "bytes": report.bytes,
        "already_there": report.already_there,
        "fresh_at_least": match restored.fresh {
            Fresh::AtLeast { sequence } => Some(sequence),
            Fresh::NotVerified => None,
        },
        "lost": lost_json(&report.lost),
        "unreadable": restored.unreadable.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "seconds": took.as_secs_f64(),
    })
}
