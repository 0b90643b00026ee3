//! What must hold of an image where a password at a vault, or the 64 digits, bring the key back.
//!
//! All of it is asked of the command itself, as a person would: it is run again, in the place where the image was made, with
//! the vault as it was at that point.

use std::fs;
use std::path::Path;

use keyhaven::{Account, Login};
use keyhaven_vault_client::{RecordState, Standing};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::check::{Expected, Manner, Seen, State, scratch, state};
use crate::effort::is_long;
use crate::house::{ACCOUNT, House};
use crate::image::Image;
use crate::story::{clear, ran};
use crate::world::{Ran, command_in};

/// What a person has in mind or at hand: no part of a disk that loses its power.
pub(crate) const SAID: &str = "said";
pub(crate) const LOGIN: &str = "login";

/// What is under way when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// A setup with a password and the 64 digits.
    Setup,
    /// A backup that notes its freshness.
    Backup,
    /// Another password.
    Change,
    /// The password is removed.
    Removal,
    /// A new device, by the password.
    Recovery,
    /// A new device, by the 64 digits.
    RecoveryByDigits,
}

/// What is told of such a story.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Guarded {
    pub(crate) step: Step,
    /// The vault's, with its pin.
    pub(crate) address: Option<String>,
    /// How many requests the vault had answered after each change.
    pub(crate) answered: Vec<usize>,
    pub(crate) in_all: usize,
    /// From which change on the command has ended well.
    pub(crate) done: Option<usize>,
}

impl Guarded {
    pub(crate) fn of(step: Step, address: Option<&str>) -> Self {
        Self {
            step,
            address: address.map(str::to_owned),
            answered: vec![0],
            in_all: 0,
            done: None,
        }
    }

    pub(crate) fn is_done(&self, cut: usize) -> bool {
        self.done.is_some_and(|from| from <= cut)
    }

    /// The command.
    pub(crate) fn line(&self) -> String {
        let vault = self.address.as_deref().map(flags).unwrap_or_default();
        match self.step {
            Step::Setup => format!(
                "setup --home home --source chats --store store {vault} --password-file said/pw \
                 --recovery-key --recovery-key-file keys/key"
            ),
            Step::Backup => "backup --home home".to_owned(),
            Step::Change => "password change --home home --password-file said/other".to_owned(),
            Step::Removal => "password remove --yes --home home".to_owned(),
            Step::Recovery => {
                format!(
                    "restore --home new --store store {vault} --password-file said/pw --to back"
                )
            }
            Step::RecoveryByDigits => {
                "restore --home new --store store --recovery-key-file keys/key --to back".to_owned()
            }
        }
    }
}

fn flags(address: &str) -> String {
    format!("--vault {address} --account {ACCOUNT} --login-file {SAID}/{LOGIN}")
}

/// One image of such a story.
pub(crate) struct Guard<'a> {
    /// Where the story was recorded: its configuration names this place.
    pub(crate) world: &'a Path,
    pub(crate) house: Option<&'a House>,
    pub(crate) answered: usize,
    /// How many of these answers the device may have heard and acted on.
    pub(crate) heard: usize,
    pub(crate) guarded: &'a Guarded,
    /// Whether the command had ended well.
    pub(crate) is_done: bool,
    /// Which image it is: what takes long is looked at in some of them.
    pub(crate) number: usize,
}

/// Looks at an image; what is wrong with it, in words.
pub(crate) fn check(
    image: &Image,
    expected: &Expected<'_>,
    guard: &Guard<'_>,
) -> Result<Seen, String> {
    guard.is_written_before_it_is_said(image)?;
    guard.place(image);
    match guard.guarded.step {
        Step::Setup => guard.setup(expected),
        Step::Backup => guard.backup(expected),
        Step::Change => guard.change(image, expected),
        Step::Removal => guard.removal(expected),
        Step::Recovery | Step::RecoveryByDigits => guard.recovery(expected),
    }
}

impl Guard<'_> {
    /// Makes the image where the story was recorded, with the vault as it was.
    fn place(&self, image: &Image) {
        clear(self.world);
        image.write(self.world);
        if let Some(house) = self.house {
            house.bring_back(self.answered);
        }
    }

    /// Whether to look at what takes long, of which there are so many kinds.
    fn is_due(&self, kind: usize, of: usize) -> bool {
        is_long() || self.number % of == kind
    }

    fn run(&self, line: &str) -> Ran {
        ran(&mut command_in(self.world, line))
    }

    /// Runs a command that must end with this code, and gives what it says.
    fn ends(&self, line: &str, code: i32) -> Result<Value, String> {
        let ran = self.run(&format!("{line} --json"));
        if ran.code != code {
            return Err(format!("{line:?} does not end with {code}: {ran:?}"));
        }
        if ran.err.contains("ALARM") {
            return Err(format!("{line:?} alarms: {ran:?}"));
        }
        serde_json::from_str(&ran.out).map_err(|error| format!("{line:?}: {error}: {ran:?}"))
    }

    fn vault(&self) -> String {
        self.house
            .map(|house| flags(house.address()))
            .unwrap_or_default()
    }

    fn has(&self, name: &str) -> bool {
        self.world.join(name).exists()
    }

    /// How the account stands after so many answers, for anybody who has its login.
    fn standing(&self, house: &House, answered: usize) -> Standing {
        house.bring_back(answered);
        let token = fs::read_to_string(self.world.join(SAID).join(LOGIN)).unwrap();
        let login = Login::new(house.address(), ACCOUNT, Zeroizing::new(token)).unwrap();
        let home = scratch();
        let account = Account::open(&login, home.path()).unwrap();
        account.standing().unwrap()
    }

    /// VAULT-1, VAULT-7: what changes a record is on the disk before the vault hears of it, whatever is lost.
    fn is_written_before_it_is_said(&self, image: &Image) -> Result<(), String> {
        let Some(house) = self.house.filter(|_| self.answered > self.heard) else {
            return Ok(());
        };
        let [before, now] = [self.heard, self.answered].map(|at| self.standing(house, at));
        let is_registered = now.generation > before.generation && now.state == RecordState::Live;
        let slot = if is_registered {
            "registration"
        } else if now.change > before.change {
            "change"
        } else if now.totals.answered > before.totals.answered {
            "guess"
        } else {
            return Ok(());
        };
        let home = match self.guarded.step {
            Step::Recovery | Step::RecoveryByDigits => "new",
            Step::Setup | Step::Backup | Step::Change | Step::Removal => "home",
        };
        match image.file(&format!("{home}/state/vault/{slot}")) {
            Some(_) => Ok(()),
            None => Err(format!("the vault was told of a {slot} that is nowhere")),
        }
    }

    /// The command once more, as it was given. A password whose registration had been cut off is settled by the same
    /// bytes, and asked for again: then, and only then, and once (VAULT-7).
    fn again(&self) -> Result<(), String> {
        let line = self.guarded.line();
        let is_open = self.has("home/state/vault/registration");
        let mut ran = self.run(&format!("{line} --json"));
        let is_settled = ran.code == 4 && ran.out.contains("was cut off, and is finished now");
        if is_settled != is_open {
            return Err(format!("a registration was open: {is_open}, but {ran:?}"));
        }
        if is_settled {
            ran = self.run(&format!("{line} --json"));
        }
        match ran.code {
            0 => Ok(()),
            _ => Err(format!("it cannot be done again: {ran:?}")),
        }
    }

    /// What the device's home tells it of the vault: all guesses are there, and so many were not right (VAULT-1, VAULT-7).
    fn no_guess_is_gone(&self, home: &str, open: u64) -> Result<(), String> {
        let standing = self.ends(&format!("password status --home {home}"), 0)?;
        let number = |name: &str| standing[name].as_u64().unwrap_or(u64::MAX);
        let is_whole = standing["state"] == "live"
            && number("guesses_left") == 10
            && number("wrong_since_lift") <= open
            && number("answered") - number("right") <= open;
        match is_whole {
            true => Ok(()),
            false => Err(format!("guesses are gone: {standing}")),
        }
    }

    /// A guess that was begun and is not gone on with, because the password is registered anew: it stays unfinished.
    fn open_guesses(&self) -> u64 {
        u64::from(self.has("home/state/vault/guess"))
    }

    /// BACKUP-2, BACKUP-4: backups go on, and the vault takes their note.
    fn backs_up(&self, home: &str) -> Result<(), String> {
        let ran = self.run(&format!("backup --home {home} --json"));
        if ran.code != 0 || ran.err.contains("could not be told") {
            return Err(format!("the next backup: {ran:?}"));
        }
        Ok(())
    }

    /// Restores, with a key or a home that has it: what comes back.
    fn restore(&self, by: &str, to: &str) -> Result<(State, Value), String> {
        let said = self.ends(&format!("restore {by} --to {to}"), 0)?;
        Ok((state(&self.world.join(to), Manner::Pages), said))
    }

    /// A device that has nothing but this password.
    fn with_password(&self, file: &str, home: &str) -> String {
        let vault = self.vault();
        format!("--home {home} --store store {vault} --password-file said/{file}")
    }

    /// A device that has nothing but the 64 digits.
    fn by_digits(&self, expected: &Expected<'_>) -> Result<(), String> {
        let by = "--home digits --store store --recovery-key-file keys/key";
        let (state, _) = self.restore(by, "from-digits")?;
        is_now(&state, expected)
    }

    /// The digits in the file, if they are all there.
    fn digits(&self) -> Option<String> {
        let text = fs::read_to_string(self.world.join("keys/key")).ok()?;
        let digits: String = text.split_whitespace().collect();
        let whole = digits.len() == 64 && digits.chars().all(|digit| digit.is_ascii_hexdigit());
        whole.then_some(digits)
    }

    fn setup(&self, expected: &Expected<'_>) -> Result<Seen, String> {
        let is_set_up = self.has("home/config.json");
        if self.is_done && !is_set_up {
            return Err("what was set up is not set up any more".to_owned());
        }
        let (noted, open) = (self.digits(), self.open_guesses());
        if !is_set_up {
            // It would be refused for the file, and say so; the person moves it away.
            let _ = fs::remove_file(self.world.join("keys/key"));
            self.again()?;
        }
        let shown = self.ends("key show --home home", 0)?;
        let shown = shown["key"].as_str().map(str::to_owned);
        let shown = shown.map(|key| key.split_whitespace().collect::<String>());
        if self.digits() != shown || noted.is_some_and(|noted| Some(noted) != shown) {
            return Err("the 64 digits are those of another key".to_owned());
        }
        self.backs_up("home")?;
        self.no_guess_is_gone("home", open)?;
        // Where it was done again, the password was proven by that.
        if is_set_up || self.is_due(0, 4) {
            let (state, said) = self.restore(&self.with_password("pw", "new"), "back")?;
            is_now(&state, expected)?;
            is_fresh(&said)?;
        }
        self.by_digits(expected)?;
        Ok(match (is_set_up, self.is_done) {
            (false, _) => Seen::NotSetUp,
            (true, false) => Seen::Again,
            (true, true) => Seen::Done,
        })
    }

    /// BACKUP-4: whatever became of the note, a new device takes the newest backup, and knows what it knows.
    fn backup(&self, expected: &Expected<'_>) -> Result<Seen, String> {
        let (restored, said) = self.restore(&self.with_password("pw", "new"), "back")?;
        let place = is_one_of(&restored, expected.states)?;
        let noted = said["fresh_at_least"].as_u64();
        let noted = noted.ok_or_else(|| format!("nothing was noted: {said}"))?;
        if self.is_done && said["sequence"] != noted {
            return Err(format!("the backup that ended well was not noted: {said}"));
        }
        self.backs_up("home")?;
        let (restored, said) = self.restore("--home home", "back2")?;
        is_now(&restored, expected)?;
        is_fresh(&said)?;
        self.no_guess_is_gone("home", 0)?;
        Ok(Seen::State(place))
    }

    fn change(&self, image: &Image, expected: &Expected<'_>) -> Result<Seen, String> {
        if self.is_done || self.is_due(1, 2) {
            // The device is lost, too.
            let first = if self.is_done { "other" } else { "pw" };
            let line = self.with_password(first, "new");
            let ran = self.run(&format!("restore {line} --to back --json"));
            if ran.code == 4 && !self.is_done && ran.out.contains("the password is wrong") {
                self.ends(
                    &format!("restore {} --to back", self.with_password("other", "new")),
                    0,
                )?;
            } else if ran.code != 0 {
                return Err(format!("neither password opens it: {ran:?}"));
            }
            is_now(&state(&self.world.join("back"), Manner::Pages), expected)?;
            self.place(image);
        }
        let open = self.open_guesses();
        if !self.is_done {
            self.again()?;
        }
        self.no_guess_is_gone("home", open)?;
        self.backs_up("home")?;
        if self.is_due(2, 4) {
            let by = self.with_password("pw", "new");
            let refused = self.ends(&format!("restore {by} --to back"), 4)?;
            let said = refused["error"].as_str().unwrap_or_default();
            if !said.contains("9 guesses are left") {
                return Err(format!("the old password is not refused: {refused}"));
            }
        }
        Ok(if self.is_done {
            Seen::Done
        } else {
            Seen::Again
        })
    }

    fn removal(&self, expected: &Expected<'_>) -> Result<Seen, String> {
        let config = fs::read_to_string(self.world.join("home/config.json"));
        let config: Value = config
            .map_err(|error| error.to_string())
            .and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()))?;
        let is_removed = config["vault"].is_null();
        if self.is_done && !is_removed {
            return Err("what was removed is there again".to_owned());
        }
        // A person who looks first is told that much, and is not alarmed.
        let said = self.ends("status --home home", 0)?["vault"].clone();
        let is_told = said["error"].as_str().is_some_and(|error| {
            error.contains("was being removed")
                && error.contains("`keyhaven password remove` ends it")
        });
        if is_removed != said.is_null() || !(is_removed || is_told || said["guesses_left"] == 10) {
            return Err(format!("of the removal, status says: {said}"));
        }
        if !self.is_done {
            let ran = self.run(&format!("{} --json", self.guarded.line()));
            let is_nothing_left = ran.code == 4 && ran.out.contains("no password is set up");
            if ran.code != 0 && !(is_removed && is_nothing_left) {
                return Err(format!("it cannot be removed again: {ran:?}"));
            }
        }
        for left in [
            "home/device/login",
            "home/device/password-verifier",
            "home/state/vault/bundle",
            "home/state/vault/known",
            "home/state/vault/noted",
            "home/state/vault/guess",
            "home/state/vault/registration",
            "home/state/vault/change",
            "home/state/vault/removing",
        ] {
            if self.has(left) {
                return Err(format!("{left} is left of a password that was removed"));
            }
        }
        self.backs_up("home")?;
        self.by_digits(expected)?;
        let vault = self.vault();
        let gone = self.ends(&format!("password status --home home {vault}"), 0)?;
        if gone["state"] != "deleted" {
            return Err(format!("the record is not destroyed: {gone}"));
        }
        if self.is_due(0, 5) {
            self.ends(
                &format!("password set --home home {vault} --password-file said/other"),
                0,
            )?;
            self.no_guess_is_gone("home", 0)?;
        }
        Ok(if self.is_done {
            Seen::Done
        } else {
            Seen::Again
        })
    }

    fn recovery(&self, expected: &Expected<'_>) -> Result<Seen, String> {
        if self.is_done && !self.has("new/config.json") {
            return Err("the device that was set up is not set up any more".to_owned());
        }
        let back = self.world.join("back");
        if self.is_done {
            is_now(&state(&back, Manner::Pages), expected)?;
        }
        self.again()?;
        is_now(&state(&back, Manner::Pages), expected)?;
        if self.house.is_some() {
            self.no_guess_is_gone("new", 0)?;
            let listed = self.ends("device list --home new", 0)?;
            let devices = listed["devices"].as_array().cloned().unwrap_or_default();
            if devices.len() != 2 || !devices.iter().any(|device| device["this"] == true) {
                return Err(format!("the devices are {listed}"));
            }
        }
        // Both devices go on.
        self.backs_up("new")?;
        self.backs_up("home")?;
        Ok(if self.is_done {
            Seen::Done
        } else {
            Seen::Again
        })
    }
}

/// BACKUP-4.
fn is_fresh(said: &Value) -> Result<(), String> {
    match said["fresh_at_least"] == said["sequence"] && said["sequence"].is_u64() {
        true => Ok(()),
        false => Err(format!("freshness is not known: {said}")),
    }
}

/// Whether it is what is there now.
fn is_now(found: &State, expected: &Expected<'_>) -> Result<(), String> {
    is_one_of(found, std::slice::from_ref(expected.now)).map(drop)
}

/// Which of the states it is.
fn is_one_of(found: &State, states: &[State]) -> Result<usize, String> {
    let place = states.iter().rposition(|state| state == found);
    place.ok_or_else(|| {
        let nearest = states.last();
        let all = found
            .keys()
            .chain(nearest.iter().flat_map(|state| state.keys()));
        let differ = all.filter(|path| found.get(*path) != nearest.and_then(|it| it.get(*path)));
        format!(
            "what comes back was never there: {:?}",
            differ.collect::<Vec<_>>()
        )
    })
}
