//! What a person does, recorded once, and looked at with the power lost at every point of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::PoisonError;

use crate::check::{Manner, STARTING, Seen, State, state};
use crate::disk::{Change, Disk};
use crate::effort::Effort;
use crate::guarded::{Guarded, LOGIN, SAID, Step};
use crate::house::House;
use crate::image::Image;
use crate::record::{Meddling, Run, SOURCE, When, record};
use crate::rule::Rule;
use crate::servers::Server;
use crate::told::{AGAIN, Kept, Point, STORY, Told, is_told};
use crate::world::{OTHER, PASSWORD, Ran, World, files};

/// Names in the world's folder that are no part of an image.
const WITHOUT: &[&str] = &[SOURCE, "tmp", DAV, SAID, VAULT, STORY, START];
const DAV: &str = "dav";
/// The store in it.
pub(crate) const FAR: &str = "dav/backups";
/// What a vault keeps.
pub(crate) const VAULT: &str = "vault";
/// Where a story that failed keeps what it began with.
pub(crate) const START: &str = "start";

/// Whom a remote store lets in.
const USER: &str = "theodora";
const SECRET: &str = "webdav-secret-9";

pub(crate) struct Story {
    pub(crate) world: World,
    name: &'static str,
    manner: Manner,
    start: Option<Image>,
    told: Told,
    server: Option<Server>,
    house: Option<House>,
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

    /// In how many the command was run again.
    pub(crate) fn again(&self) -> usize {
        self.count(Seen::Again)
    }

    /// In how many it had ended well.
    pub(crate) fn done(&self) -> usize {
        self.count(Seen::Done)
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
            house: None,
        }
    }

    /// Whose key the 64 digits bring back, and nothing else.
    pub(crate) fn with_digits(name: &'static str, world: World, step: Step) -> Self {
        let mut story = Self::new(name, Manner::Pages, world);
        story.told.guarded = Some(Guarded::of(step, None));
        story
    }

    /// With a vault, which is asked over a real socket, and keeps what has arrived whatever becomes of this device.
    pub(crate) fn with_vault(name: &'static str, world: World, step: Step) -> Self {
        let (house, login) = House::new(&world.at(VAULT));
        fs::create_dir(world.at(SAID)).unwrap();
        for (file, text) in [("pw", PASSWORD), ("other", OTHER), (LOGIN, &login)] {
            fs::write(world.at(SAID).join(file), text).unwrap();
        }
        let mut story = Self::new(name, Manner::Pages, world);
        story.told.guarded = Some(Guarded::of(step, Some(house.address())));
        story.house = Some(house);
        story
    }

    /// The command that the story is about.
    pub(crate) fn line(&self) -> String {
        self.told.guarded.as_ref().unwrap().line()
    }

    pub(crate) fn has_vault(&self) -> bool {
        self.house.is_some()
    }

    /// Another one, with the same vault.
    pub(crate) fn line_of(&self, step: Step) -> String {
        let address = self.house.as_ref().map(House::address);
        Guarded::of(step, address).line()
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
        if let Some(guarded) = &mut self.told.guarded {
            guarded.answered.push(guarded.in_all);
        }
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
        if let Some(guarded) = &mut self.told.guarded
            && line.starts_with(&guarded.line())
        {
            guarded.done = Some(now);
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
            if let Some(house) = &self.house {
                house.begin();
            }
            self.told.begin_asking();
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
        let answered = || self.house.as_ref().map_or(0, House::answered);
        let guarded = &mut self.told.guarded;
        let mut each = || {
            arrivals.push(arrived(&far));
            if let Some(guarded) = guarded {
                guarded.answered.push(answered());
            }
        };
        let run = record(&command, &root, meddling, changes, &mut each);
        if let Some(guarded) = &mut self.told.guarded {
            guarded.in_all = answered();
        }
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
        self.holds(&format!("{what}, code {code}"));
        let dropped =
            |change: &Change| matches!(change, Change::FlushFails { .. } | Change::FlushAllFails);
        if self.house.is_none() && self.told.changes.iter().any(dropped) {
            // What the disk never got is still to be read, and the next run must not build on it.
            let again = self.recorded(line, Meddling::Nothing);
            if again.code == Some(0) {
                self.ended(line, self.told.changes.len());
            }
            self.holds(&format!("{what}, code {code}, and then {:?}", again.code));
        }
        Some(code)
    }

    /// What must hold if the power goes after the last change that was recorded.
    fn holds(&self, what: &str) {
        let cut = self.told.changes.len();
        let mut disk = self.disk();
        for change in &self.told.changes {
            disk.apply(change);
        }
        let world = self.world.folder.path().to_path_buf();
        let whole = disk.image(Rule::Everything);
        for rule in [Rule::Everything, Rule::Nothing] {
            let image = disk.image(rule);
            if rule == Rule::Nothing && image == whole {
                continue;
            }
            let point = Point {
                cut,
                rule,
                answered: self.told.answers(cut).1,
            };
            let house = self.house.as_ref();
            let seen = self.told.check(&image, point, self.manner, &world, house);
            seen.unwrap_or_else(|wrong| panic!("{what}; {rule} survived: {wrong}"));
        }
    }

    /// Puts everything back as it was before the first recorded command.
    fn rewind(&mut self) {
        let Some(start) = &self.start else { return };
        let root = self.world.folder.path();
        clear(root);
        start.write(root);
        if let Some(house) = &self.house {
            house.bring_back(0);
            house.begin();
        }
        self.told.begin_asking();
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
            let (from, to) = self.told.answers(cut);
            let is_apart = self.house.is_some() && (from != to || cut == self.told.changes.len());
            for rule in effort.rules(cut, disk.pending(), is_apart) {
                let image = disk.image(rule);
                for answered in
                    (from..=to).filter(|at| effort.each_answer || *at == from || *at == to)
                {
                    if !known.insert((
                        *image.digest().as_bytes(),
                        self.told.sure_at(cut),
                        self.told.arrived[self.told.arrival(cut, rule)].len(),
                        (answered, self.told.is_done(cut)),
                    )) {
                        continue;
                    }
                    looked.images += 1;
                    let point = Point {
                        cut,
                        rule,
                        answered,
                    };
                    let house = self.house.as_ref();
                    match self.told.check(&image, point, self.manner, &world, house) {
                        Ok(seen) => *looked.seen.entry(seen).or_default() += 1,
                        Err(wrong) => self.fails(point, &wrong),
                    }
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

    fn fails(self, point: Point, wrong: &str) -> ! {
        let Self {
            world,
            name,
            manner,
            start,
            told,
            ..
        } = self;
        let Point {
            cut,
            rule,
            answered,
        } = point;
        let last = told.changes[..cut].iter().rev().take(12).rev();
        let last: String = last.map(|change| format!("    {change}\n")).collect();
        let of_a_vault = told.guarded.as_ref().map_or(String::new(), |_| {
            format!(", {answered} requests answered by the vault")
        });
        let folder = world.folder.keep();
        start.unwrap().write(&made(&folder.join(START)));
        let kept = Kept {
            name: name.to_owned(),
            manner,
            told,
        };
        let json = serde_json::to_vec(&kept).unwrap();
        fs::write(folder.join(STORY), json).unwrap();
        panic!(
            "{name}: with the power lost after change {cut}{of_a_vault}, and of what was not flushed {rule}: {wrong}\n  \
             after\n{last}  \
             once more: {AGAIN}='{} {point}' cargo test --release -p keyhaven-cli --test power \
             once_more -- --nocapture",
            folder.display()
        );
    }
}

/// Runs a command that is no part of a record.
pub(crate) fn run(world: &World, line: &str) -> Ran {
    ran(&mut world.command(line))
}

pub(crate) fn ran(command: &mut Command) -> Ran {
    let child = {
        let _nothing_is_looked_at = STARTING.write().unwrap_or_else(PoisonError::into_inner);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Removes all that is part of an image.
pub(crate) fn clear(root: &Path) {
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

fn made(folder: &Path) -> PathBuf {
    fs::create_dir(folder).unwrap();
    folder.to_path_buf()
}
