//! `keyhaven demo`: the whole of it on one machine, with the real parts.
//!
//! A chat store that is being written to, a vault in a process of its own, a store in a folder. The
//! phone is lost with everything on it; what comes back is compared byte by byte and row by row.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use keyhaven::{
    BackupOptions, BackupReport, Fresh, Keyhaven, Login, Place, ProtectorError, Recovery,
    RestoreOptions, Setup,
};
use keyhaven_corpus::{Corpus, Day, Fingerprint, ImageDigest, Journal, Pace, Size, Writer};
use keyhaven_secrets::Password;
use keyhaven_vault_client::VaultError;
use zeroize::Zeroizing;

use crate::args;
use crate::failure::{Failure, Outcome};
use crate::ui::{self, Voice, bytes, seconds};
use crate::vault::VaultProcess;

const PASSWORD: &str = "walnut trapeze 4 lagoon";
const WRONG: &str = "walnut trapeze 5 lagoon";
const ACCOUNT: &str = "amara";
const CHATS: &str = "Databases/msgstore.db";

/// Where everything of the demo stands.
struct Stage {
    root: PathBuf,
    /// Removed with everything in it when the demo ends, unless it is to be kept.
    _temporary: Option<tempfile::TempDir>,
}

impl Stage {
    fn new(keep: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(root) = keep {
            fs::create_dir(root).with_context(|| {
                format!("--keep wants a new folder; cannot make {}", root.display())
            })?;
            return Ok(Self {
                root: root.canonicalize()?,
                _temporary: None,
            });
        }
        let temporary = tempfile::Builder::new()
            .prefix("keyhaven-demo-")
            .tempdir()?;
        Ok(Self {
            root: temporary.path().to_path_buf(),
            _temporary: Some(temporary),
        })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

pub(crate) fn run(args: &args::Demo, voice: Voice) -> Outcome {
    let stage = Stage::new(args.keep.as_deref())?;
    let begun = Instant::now();
    let told = play(&stage, args, voice)?;
    voice.say(format!("\nAll of it took {}.", seconds(begun.elapsed())));
    if args.keep.is_some() {
        explore(&stage, voice);
    }
    voice.answer(&told);
    Ok(ExitCode::SUCCESS)
}

fn play(stage: &Stage, args: &args::Demo, voice: Voice) -> Result<serde_json::Value, Failure> {
    let (phone, home) = (stage.at("phone/chats"), stage.at("phone/home"));
    let made = source(&phone, args, voice)?;

    voice.say("\n2. A vault starts, as a process of its own on loopback.");
    let vault = VaultProcess::start(&stage.at("vault"), 0)?;
    let token = vault.account(ACCOUNT)?;
    voice.say(format!("   process {}, at {}", vault.id(), vault.address()));

    voice.say("\n3. The phone is set up: a password, and the 64 digits beside it.");
    let haven = set_up(stage, &vault, &token)?;
    voice.say("   Both were proven to give the key back before anything is backed up.");

    voice.say("\n4. The first backup.");
    let first = back_up(&haven, voice)?;

    voice.say(
        "\n5. A day passes. An app in another process keeps writing during the second backup.",
    );
    let second = day(stage, &phone, &haven, made, voice)?;

    voice.say("\n6. The app rests, and the last backup before the loss.");
    let third = back_up(&haven, voice)?;
    let expected = Fingerprint::of(&phone).context("cannot read the chat store")?;

    voice.say(
        "\n7. The phone is lost: chats, configuration, local state and device key are deleted.",
    );
    drop(haven);
    fs::remove_dir_all(stage.at("phone")).context("cannot lose the phone")?;
    drop(home);

    voice.say(
        "\n8. A new phone has the vault's address, the store's address, the login and a password.",
    );
    let (haven, back) = come_back(stage, &vault, &token, voice)?;

    let found = Fingerprint::of(&back).context("cannot read what was restored")?;
    let differences = expected.differences(&found);
    for difference in &differences {
        voice.warn(format!("   differs: {difference:?}"));
    }
    if !differences.is_empty() {
        return Err(Failure::ask("what came back is not what was lost"));
    }
    let rows: u64 = found.databases().map(|(_, print)| print.rows).sum();
    let databases = found.databases().count();
    voice.say(format!(
        "   Compared: {} files byte for byte, {databases} databases page by page, {rows} rows. Not \
         one differs.",
        found.files()
    ));
    if made {
        torn(stage, &haven, second.sequence, voice)?;
    }
    Ok(serde_json::json!({
        "ok": true,
        "files": found.files(),
        "databases": databases,
        "rows": rows,
        "sent_bytes": [first.sent_bytes, second.sent_bytes, third.sent_bytes],
    }))
}

/// Makes the chat store, or copies the person's own. True if it was made.
fn source(phone: &Path, args: &args::Demo, voice: Voice) -> anyhow::Result<bool> {
    fs::create_dir_all(phone)?;
    if let Some(own) = &args.source {
        voice.say(format!("1. A copy of {} is the phone.", own.display()));
        copy(own, phone)?;
        return Ok(false);
    }
    let size = Size {
        messages: args.messages,
        media_bytes: args.media_mib.saturating_mul(1 << 20),
        seed: 1,
    };
    let report = Corpus::create(phone, size)?;
    voice.say(format!(
        "1. A chat store is made: {} messages in a database of {}, {} media files of {}.",
        report.messages,
        bytes(report.database_bytes),
        report.media_files,
        bytes(report.media_bytes)
    ));
    Ok(true)
}

fn login(vault: &VaultProcess, token: &str) -> Result<Login, Failure> {
    let token = Zeroizing::new(token.to_owned());
    Ok(Login::new(vault.address(), ACCOUNT, token).context("the vault cannot be used")?)
}

fn set_up(stage: &Stage, vault: &VaultProcess, token: &str) -> Result<Keyhaven, Failure> {
    let store = stage.at("cloud");
    let place = Place::parse(&store.to_string_lossy())?;
    let setup = Setup::begin(&stage.at("phone/home"), &stage.at("phone/chats"), place)?;
    let password = Password::parse(PASSWORD)?;
    let mut proven = setup
        .set_password(login(vault, token)?, &password)
        .map_err(|(_, error)| error)?;
    // The 64 digits go on paper, outside the phone, and are read back from there.
    let paper = stage.at("paper.txt");
    let digits = Zeroizing::new(proven.recovery_key().to_string());
    let mut file = fs::OpenOptions::new();
    let file = file.write(true).create_new(true).mode(0o600).open(&paper);
    std::io::Write::write_all(&mut file.context("no paper")?, digits.as_bytes())
        .context("no paper")?;
    proven.prove_recovery_key(&ui::secret_from(&paper)?)?;
    Ok(proven.finish()?)
}

fn back_up(haven: &Keyhaven, voice: Voice) -> Result<BackupReport, Failure> {
    let begun = Instant::now();
    let mut show = voice.observer();
    let report = haven.backup(BackupOptions::default(), &mut show)?;
    drop(show);
    voice.say(format!(
        "   {}",
        crate::backup::describe(&report, begun.elapsed())
    ));
    Ok(report)
}

fn day(
    stage: &Stage,
    phone: &Path,
    haven: &Keyhaven,
    made: bool,
    voice: Voice,
) -> Result<BackupReport, Failure> {
    if !made {
        return back_up(haven, voice);
    }
    let report = Corpus::report(phone).context("cannot read the chat store")?;
    Corpus::next_day(phone, Day::of_use(report.messages)).context("no day passed")?;
    let app = App::start(phone, &stage.at("journal"))?;
    let second = back_up(haven, voice);
    app.stop()?;
    second
}

/// From an empty home: a wrong password, the right one, the restore.
fn come_back(
    stage: &Stage,
    vault: &VaultProcess,
    token: &str,
    voice: Voice,
) -> Result<(Keyhaven, PathBuf), Failure> {
    let (home, back) = (stage.at("new-phone/home"), stage.at("new-phone/chats"));
    let store = stage.at("cloud");
    let recover = |password: &str| -> Result<_, Failure> {
        let place = Place::parse(&store.to_string_lossy())?;
        let password = Password::parse(password)?;
        let login = login(vault, token)?;
        Ok(Keyhaven::recover(
            &home,
            &back,
            place,
            Recovery::Password {
                login,
                password: &password,
                last: keyhaven::LastGuess::Keep,
            },
        ))
    };
    match recover(WRONG)? {
        Err(ProtectorError::Vault(error @ VaultError::WrongPassword { .. })) => {
            voice.say(format!("   A wrong password first: {error}."));
        }
        Err(error) => return Err(error.into()),
        Ok(_) => return Err(Failure::ask("a wrong password was accepted")),
    }
    let begun = Instant::now();
    let returned = recover(PASSWORD)??;
    if let Some(standing) = &returned.standing {
        let line = crate::restore::guesses(standing);
        voice.say(format!("   {line} It took {}.", seconds(begun.elapsed())));
    }
    let begun = Instant::now();
    let mut show = voice.observer();
    let restored = returned
        .haven
        .restore(&back, &RestoreOptions::default(), &mut show)?;
    drop(show);
    if let Some(lost) = restored.report.lost.first() {
        return Err(Failure::ask(format!(
            "{} was lost: {}",
            lost.path.display(),
            lost.reason
        )));
    }
    let fresh = match restored.fresh {
        Fresh::AtLeast { sequence } => {
            format!("at least as new as number {sequence}, says the vault")
        }
        Fresh::NotVerified => "freshness not verified".to_owned(),
    };
    voice.say(format!(
        "   Restored backup number {} ({fresh}): {} files, {}, in {}.",
        restored.snapshot.sequence,
        restored.report.files,
        bytes(restored.report.bytes),
        seconds(begun.elapsed())
    ));
    Ok((returned.haven, back))
}

/// BACKUP-1: the database of the backup that ran beside the writer is one that it had committed.
fn torn(stage: &Stage, haven: &Keyhaven, sequence: u64, voice: Voice) -> Result<(), Failure> {
    let to = stage.at("during-the-writing");
    let name = haven
        .snapshots()?
        .into_iter()
        .find(|one| one.sequence == sequence)
        .map(|one| one.name.to_string())
        .ok_or_else(|| Failure::ask("the second backup is gone"))?;
    let path = Some(PathBuf::from(CHATS));
    let options = RestoreOptions {
        path,
        snapshot: Some(name),
        ..RestoreOptions::default()
    };
    haven.restore(&to, &options, &mut ())?;
    let journal = Journal::read(&stage.at("journal")).context("no journal")?;
    let image = ImageDigest::of_file(&to.join(CHATS)).context("cannot read the database")?;
    let place = journal
        .position(&image)
        .ok_or_else(|| Failure::ask("the database was stored in a state that nobody committed"))?;
    voice.say(format!(
        "   The backup beside the writer holds the state after commit {place} of {}, whole.",
        journal.len()
    ));
    Ok(())
}

/// An app that keeps writing, in a process of its own.
struct App(Child);

impl App {
    fn start(phone: &Path, journal: &Path) -> anyhow::Result<Self> {
        let child = Command::new(std::env::current_exe()?)
            .arg("writer-process")
            .args([phone, journal])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start the app")?;
        // It has begun when its journal has its first state.
        let begun = Instant::now();
        while Journal::read(journal).map_or(true, |journal| journal.len() < 2) {
            ensure!(
                begun.elapsed() < Duration::from_secs(60),
                "the app does not write"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Self(child))
    }

    fn stop(mut self) -> anyhow::Result<()> {
        drop(self.0.stdin.take());
        ensure!(self.0.wait()?.success(), "the app failed");
        Ok(())
    }
}

impl Drop for App {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Writes until its standard input ends.
pub(crate) fn writer_process(root: &Path, journal: &Path) -> Outcome {
    let ended = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ended);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        told.store(true, Ordering::SeqCst);
    });
    let pace = Pace {
        checkpoint_every: 50,
        alone: true,
        ..Pace::default()
    };
    Writer::run(root, pace, journal, || !ended.load(Ordering::SeqCst))
        .context("the app cannot write")?;
    Ok(ExitCode::SUCCESS)
}

/// Copies a folder of the person's own: files and folders, links as they are.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            fs::create_dir(&to)?;
            copy(&from, &to)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&from)?, &to)?;
        } else if kind.is_file() {
            fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
            fs::set_permissions(&to, fs::Permissions::from_mode(0o600))?;
        }
    }
    Ok(())
}

fn explore(stage: &Stage, voice: Voice) {
    let root = stage.root.display();
    voice.say(format!(
        "\nEverything is in {root}. Look around with the ordinary commands, for instance:\n\
         \x20 keyhaven --home {root}/new-phone/home browse\n\
         \x20 keyhaven --home {root}/new-phone/home browse files\n\
         \x20 keyhaven --home {root}/new-phone/home verify\n\
         \x20 keyhaven --home {root}/new-phone/home --embedded-vault {root}/vault status\n\
         The password is \"{PASSWORD}\"; the 64 digits are in {root}/paper.txt."
    ));
}
