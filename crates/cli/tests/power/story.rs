//! What a person does, recorded once, and looked at with the power lost at every point of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::PoisonError;

use serde::{Deserialize, Serialize};

use crate::check::{Expected, Manner, STARTING, Seen, State, check, state};
use crate::disk::{Change, Disk};
use crate::image::Image;
use crate::record::{Meddling, Run, When, record};
use crate::rule::Rule;
use crate::servers::Server;
use crate::world::{Ran, World, files};

/// Names in the world's folder that are no part of an image.
const WITHOUT: &[&str] = &["chats", "tmp", DAV];
const DAV: &str = "dav";
/// The store in it.
const FAR: &str = "dav/backups";

/// Whom a remote store lets in.
const USER: &str = "theodora";
const SECRET: &str = "webdav-secret-9";
const STORY: &str = "story.json";

/// What is asked for again after a failure: `FOLDER CUT RULE`.
const AGAIN: &str = "KEYHAVEN_POWER";

pub(crate) struct Story {
    pub(crate) world: World,
    name: &'static str,
    manner: Manner,
    start: Option<Image>,
    told: Told,
    server: Option<Server>,
}

/// What is kept of a story that failed.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Told {
    changes: Vec<Change>,
    /// The source's states, and from which change on each can be in a backup.
    states: Vec<(usize, State)>,
    /// Up to which change which state was backed up for certain.
    sure: Vec<(usize, usize)>,
    /// From which change on a setup has ended well.
    set_up: Option<usize>,
    /// What a remote store has, after each change.
    arrived: Vec<BTreeSet<PathBuf>>,
    /// The 64 digits that it wrote down.
    key: Option<String>,
    /// Up to which change the newest backup is damaged.
    damaged: Option<usize>,
    /// Up to which change nothing has found that it is.
    unnoticed: Option<usize>,
    /// From which change on a restore has ended well.
    restored: Option<usize>,
}

/// What a look at all images of a story came to.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    cuts: usize,
    images: usize,
    seen: BTreeMap<Seen, usize>,
}

impl Looked {
    /// How many images give back that state.
    pub(crate) fn comes_to(&self, state: usize) -> usize {
        self.count(Seen::State(state))
    }

    /// How many show no setup, and could be set up.
    pub(crate) fn not_set_up(&self) -> usize {
        self.count(Seen::NotSetUp)
    }

    /// In how many the newest backup is as damaged as it was before.
    pub(crate) fn damaged(&self) -> usize {
        self.count(Seen::Damaged)
    }

    fn count(&self, seen: Seen) -> usize {
        self.seen.get(&seen).copied().unwrap_or(0)
    }
}

impl Story {
    pub(crate) fn new(name: &'static str, manner: Manner, world: World) -> Self {
        Self {
            world,
            name,
            manner,
            start: None,
            told: Told::default(),
            server: None,
        }
    }

    /// With a store far away, which keeps what has arrived whatever becomes of this device.
    pub(crate) fn far(name: &'static str, world: World) -> Self {
        fs::create_dir(world.at(DAV)).unwrap();
        let server = Server::webdav(&world.at(DAV), USER, SECRET);
        Self {
            server: Some(server),
            ..Self::new(name, Manner::Far, world)
        }
    }

    /// The store's address, where it is far away.
    pub(crate) fn address(&self) -> String {
        let server = self.server.as_ref().unwrap();
        format!("webdav://{}/backups", server.address)
    }

    fn command(&self, line: &str) -> Command {
        let mut command = self.world.command(line);
        if self.server.is_some() {
            command.env("KEYHAVEN_STORE_USER", USER);
            command.env("KEYHAVEN_STORE_SECRET", SECRET);
        }
        command
    }

    /// Runs a command that is no part of the record; all that it does is certain.
    pub(crate) fn before(&mut self, line: &str) {
        assert!(self.start.is_none());
        ran(&mut self.command(line)).is(0);
        if line.starts_with("setup") {
            self.is_set_up(0);
        }
        if line.starts_with("backup") {
            let state = self.state();
            self.told.states.push((0, state));
        }
    }

    /// The newest backup is damaged, until the first recorded backup has ended.
    pub(crate) fn is_damaged(&mut self) {
        self.told.damaged = Some(usize::MAX);
    }

    /// And that is not known, until a recorded verification has ended.
    pub(crate) fn is_unnoticed(&mut self) {
        self.told.unnoticed = Some(usize::MAX);
    }

    /// Tells the record that the test itself removed a file.
    pub(crate) fn forgets(&mut self, name: &str) {
        self.told.changes.push(Change::Remove { path: name.into() });
        self.told.arrived.push(BTreeSet::new());
    }

    fn state(&self) -> State {
        state(&self.world.at("chats"), self.manner)
    }

    /// Runs a command and records it. It ends well, with this code.
    pub(crate) fn runs(&mut self, line: &str, code: i32) {
        let ended = self.recorded(line, Meddling::Nothing);
        assert_eq!(ended.code, Some(code), "{}: {line}", self.name);
        self.ended(line, self.told.changes.len());
    }

    /// What ended well is certain from there on.
    fn ended(&mut self, line: &str, now: usize) {
        if line.starts_with("setup") {
            self.is_set_up(now);
        }
        let ends = |until: &mut Option<usize>| {
            if *until == Some(usize::MAX) {
                *until = Some(now);
            }
        };
        if line.starts_with("restore") {
            self.told.restored = Some(now);
        }
        if line.starts_with("verify") {
            ends(&mut self.told.unnoticed);
        }
        if line.starts_with("backup") {
            self.told.sure.push((now, self.told.states.len() - 1));
            ends(&mut self.told.damaged);
        }
    }

    fn is_set_up(&mut self, from: usize) {
        self.told.set_up = Some(from);
        self.told.key = Some(fs::read_to_string(self.world.at("keys/key")).unwrap());
    }

    /// Runs a command, and kills it before one of its changes.
    pub(crate) fn is_killed(&mut self, line: &str, when: When) {
        let ended = self.recorded(line, Meddling::Kill(when));
        assert_eq!(ended.code, None, "{}: {line} had ended before", self.name);
    }

    fn recorded(&mut self, line: &str, meddling: Meddling) -> Run {
        let root = self.world.folder.path().to_path_buf();
        if self.start.is_none() {
            self.start = Some(Image::of(&root, WITHOUT));
            // What the newest backup holds is what was backed up last.
            let last = self.told.states.pop();
            self.told.states = vec![last.unwrap_or_default()];
            self.told.sure = vec![(0, 0)];
            self.told.arrived = vec![arrived(&root.join(FAR))];
        }
        if line.starts_with("backup") {
            let state = self.state();
            if self
                .told
                .states
                .last()
                .is_some_and(|(_, last)| *last != state)
            {
                self.told.states.push((self.told.changes.len(), state));
            }
        }
        let command = self.command(line);
        let changes = &mut self.told.changes;
        let (far, arrivals) = (root.join(FAR), &mut self.told.arrived);
        let mut each = || arrivals.push(arrived(&far));
        let run = record(&command, &root, meddling, changes, &mut each);
        self.is_whole();
        run
    }

    /// Runs a command from the start, of which one change fails; its exit code, or none where it makes no such change.
    ///
    /// F4: what ends well is certain; what does not says what to do, and the next run, with a disk that is in order, is as any
    /// other, also when the power goes before it.
    pub(crate) fn runs_with_a_fault(&mut self, line: &str, at: usize, errno: i32) -> Option<i32> {
        self.rewind();
        let run = self.recorded(line, Meddling::Fail { at, errno });
        let Some(failed) = &run.failed else {
            assert_eq!(run.code, Some(0), "{}: {line}", self.name);
            return None;
        };
        let what = format!(
            "{}: {line}: change {at} failed with {errno}: {failed}",
            self.name
        );
        let code = run.code.unwrap_or_else(|| panic!("{what}: it was killed"));
        let cut = self.told.changes.len();
        if code == 0 {
            self.ended(line, cut);
        } else {
            is_told(&run.out, code).unwrap_or_else(|wrong| panic!("{what}: {wrong}: {run:?}"));
        }
        let mut disk = self.disk();
        for change in &self.told.changes {
            disk.apply(change);
        }
        let world = self.world.folder.path().to_path_buf();
        for rule in [Rule::Everything, Rule::Nothing] {
            let seen = self
                .told
                .check(&disk.image(rule), (cut, rule), self.manner, &world);
            seen.unwrap_or_else(|wrong| panic!("{what}, code {code}, {rule} survived: {wrong}"));
        }
        Some(code)
    }

    /// Puts everything back as it was before the first recorded command.
    fn rewind(&mut self) {
        let Some(start) = &self.start else { return };
        let root = self.world.folder.path();
        for entry in fs::read_dir(root).unwrap() {
            let entry = entry.unwrap();
            if WITHOUT.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                fs::remove_dir_all(entry.path()).unwrap();
            } else {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        start.write(root);
        self.told.changes.clear();
        self.told.states.truncate(1);
        self.told.sure.truncate(1);
        self.told.arrived.truncate(1);
        self.told.set_up = self.told.set_up.filter(|from| *from == 0);
        self.told.restored = None;
    }

    /// No silent gap: the record, played whole, is what is there.
    fn is_whole(&self) {
        let mut disk = self.disk();
        for change in &self.told.changes {
            disk.apply(change);
        }
        let there = Image::of(self.world.folder.path(), WITHOUT);
        let differ = disk.image(Rule::Everything).differences(&there);
        assert!(differ.is_empty(), "{}: not recorded: {differ:?}", self.name);
    }

    fn disk(&self) -> Disk {
        Disk::holding(self.start.as_ref().unwrap())
    }

    /// Looks at what is left when the power goes, before the first change, between any two, and after the last.
    pub(crate) fn look(self, effort: Effort) -> Looked {
        let mut looked = Looked::default();
        let mut known = BTreeSet::new();
        let world = self.world.folder.path().to_path_buf();
        let mut disk = self.disk();
        for cut in 0..=self.told.changes.len() {
            if cut > 0 {
                disk.apply(&self.told.changes[cut - 1]);
            }
            looked.cuts += 1;
            for rule in effort.rules(cut, disk.pending()) {
                let image = disk.image(rule);
                if !known.insert((
                    *image.digest().as_bytes(),
                    self.told.sure_at(cut),
                    self.told.arrived[self.told.arrival(cut, rule)].len(),
                )) {
                    continue;
                }
                looked.images += 1;
                match self.told.check(&image, (cut, rule), self.manner, &world) {
                    Ok(seen) => *looked.seen.entry(seen).or_default() += 1,
                    Err(wrong) => self.fails(cut, rule, &wrong),
                }
            }
        }
        println!(
            "{}: {} changes, {} images; {:?}",
            self.name,
            looked.cuts - 1,
            looked.images,
            looked.seen
        );
        looked
    }

    fn fails(self, cut: usize, rule: Rule, wrong: &str) -> ! {
        let Self {
            world,
            name,
            manner,
            start,
            told,
            ..
        } = self;
        let last = told.changes[..cut].iter().rev().take(12).rev();
        let last: String = last.map(|change| format!("    {change}\n")).collect();
        let folder = world.folder.keep();
        start.unwrap().write(&made(&folder.join("start")));
        let kept = Kept {
            name: name.to_owned(),
            manner,
            told,
        };
        let json = serde_json::to_vec(&kept).unwrap();
        fs::write(folder.join(STORY), json).unwrap();
        panic!(
            "{name}: with the power lost after change {cut}, and of what was not flushed {rule}: {wrong}\n  \
             after\n{last}  \
             once more: {AGAIN}='{} {cut} {rule}' cargo test --release -p keyhaven-cli --test power \
             once_more -- --nocapture",
            folder.display()
        );
    }
}

#[derive(Serialize, Deserialize)]
struct Kept {
    name: String,
    manner: Manner,
    told: Told,
}

impl Told {
    fn sure_at(&self, cut: usize) -> usize {
        let sure = self.sure.iter().rev().find(|(from, _)| *from <= cut);
        sure.map_or(0, |(_, state)| *state)
    }

    /// Something may arrive just after a change, before the power goes.
    fn arrival(&self, cut: usize, rule: Rule) -> usize {
        let late = cut + usize::from(rule == Rule::Everything);
        late.min(self.arrived.len() - 1)
    }

    fn check(
        &self,
        image: &Image,
        (cut, rule): (usize, Rule),
        manner: Manner,
        world: &Path,
    ) -> Result<Seen, String> {
        let begun = self.states.iter().take_while(|(from, _)| *from <= cut);
        let begun: Vec<State> = begun.map(|(_, state)| state.clone()).collect();
        let sure = self.sure_at(cut);
        let (chats, far) = (world.join("chats"), world.join(FAR));
        let arrived = &self.arrived[self.arrival(cut, rule)];
        let is_set_up = self.set_up.is_some_and(|from| from <= cut);
        let is_before = |until: Option<usize>| until.is_some_and(|to| cut < to);
        let expected = Expected {
            manner,
            chats: &chats,
            far: &far,
            arrived,
            states: &begun[sure..],
            now: &state(&chats, manner),
            is_set_up,
            key: self.key.as_deref().filter(|_| is_set_up),
            is_damaged: is_before(self.damaged),
            is_unnoticed: is_before(self.unnoticed),
            is_restored: self.restored.is_some_and(|from| from <= cut),
        };
        check(image, &expected).map(|seen| match seen {
            Seen::State(place) => Seen::State(place + sure),
            seen => seen,
        })
    }
}

/// How many images are looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Every subset of at most so many effects.
    pub(crate) subsets_of: u32,
    /// Beyond that, so many seeds at each point.
    pub(crate) seeds: u64,
    /// Only every so many points are looked at with more than nothing left of what was not flushed.
    pub(crate) every: usize,
}

impl Effort {
    pub(crate) fn chosen() -> Self {
        if std::env::var_os("KEYHAVEN_LONG").is_some() {
            Self {
                subsets_of: 10,
                seeds: 20,
                every: 1,
            }
        } else {
            Self {
                subsets_of: 0,
                seeds: 1,
                every: 4,
            }
        }
    }

    /// For a story of so many parts.
    pub(crate) fn among(self, parts: usize) -> Self {
        Self {
            every: self.every * parts,
            ..self
        }
    }

    fn rules(self, cut: usize, pending: usize) -> Vec<Rule> {
        let mut rules = vec![Rule::Nothing];
        if cut.is_multiple_of(self.every) {
            rules.push(Rule::Everything);
            if pending <= usize::try_from(self.subsets_of).unwrap() {
                rules.extend((0..1 << pending).map(Rule::Only));
            }
            let first = u64::try_from(cut).unwrap() * 1_000;
            rules.extend((first..first + self.seeds).map(Rule::Drawn));
        }
        rules
    }
}

/// One image of a story that failed, looked at once more.
#[test]
fn once_more() {
    let Ok(asked) = std::env::var(AGAIN) else {
        return;
    };
    let words: Vec<&str> = asked.split_whitespace().collect();
    let [folder, cut, rule] = words[..] else {
        panic!("{AGAIN} is FOLDER CUT RULE, not {asked:?}");
    };
    let folder = Path::new(folder);
    let (cut, rule): (usize, Rule) = (cut.parse().unwrap(), rule.parse().unwrap());
    let Kept { name, manner, told } =
        serde_json::from_slice(&fs::read(folder.join(STORY)).unwrap()).unwrap();
    let mut disk = Disk::holding(&Image::of(&folder.join("start"), &[]));
    for (number, change) in told.changes[..cut].iter().enumerate() {
        println!("{:4} {change}", number + 1);
        disk.apply(change);
    }
    let image = disk.image(rule);
    println!(
        "{name}: {} effects were not flushed; {rule} of them leave",
        disk.pending()
    );
    for (path, entry) in image.entries() {
        println!("  {} {:?}", path.display(), entry.len());
    }
    let seen = told.check(&image, (cut, rule), manner, folder);
    println!("{seen:?}");
    seen.unwrap();
}

/// Runs a command that is no part of a record.
pub(crate) fn run(world: &World, line: &str) -> Ran {
    let _nothing_is_looked_at = STARTING.write().unwrap_or_else(PoisonError::into_inner);
    world.run(line)
}

fn ran(command: &mut Command) -> Ran {
    let _nothing_is_looked_at = STARTING.write().unwrap_or_else(PoisonError::into_inner);
    Ran::of(command)
}

/// The objects that a remote store has by now.
fn arrived(far: &Path) -> BTreeSet<PathBuf> {
    if !far.exists() {
        return BTreeSet::new();
    }
    let files = files(far).into_iter();
    files
        .map(|path| path.strip_prefix(far).unwrap().to_path_buf())
        .collect()
}

/// An error is one JSON object, with a remedy that goes with the exit code.
fn is_told(out: &str, code: i32) -> Result<(), String> {
    let said: serde_json::Value = serde_json::from_str(out).map_err(|error| error.to_string())?;
    let remedy = match code {
        1 => "stop",
        3 => "retry-later",
        4 => "ask-user",
        _ => return Err(format!("it ended with {code}")),
    };
    if said["ok"] != false || said["remedy"] != remedy || said["error"].as_str().is_none() {
        return Err(format!("it ended with {code} and said {said}"));
    }
    Ok(())
}

fn made(folder: &Path) -> PathBuf {
    fs::create_dir(folder).unwrap();
    folder.to_path_buf()
}
