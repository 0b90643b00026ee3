//! `keyhaven setup`.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use keyhaven::{Exposure, ProvenSetup, Setup};

use crate::args;
use crate::failure::{Failure, Outcome};
use crate::ui;
use crate::world::World;

pub(crate) fn run(world: &World, args: &args::Setup) -> Outcome {
    let voice = world.voice;
    let source = match &args.source {
        Some(source) => source.clone(),
        None => PathBuf::from(ui::ask("The folder with your chats")?),
    };
    let store = match &args.store {
        Some(store) => store.clone(),
        None => ui::ask("Where to keep the backup (a folder, s3://…, webdav://…)")?,
    };
    let login = world.login(&args.vault)?;
    let setup = Setup::begin(&world.home, &source, World::place(&store)?)?;
    if let Some(file) = &args.recovery_key_file {
        setup.check_key_file(file)?;
    }
    let mut wants_key = args.recovery_key || login.is_none();

    // Nothing is registered that could then not be finished.
    let alone = login
        .as_ref()
        .is_some_and(keyhaven::Login::is_on_this_machine)
        && !wants_key;
    if alone && !ui::can_ask() {
        return Err(keyhaven::SetupError::PasswordAlone.into());
    }
    let mut proven: Option<ProvenSetup> = None;
    let mut setup = Some(setup);
    if let Some(login) = login {
        // Said before a password is thought out and typed twice.
        if !args.start_afresh {
            setup
                .as_ref()
                .map_or(Ok(()), |setup| setup.check_account(&login))?;
        }
        let question = "Choose a password for your backup";
        let password = world.password(args.password_file.as_deref(), question, true)?;
        voice.remark("Registering the password at the vault, and proving it once…");
        if let Some(begun) = setup.take() {
            let done = match args.start_afresh {
                true => begun.start_afresh(login, &password),
                false => begun.set_password(login, &password),
            }
            .map_err(|(_, error)| error)?;
            if done.needs_recovery_key() && !wants_key {
                voice.say(
                    "The vault and your chats stand on the same machine: if it is lost, the \
                     password can bring nothing back. So keep the 64-digit key too.",
                );
                wants_key = true;
            }
            proven = Some(done);
        }
    }
    if wants_key {
        proven = Some(prove_key(
            world,
            setup.take(),
            proven,
            args.recovery_key_file.as_deref(),
        )?);
    }
    let proven = proven.ok_or_else(|| Failure::ask("nothing was proven"))?;
    let haven = proven.finish().inspect_err(|_| {
        // Of a key that protects nothing no copy is left lying about; the next attempt writes it. Where the
        // configuration has its name and only its flush failed, the home is set up with this very key.
        let is_set_up = keyhaven::home::Home::new(&world.home).is_set_up();
        if let Some(file) = args.recovery_key_file.as_deref().filter(|_| !is_set_up) {
            let _ = std::fs::remove_file(file);
        }
    })?;
    let config = haven.config()?;
    let mut exposed = haven.exposed();
    voice.exposed(&exposed);
    if let Some(of_the_person) = args.recovery_key_file.as_deref().and_then(Exposure::of) {
        voice.exposed(std::slice::from_ref(&of_the_person));
        exposed.push(of_the_person);
    }
    voice.say(format!(
        "Set up. Backing up {} to {}.\nThis device keeps its own copy of the key: {}.\nNow run \
         `keyhaven backup`.",
        config.source.display(),
        config.store,
        haven.keystore()
    ));
    voice.answer(&serde_json::json!({
        "ok": true,
        "source": config.source,
        "store": config.store,
        "store_id": config.store_id,
        "password": config.vault.is_some(),
        "recovery_key": config.recovery_key_proven,
        "exposed": ui::exposed_json(&exposed),
    }));
    Ok(ExitCode::SUCCESS)
}

fn prove_key(
    world: &World,
    setup: Option<Setup>,
    proven: Option<ProvenSetup>,
    file: Option<&Path>,
) -> Result<ProvenSetup, Failure> {
    let digits = match (&setup, &proven) {
        (Some(setup), _) => setup.recovery_key(),
        (None, Some(proven)) => proven.recovery_key(),
        (None, None) => return Err(Failure::ask("nothing is being set up")),
    };
    let typed = match file {
        Some(file) => {
            let text = zeroize::Zeroizing::new(digits.to_string());
            let mut out = std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(file)
                .with_context(|| format!("cannot make {}", file.display()))?;
            writeln!(out, "{}", *text).context("cannot write the 64 digits")?;
            out.sync_all().context("cannot write the 64 digits")?;
            ui::keep_name(file).context("cannot write the 64 digits")?;
            // What is read back is what the person has.
            ui::secret_from(file)?
        }
        None => {
            world
                .voice
                .warn("Write these 64 digits down and keep them safe. Whoever has them can");
            world
                .voice
                .warn("read your backup; without them and without a password nobody can.\n");
            for line in digits.lines() {
                world.voice.warn(format!("    {}", *line));
            }
            world.voice.warn("");
            ui::ask_secret("Type them back, to prove that you have them")?
        }
    };
    match (setup, proven) {
        (_, Some(mut proven)) => {
            proven.prove_recovery_key(&typed)?;
            Ok(proven)
        }
        (Some(setup), None) => setup
            .prove_recovery_key(&typed)
            .map_err(|(_, error)| error.into()),
        (None, None) => Err(Failure::ask("nothing is being set up")),
    }
}
