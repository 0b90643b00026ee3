//! `keyhaven password` and `keyhaven device`.

use std::process::ExitCode;

use keyhaven::{Account, GuessError, LastGuess, ProtectorError, RegisterError};
use keyhaven_vault_client::{
    Alarm, DeviceKey, HostTime, RecordState, Standing, VaultError, Verdict, Wait,
};
use serde_json::{Value, json};

use crate::args::{DeviceAction, GuessArgs, PasswordAction, VaultArgs};
use crate::failure::{Failure, Outcome};
use crate::ui;
use crate::world::World;

pub(crate) fn run(world: &World, action: &PasswordAction) -> Outcome {
    match action {
        PasswordAction::Status { vault } => status(world, vault),
        PasswordAction::Check { guess } => check(world, guess),
        PasswordAction::Set {
            vault,
            guess,
            existing,
        } => set(world, vault, guess, *existing),
        PasswordAction::Change { guess } => change(world, guess),
        PasswordAction::Wait { vault, cancel } => wait(world, vault, Wait::LastGuesses, *cancel),
        PasswordAction::StartAfresh { vault, cancel, yes } => {
            if !cancel {
                sure(
                    *yes,
                    "The account's password and the key that it returns will be given up. Type yes",
                )?;
            }
            wait(world, vault, Wait::FreshStart, *cancel)
        }
        PasswordAction::AllowMoreGuesses => {
            let standing = world.open()?.allow_more_guesses()?;
            world.voice.say(format!(
                "{} more wrong guesses are allowed over the years.",
                standing.cap
            ));
            ok(world, json!({ "ok": true, "cap": standing.cap }))
        }
        PasswordAction::Remove { yes } => {
            let haven = world.open()?;
            sure(*yes, "Destroy the record at the vault? Type yes")?;
            haven.remove_password()?;
            world
                .voice
                .say("The vault's record is destroyed. The 64-digit key opens your backup.");
            ok(world, json!({ "ok": true }))
        }
    }
}

pub(crate) fn device(world: &World, action: &DeviceAction) -> Outcome {
    let haven = world.open()?;
    let own = haven.device_key()?;
    let (standing, alarm) = haven.standing()?.ok_or(keyhaven::OpenError::NoPassword)?;
    warn(world, alarm);
    let listed = standing
        .owner
        .map(|owner| owner.devices)
        .unwrap_or_default();
    match action {
        DeviceAction::List => {
            for key in &listed {
                let mark = if *key == own { "  this device" } else { "" };
                world.voice.say(format!("{}{mark}", hex(key)));
            }
            let devices: Vec<Value> = listed
                .iter()
                .map(|key| json!({ "key": hex(key), "this": *key == own }))
                .collect();
            ok(world, json!({ "ok": true, "devices": devices }))
        }
        DeviceAction::Remove { key, yes } => {
            let key = key.to_ascii_lowercase();
            let named: Vec<&DeviceKey> = listed
                .iter()
                .filter(|one| !key.is_empty() && hex(one).starts_with(&key))
                .collect();
            let [named] = named.as_slice() else {
                return Err(Failure::ask(format!(
                    "{key} names {} of the devices; `keyhaven device list` shows them",
                    named.len()
                )));
            };
            if **named == own {
                world.voice.warn("This is the device that you are using.");
            }
            sure(*yes, "Strike this device off the list? Type yes")?;
            haven.remove_device(**named)?;
            world.voice.say(
                "The device can no longer change the record. It still has its copy of the key.",
            );
            ok(world, json!({ "ok": true, "key": hex(named) }))
        }
    }
}

/// Runs what may spend a guess. The last one is spent only if the person says so: here and now, or
/// by the flag.
pub(crate) fn last_guess<T>(
    flag: bool,
    mut run: impl FnMut(LastGuess) -> Result<T, ProtectorError>,
) -> Result<T, Failure> {
    let last = if flag {
        LastGuess::Use
    } else {
        LastGuess::Keep
    };
    match run(last) {
        Err(
            error @ (ProtectorError::LastGuess
            | ProtectorError::Register(RegisterError::Guess(GuessError::LastGuess))),
        ) => {
            if !ui::can_ask() {
                return Err(Failure::ask(format!(
                    "{error}; --use-last-guess sends it all the same"
                )));
            }
            sure(
                false,
                "Only the last guess is left; if it is wrong, the backup key is destroyed for \
                 good. Type yes to use it",
            )?;
            Ok(run(LastGuess::Use)?)
        }
        done => Ok(done?),
    }
}

fn status(world: &World, vault: &VaultArgs) -> Outcome {
    let standing = match owned(world)? {
        Some((standing, alarm)) => {
            warn(world, alarm);
            standing
        }
        None => account(world, vault)?.standing()?,
    };
    tell(world, &standing);
    ok(world, answer(&standing))
}

fn check(world: &World, guess: &GuessArgs) -> Outcome {
    let haven = world.open()?;
    let file = guess.password_file.as_deref();
    let password = world.password(file, "The password of your backup", false)?;
    let standing = last_guess(guess.use_last_guess, |last| {
        haven.check_password(&password, last)
    })?;
    world.voice.say(format!(
        "The password is right, and returns this backup's key. {} guesses are left in a row.",
        standing.guesses_left
    ));
    ok(world, answer(&standing))
}

fn set(world: &World, vault: &VaultArgs, guess: &GuessArgs, existing: bool) -> Outcome {
    let haven = world.open()?;
    let login = world
        .login(vault)?
        .ok_or_else(|| Failure::ask("say which vault keeps it, with --vault"))?;
    let file = guess.password_file.as_deref();
    if existing {
        let password = world.password(file, "The password that the account has", false)?;
        last_guess(guess.use_last_guess, |last| {
            haven.use_existing_password(&login, &password, last)
        })?;
        world
            .voice
            .say("The password is right, and this device is listed at the vault.");
    } else {
        let password = world.password(file, "Choose a password for your backup", true)?;
        haven.set_password(&login, &password)?;
        world.voice.say("The password is set, and was proven once.");
    }
    ok(world, json!({ "ok": true }))
}

fn change(world: &World, guess: &GuessArgs) -> Outcome {
    let haven = world.open()?;
    let file = guess.password_file.as_deref();
    let password = world.password(file, "Choose a new password", true)?;
    last_guess(guess.use_last_guess, |last| {
        haven.change_password(&password, last)
    })?;
    world
        .voice
        .say("The password is changed, and the new one was proven once.");
    ok(world, json!({ "ok": true }))
}

fn wait(world: &World, vault: &VaultArgs, wait: Wait, cancel: bool) -> Outcome {
    if cancel {
        world.open()?.cancel_wait(wait)?;
        world.voice.say("The wait is cancelled.");
        return ok(world, json!({ "ok": true }));
    }
    let account = account(world, vault)?;
    let until = account.begin_wait(wait)?;
    let then = match wait {
        Wait::LastGuesses => "the last guesses can be used from a new device",
        Wait::FreshStart => "`keyhaven setup --start-afresh` begins anew",
    };
    world.voice.say(format!(
        "From {} UTC on, by the vault's clock, {then}. Your devices are told, and can cancel it.",
        date(until)
    ));
    ok(world, json!({ "ok": true, "until_s": until.number() }))
}

/// How the account stands, where this home is set up with it.
fn owned(world: &World) -> Result<Option<(Standing, Option<Alarm>)>, Failure> {
    if !keyhaven::home::Home::new(&world.home).is_set_up() {
        return Ok(None);
    }
    Ok(world.open()?.standing()?)
}

/// The account that was named, or the one that this home is set up with.
fn account(world: &World, vault: &VaultArgs) -> Result<Account, Failure> {
    let set_up = keyhaven::home::Home::new(&world.home).is_set_up();
    let own = if set_up && vault.address.is_none() {
        world.open()?.login()?
    } else {
        None
    };
    let login = match own {
        Some(login) => login,
        None => world
            .login(vault)?
            .ok_or_else(|| Failure::ask("say which vault it is, with --vault"))?,
    };
    Ok(Account::open(&login, &world.home)?)
}

fn tell(world: &World, standing: &Standing) {
    let voice = world.voice;
    voice.say(match standing.state {
        RecordState::Live => match standing.guesses_left {
            0 => "No guess is left: the next attempt destroys the backup key.".to_owned(),
            1 => {
                "1 guess is left; if it is wrong, the backup key is destroyed for good.".to_owned()
            }
            left => format!("{left} guesses are left in a row."),
        },
        RecordState::Vacant => "The account has no password.".to_owned(),
        RecordState::Deleted => "The record was deleted by its owner.".to_owned(),
        RecordState::Destroyed => format!("{}.", VaultError::Exhausted),
    });
    let totals = standing.totals;
    voice.say(format!(
        "In all {} attempts: {} right, {} wrong or unfinished; {} of {} wrong ones since more were \
         allowed. Begun {} times.",
        totals.answered,
        totals.right,
        totals.answered.saturating_sub(totals.right),
        standing.wrong_since_lift,
        standing.cap,
        standing.line.number()
    ));
    for attempt in &standing.attempts {
        let verdict = verdict(attempt.verdict);
        voice.say(format!("  {} UTC  {verdict}", date(attempt.at)));
    }
    let waits = [
        (
            "the last guesses without a device",
            standing.last_guesses_at,
        ),
        ("a fresh start", standing.fresh_start_at),
    ];
    for (what, until) in waits {
        if let Some(until) = until {
            voice.warn(format!(
                "Somebody waits for {what}, until {} UTC. If it is not you, cancel it.",
                date(until)
            ));
        }
    }
}

fn answer(standing: &Standing) -> Value {
    let totals = standing.totals;
    let attempts: Vec<Value> = standing
        .attempts
        .iter()
        .map(|one| json!({ "at_s": one.at.number(), "verdict": verdict(one.verdict) }))
        .collect();
    json!({
        "ok": true,
        "state": match standing.state {
            RecordState::Vacant => "none",
            RecordState::Live => "live",
            RecordState::Destroyed => "destroyed",
            RecordState::Deleted => "deleted",
        },
        "guesses_left": standing.guesses_left,
        "answered": totals.answered,
        "right": totals.right,
        "wrong_since_lift": standing.wrong_since_lift,
        "cap": standing.cap,
        "line": standing.line.number(),
        "attempts": attempts,
        "last_guesses_at_s": standing.last_guesses_at.map(HostTime::number),
        "fresh_start_at_s": standing.fresh_start_at.map(HostTime::number),
    })
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Unfinished => "unfinished",
        Verdict::Right => "right",
        Verdict::Wrong => "wrong",
    }
}

fn warn(world: &World, alarm: Option<Alarm>) {
    if let Some(alarm) = alarm {
        world.voice.warn(format!("ALARM: {alarm}"));
    }
}

fn sure(yes: bool, question: &str) -> Result<(), Failure> {
    if yes || ui::ask(question)? == "yes" {
        Ok(())
    } else {
        Err(Failure::ask("nothing was changed"))
    }
}

fn ok(world: &World, answer: Value) -> Outcome {
    world.voice.answer(&answer);
    Ok(ExitCode::SUCCESS)
}

fn date(time: HostTime) -> String {
    ui::time(i64::try_from(time.number()).unwrap_or(i64::MAX))
}

fn hex(key: &DeviceKey) -> String {
    key.as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
