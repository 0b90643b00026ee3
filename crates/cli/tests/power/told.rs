//! What is known of a recorded story, and kept of one that failed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::check::{Expected, Manner, Seen, State, check, state};
use crate::disk::{Change, Disk};
use crate::guarded::{self, Guard, Guarded};
use crate::house::House;
use crate::image::Image;
use crate::rule::Rule;
use crate::story::{FAR, START, VAULT};

/// What is kept.
pub(crate) const STORY: &str = "story.json";

/// What is asked for again after a failure: `FOLDER CUT RULE ANSWERED`.
pub(crate) const AGAIN: &str = "KEYHAVEN_POWER";

/// What is kept of a story that failed.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) changes: Vec<Change>,
    /// The source's states, and from which change on each can be in a backup.
    pub(crate) states: Vec<(usize, State)>,
    /// Up to which change which state was backed up for certain.
    pub(crate) sure: Vec<(usize, usize)>,
    /// From which change on a setup has ended well.
    pub(crate) set_up: Option<usize>,
    /// What a remote store has, after each change.
    pub(crate) arrived: Vec<BTreeSet<PathBuf>>,
    /// The 64 digits that it wrote down.
    pub(crate) key: Option<String>,
    /// Up to which change the newest backup is damaged.
    pub(crate) damaged: Option<usize>,
    /// Up to which change nothing has found that it is.
    pub(crate) unnoticed: Option<usize>,
    /// From which change on a restore has ended well.
    pub(crate) restored: Option<usize>,
    /// Where a password or the 64 digits bring the key back.
    pub(crate) guarded: Option<Guarded>,
}

/// When the power goes, what is left then, and how much a vault has answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    pub(crate) cut: usize,
    pub(crate) rule: Rule,
    pub(crate) answered: usize,
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.cut, self.rule, self.answered)
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) name: String,
    pub(crate) manner: Manner,
    pub(crate) told: Told,
}

impl Told {
    pub(crate) fn sure_at(&self, cut: usize) -> usize {
        let sure = self.sure.iter().rev().find(|(from, _)| *from <= cut);
        sure.map_or(0, |(_, state)| *state)
    }

    /// Something may arrive just after a change, before the power goes.
    pub(crate) fn arrival(&self, cut: usize, rule: Rule) -> usize {
        let late = cut + usize::from(rule == Rule::Everything);
        late.min(self.arrived.len() - 1)
    }

    /// A recording begins: with a vault, what it answers is counted from here.
    pub(crate) fn begin_asking(&mut self) {
        if let Some(guarded) = &mut self.guarded {
            guarded.answered = vec![0];
            guarded.in_all = 0;
            guarded.done = None;
        }
    }

    /// How much a vault has answered just after a change, and just before the next one.
    pub(crate) fn answers(&self, cut: usize) -> (usize, usize) {
        let Some(guarded) = &self.guarded else {
            return (0, 0);
        };
        let next = guarded.answered.get(cut + 1).copied();
        (guarded.answered[cut], next.unwrap_or(guarded.in_all))
    }

    /// Whether the command that a story is about had ended well by then.
    pub(crate) fn is_done(&self, cut: usize) -> bool {
        let guarded = self.guarded.as_ref();
        guarded.is_some_and(|guarded| guarded.is_done(cut))
    }

    pub(crate) fn check(
        &self,
        image: &Image,
        Point {
            cut,
            rule,
            answered,
        }: Point,
        manner: Manner,
        world: &Path,
        house: Option<&House>,
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
        let seen = match &self.guarded {
            Some(guarded) => guarded::check(
                image,
                &expected,
                &Guard {
                    world,
                    house,
                    answered,
                    heard: self.answers(cut).0,
                    guarded,
                    is_done: guarded.is_done(cut),
                    number: cut,
                },
            ),
            None => check(image, &expected),
        };
        seen.map(|seen| match seen {
            Seen::State(place) => Seen::State(place + sure),
            seen => seen,
        })
    }
}

/// One image of a story that failed, looked at once more.
#[test]
fn once_more() {
    let Ok(asked) = std::env::var(AGAIN) else {
        return;
    };
    let words: Vec<&str> = asked.split_whitespace().collect();
    let [folder, cut, rule, answered] = words[..] else {
        panic!("{AGAIN} is FOLDER CUT RULE ANSWERED, not {asked:?}");
    };
    let folder = Path::new(folder);
    let point = Point {
        cut: cut.parse().unwrap(),
        rule: rule.parse().unwrap(),
        answered: answered.parse().unwrap(),
    };
    let Kept { name, manner, told } =
        serde_json::from_slice(&fs::read(folder.join(STORY)).unwrap()).unwrap();
    let mut disk = Disk::holding(&Image::of(&folder.join(START), &[]));
    for (number, change) in told.changes[..point.cut].iter().enumerate() {
        println!("{:4} {change}", number + 1);
        disk.apply(change);
    }
    let image = disk.image(point.rule);
    println!(
        "{name}: {} effects were not flushed; {} of them leave",
        disk.pending(),
        point.rule
    );
    for (path, entry) in image.entries() {
        println!("  {} {:?}", path.display(), entry.len());
    }
    let address = told.guarded.as_ref().and_then(|it| it.address.as_deref());
    let house = address.map(|address| House::again(&folder.join(VAULT), address));
    let seen = told.check(&image, point, manner, folder, house.as_ref());
    println!("{seen:?}");
    seen.unwrap();
}

/// An error is one JSON object, with a remedy that goes with the exit code.
pub(crate) fn is_told(out: &str, code: i32) -> Result<(), String> {
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
