//! What a person does, recorded once, and looked at with the power lost at every point of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::check::{Expected, Manner, Seen, State, check, state};
use crate::disk::{Change, Disk};
use crate::image::Image;
use crate::record::{Meddling, When, record};
use crate::rule::Rule;
use crate::world::World;

/// Names in the world's folder that are no part of an image: the source, what the test keeps beside it, and the folder of a
/// server.
const WITHOUT: &[&str] = &["chats", "tmp", "dav"];
const STORY: &str = "story.json";

/// What is asked for again after a failure: `FOLDER CUT RULE`.
const AGAIN: &str = "KEYHAVEN_POWER";

pub(crate) struct Story {
    pub(crate) world: World,
    name: &'static str,
    manner: Manner,
    start: Option<Image>,
    told: Told,
    /// The files of a remote store, after each change.
    remote: Vec<BTreeSet<PathBuf>>,
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
    /// Up to which change the newest backup is damaged.
    damaged: Option<usize>,
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
            remote: Vec::new(),
        }
    }

    /// Runs a command that is no part of the record; all that it does is certain.
    pub(crate) fn before(&mut self, line: &str) {
        assert!(self.start.is_none());
        self.world.run(line).is(0);
        self.told.set_up = Some(0);
        if line.starts_with("backup") {
            let state = self.state();
            self.told.states.push((0, state));
        }
    }

    /// The newest backup is damaged, until the first recorded backup has ended.
    pub(crate) fn is_damaged(&mut self) {
        self.told.damaged = Some(usize::MAX);
    }

    /// Nothing that was recorded mends it.
    pub(crate) fn may_stay_damaged(&mut self) {
        self.told.damaged = Some(usize::MAX);
    }

    /// Tells the record that the test itself removed a file.
    pub(crate) fn forgets(&mut self, name: &str) {
        self.told.changes.push(Change::Remove { path: name.into() });
        self.remote.push(self.remote.last().unwrap().clone());
    }

    fn state(&self) -> State {
        state(&self.world.at("chats"), self.manner)
    }

    /// Runs a command and records it. It ends well, with this code.
    pub(crate) fn runs(&mut self, line: &str, code: i32) {
        let ended = self.recorded(line, Meddling::Nothing);
        assert_eq!(ended, Some(code), "{}: {line}", self.name);
        let now = self.told.changes.len();
        if line.starts_with("setup") {
            self.told.set_up = Some(now);
        }
        if line.starts_with("backup") {
            self.told.sure.push((now, self.told.states.len() - 1));
            if self.told.damaged == Some(usize::MAX) {
                self.told.damaged = Some(now);
            }
        }
    }

    /// Runs a command, and kills it before one of its changes.
    pub(crate) fn is_killed(&mut self, line: &str, when: When) {
        let ended = self.recorded(line, Meddling::Kill(when));
        assert_eq!(ended, None, "{}: {line} had ended before", self.name);
    }

    fn recorded(&mut self, line: &str, meddling: Meddling) -> Option<i32> {
        let root = self.world.folder.path().to_path_buf();
        if self.start.is_none() {
            self.start = Some(Image::of(&root, WITHOUT));
            // What the newest backup holds is what was backed up last.
            let last = self.told.states.pop();
            self.told.states = vec![last.unwrap_or_default()];
            self.told.sure = vec![(0, 0)];
            self.remote = vec![listed(&root.join("dav"))];
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
        let remote = &mut self.remote;
        let dav = root.join("dav");
        let command = self.world.command(line);
        let changes = &mut self.told.changes;
        let mut each = || remote.push(listed(&dav));
        let run = record(&command, &root, meddling, changes, &mut each);
        self.is_whole();
        run.code
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
        let chats = self.world.at("chats");
        let mut disk = self.disk();
        for cut in 0..=self.told.changes.len() {
            if cut > 0 {
                disk.apply(&self.told.changes[cut - 1]);
            }
            looked.cuts += 1;
            for rule in effort.rules(cut, disk.pending()) {
                let image = disk.image(rule);
                if !known.insert((*image.digest().as_bytes(), self.told.sure_at(cut))) {
                    continue;
                }
                looked.images += 1;
                match self.told.check(&image, cut, self.manner, &chats) {
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

    fn check(
        &self,
        image: &Image,
        cut: usize,
        manner: Manner,
        chats: &Path,
    ) -> Result<Seen, String> {
        let begun = self.states.iter().take_while(|(from, _)| *from <= cut);
        let begun: Vec<State> = begun.map(|(_, state)| state.clone()).collect();
        let sure = self.sure_at(cut);
        let expected = Expected {
            manner,
            chats,
            states: &begun[sure..],
            now: &state(chats, manner),
            is_set_up: self.set_up.is_some_and(|from| from <= cut),
            may_lose: self.damaged.is_some_and(|to| cut < to),
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
    /// Only every so many points are looked at with more than nothing and everything.
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
        let mut rules = vec![Rule::Nothing, Rule::Everything];
        if cut.is_multiple_of(self.every) {
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
    let seen = told.check(&image, cut, manner, &folder.join("chats"));
    println!("{seen:?}");
    seen.unwrap();
}

fn made(folder: &Path) -> PathBuf {
    fs::create_dir(folder).unwrap();
    folder.to_path_buf()
}

/// The files of a remote store's folder.
fn listed(dav: &Path) -> BTreeSet<PathBuf> {
    if !dav.exists() {
        return BTreeSet::new();
    }
    crate::world::files(dav).into_iter().collect()
}
