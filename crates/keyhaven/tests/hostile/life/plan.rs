//! What happens in a life: every step, drawn from the seed before the first one is made.
//!
//! Nothing of a plan depends on what comes of its steps, so a seed alone is the whole course, and a course of which some steps are
//! left out is one too. What cannot be known beforehand, such as how many files there are, is a [`Pick`].

use keyhaven::Pace;

use super::chance::{Chance, Pick};

/// What is so for the whole life. Which steps there are, and how often, is drawn anew for each seed as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Manner {
    /// The store is reached over a network; else it is a folder, which a loss of power takes from.
    pub(crate) far: bool,
    pub(crate) tiers: Tiers,
    /// Databases have a log; else a journal.
    pub(crate) log: bool,
    pub(crate) page_size: u32,
    /// Media of several packs come, too.
    pub(crate) films: bool,
    /// Some calm days follow each other, so that there are short packs to be emptied.
    pub(crate) days: bool,
    /// Databases are committed before any file that has changed.
    pub(crate) messages_first: bool,
    /// What there is is committed whenever something of it was sent.
    pub(crate) checkpoints: bool,
    /// What was sent is remembered at once.
    pub(crate) remembers: bool,
}

impl Manner {
    pub(crate) fn pace(self) -> Pace {
        let usual = Pace::default();
        let at_once = |is_so: bool, usual: u64| if is_so { 1 } else { usual };
        Pace {
            messages_first_bytes: at_once(self.messages_first, usual.messages_first_bytes),
            checkpoint_bytes: at_once(self.checkpoints, usual.checkpoint_bytes),
            remember_bytes: at_once(self.remembers, usual.remember_bytes),
            ..usual
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tiers {
    Pages,
    Rows,
    Both,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// So much time passes that what was changed is known not to change in the same tick again.
    Settle,
    Change(Device, Change),
    Backup(Device, Backup),
    /// So many days on which something changes and is backed up. Each leaves short packs of which something stays in use; on the last
    /// one some of them are emptied.
    Days {
        on: Device,
        days: u64,
        noise: u64,
        rows: bool,
        /// A new file comes on each.
        files: bool,
        repack: Option<u64>,
    },
    Restore {
        on: Device,
        /// The newest without it.
        older: Option<Pick>,
        weather: Weather,
        /// It is cut off at this call, and run again.
        cut: Option<u64>,
    },
    /// A restore over the source itself.
    GoBack {
        on: Device,
        older: Pick,
    },
    Verify {
        on: Device,
        all: bool,
        weather: Weather,
    },
    Spoil(Device, Spoil),
    /// The power goes while nothing runs; which of what was not flushed is left, the number says.
    PowerLoss(Device, u64),
    /// A copy of the whole home is made, as a device's own backup would.
    CopyHome(Device),
    PutHomeBack(Device, Pick),
    /// An earlier state of the store is served, and then the newest again.
    StoreGoesBack(Device, Pick),
    /// The store has lost for good what came after an earlier state of it; without one, the newest backup that a device knows of.
    /// Each device that misses something goes on by word, killed at these calls first.
    StoreLoses {
        on: Device,
        earlier: Option<Pick>,
        kills: Vec<Kill>,
    },
    /// A new device restores by the digits, and backs up too.
    NewDevice,
}

/// Of the devices that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Device(pub(crate) usize);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Write {
        name: u64,
        bytes: u64,
        noise: u64,
    },
    Films {
        films: u64,
        noise: u64,
    },
    Edit {
        file: Pick,
        at: Pick,
    },
    Append {
        file: Pick,
        bytes: u64,
        noise: u64,
    },
    Move {
        file: Pick,
        folder: Pick,
    },
    Copy {
        file: Pick,
        name: u64,
    },
    Delete {
        file: Pick,
    },
    DeleteMany,
    MakeFolder {
        below: Pick,
        name: u64,
    },
    MoveFolder {
        folder: Pick,
        name: u64,
    },
    RemoveFolder {
        folder: Pick,
    },
    Link {
        name: u64,
        to: u64,
    },
    NewDatabase {
        name: u64,
    },
    Insert {
        database: Pick,
        rows: u64,
        noise: u64,
    },
    Update {
        database: Pick,
        every: u64,
        noise: u64,
    },
    EditRow {
        database: Pick,
        row: Pick,
        noise: u64,
    },
    DeleteRows {
        database: Pick,
        every: u64,
    },
    NewTable {
        database: Pick,
        name: u64,
    },
    Vacuum {
        database: Pick,
    },
    FoldLog {
        database: Pick,
    },
    /// The app is closed and opened again.
    Reopen,
    /// A program writes into a file that it has mapped, and the file's times do not tell of it.
    Unseen,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backup {
    pub(crate) rows: bool,
    /// So many bytes may be sent again to empty short packs.
    pub(crate) repack: Option<u64>,
    /// So many bytes may be sent at all.
    pub(crate) budget: Option<u64>,
    /// A person has said that what the store lost is given up.
    pub(crate) accept_lost: bool,
    pub(crate) weather: Weather,
    /// Runs that are killed, one after the other.
    pub(crate) kills: Vec<Kill>,
    pub(crate) ends: Ending,
}

impl Backup {
    /// One that nothing disturbs.
    pub(crate) fn calm(rows: bool) -> Self {
        Self {
            rows,
            repack: None,
            budget: None,
            accept_lost: false,
            weather: Weather::Calm,
            kills: Vec::new(),
            ends: Ending::Run,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A run that is not killed.
    Run,
    /// None: the last one was killed.
    Killed,
    /// The power goes; which of what was not flushed is left, the number says.
    PowerLoss(u64),
    /// It goes, and there is a run after it.
    PowerLossAndRun(u64),
    /// There is a run, and then it goes.
    RunAndPowerLoss(u64),
}

/// A kill before or after the call of this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kill {
    pub(crate) at: u64,
    pub(crate) of: Calls,
    pub(crate) done: bool,
}

/// Of which calls a kill has the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Calls {
    All,
    /// Those that change something: a run begins with many others.
    Changes,
    /// Those that commit.
    Commits,
}

/// What a store does to calls, each fault so many times in a thousand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    Calm,
    /// Faults that are told.
    Passing {
        rate: u16,
        noise: u64,
    },
    /// Also short answers, lists that lag.
    Dishonest {
        rate: u16,
        noise: u64,
    },
    /// From some call on, the credentials are no longer good. The next run has new ones.
    Expiring {
        rate: u16,
        noise: u64,
    },
}

/// What befalls the files of local state that can be deleted without loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoil {
    /// All of it is gone, with what the device knew of its newest backup.
    Everything,
    Gone {
        file: Pick,
    },
    Flipped {
        file: Pick,
        at: Pick,
        bits: u8,
    },
    Cut {
        file: Pick,
        at: Pick,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) manner: Manner,
    pub(crate) steps: Vec<Step>,
}

impl Plan {
    pub(crate) fn draw(seed: u64, steps: usize) -> Self {
        let mut chance = Chance::new(seed);
        let manner = Manner {
            far: chance.percent(40),
            tiers: chance.one(&[Tiers::Pages, Tiers::Pages, Tiers::Rows, Tiers::Both]),
            log: chance.percent(70),
            page_size: chance.one(&[512, 1024, 4096]),
            films: chance.percent(12),
            days: chance.percent(20),
            messages_first: chance.percent(30),
            checkpoints: chance.percent(40),
            remembers: chance.percent(30),
        };
        let mut habits = Habits::draw(&mut chance, manner);
        let mut all = vec![Step::Backup(Device(0), habits.backup(&mut chance))];
        while all.len() < steps {
            let step = habits.step(&mut chance);
            all.push(step);
        }
        Self {
            seed,
            manner,
            steps: all,
        }
    }
}

/// With so much to move, a repacking leaves out no pack of a calm day.
const ROOM_FOR_ALL: u64 = 8 << 20;

/// How often each thing happens in this life: swarm testing (Groce and others 2012).
struct Habits {
    manner: Manner,
    steps: [u64; 14],
    changes: [u64; 22],
    weathers: [u64; 4],
    kills: u64,
    power: u64,
    films_left: u64,
}

impl Habits {
    fn draw(chance: &mut Chance, manner: Manner) -> Self {
        let mut often = |usual: u64| usual * chance.one(&[0, 1, 1, 3]);
        let steps = [
            20,
            60 + often(20),
            60,
            often(12),
            often(4),
            often(6),
            often(14),
            often(5),
            often(5),
            often(8),
            if manner.days { 12 } else { 0 },
            often(5),
            often(4),
            often(4),
        ];
        let mut changes = [
            4, 3, 3, 2, 6, 4, 4, 1, 3, 2, 2, 2, 2, 8, 6, 3, 2, 2, 3, 3, 4, 2,
        ]
        .map(&mut often);
        changes[0] += 2;
        changes[13] += 2;
        changes[1] += if manner.films { 8 } else { 0 };
        let weathers = [10, often(3), often(2), often(1)];
        Self {
            manner,
            steps,
            changes,
            weathers,
            kills: chance.one(&[0, 20, 45]),
            power: chance.one(&[0, 15, 40]),
            films_left: if manner.films { 3 } else { 0 },
        }
    }

    fn step(&mut self, chance: &mut Chance) -> Step {
        let on = Device(chance.below(2) as usize);
        match chance.weighted(&self.steps) {
            0 => Step::Settle,
            1 => Step::Change(on, self.change(chance)),
            2 => Step::Backup(on, self.backup(chance)),
            3 => Step::Restore {
                on,
                older: chance.percent(50).then(|| Pick::draw(chance)),
                weather: self.weather(chance),
                cut: chance.percent(30).then(|| chance.below(30)),
            },
            4 => Step::GoBack {
                on,
                older: Pick::draw(chance),
            },
            5 => Step::Verify {
                on,
                all: chance.percent(50),
                weather: self.weather(chance),
            },
            6 => Step::Spoil(on, spoil(chance)),
            7 => Step::CopyHome(on),
            8 => Step::PutHomeBack(on, Pick::draw(chance)),
            9 => Step::StoreGoesBack(on, Pick::draw(chance)),
            10 => Step::Days {
                on,
                days: 11 + chance.below(5),
                noise: chance.word(),
                rows: self.rows(chance),
                files: chance.percent(50),
                repack: chance.percent(80).then_some(ROOM_FOR_ALL),
            },
            11 => Step::StoreLoses {
                on,
                earlier: chance.percent(60).then(|| Pick::draw(chance)),
                kills: self.kills(chance, false),
            },
            12 => Step::PowerLoss(on, survivors(chance)),
            _ => Step::NewDevice,
        }
    }

    fn weather(&self, chance: &mut Chance) -> Weather {
        let (rate, noise) = (chance.one(&[5, 20, 60]), chance.word());
        match chance.weighted(&self.weathers) {
            0 => Weather::Calm,
            1 => Weather::Passing { rate, noise },
            2 => Weather::Dishonest { rate, noise },
            _ => Weather::Expiring { rate, noise },
        }
    }

    fn rows(&self, chance: &mut Chance) -> bool {
        match self.manner.tiers {
            Tiers::Pages => false,
            Tiers::Rows => true,
            Tiers::Both => chance.percent(60),
        }
    }

    /// One at least, if there must be one.
    fn kills(&self, chance: &mut Chance, must_be: bool) -> Vec<Kill> {
        let mut kills = Vec::new();
        while kills.len() < 3 && (chance.percent(self.kills) || must_be && kills.is_empty()) {
            let of = chance.one(&[Calls::All, Calls::Changes, Calls::Changes, Calls::Commits]);
            let reach = match of {
                Calls::All => chance.one(&[8, 16, 40]),
                Calls::Changes => 8,
                Calls::Commits => chance.one(&[1, 3]),
            };
            kills.push(Kill {
                at: chance.below(reach),
                of,
                done: chance.percent(50),
            });
        }
        kills
    }

    fn backup(&self, chance: &mut Chance) -> Backup {
        let weather = self.weather(chance);
        let power_goes = chance.percent(self.power);
        let kills = self.kills(chance, power_goes);
        let survivors = survivors(chance);
        let ends = if power_goes {
            match chance.below(3) {
                0 => Ending::PowerLossAndRun(survivors),
                1 => Ending::RunAndPowerLoss(survivors),
                _ => Ending::PowerLoss(survivors),
            }
        } else if !kills.is_empty() && chance.percent(30) {
            Ending::Killed
        } else {
            Ending::Run
        };
        Backup {
            rows: self.rows(chance),
            repack: chance
                .percent(if self.manner.days { 50 } else { 6 })
                .then(|| chance.one(&[64 << 10, 8 << 20])),
            budget: chance
                .percent(8)
                .then(|| chance.one(&[1, 64 << 10, 1 << 20])),
            accept_lost: false,
            weather,
            kills,
            ends,
        }
    }

    fn change(&mut self, chance: &mut Chance) -> Change {
        let noise = chance.word();
        let (one, other) = (Pick::draw(chance), Pick::draw(chance));
        let name = chance.below(12);
        let bytes = match chance.below(8) {
            0 => 0,
            1 => chance.below(300_000),
            2..=4 => chance.below(40_000),
            _ => chance.below(900),
        };
        match chance.weighted(&self.changes) {
            1 if self.films_left > 0 => {
                self.films_left -= 1;
                let films = 5 + chance.below(5);
                Change::Films { films, noise }
            }
            0 | 1 => Change::Write { name, bytes, noise },
            2 => Change::Edit {
                file: one,
                at: other,
            },
            3 => Change::Append {
                file: one,
                bytes,
                noise,
            },
            4 => Change::Move {
                file: one,
                folder: other,
            },
            5 => Change::Copy { file: one, name },
            6 => Change::Delete { file: one },
            7 => Change::DeleteMany,
            8 => Change::MakeFolder { below: one, name },
            9 => Change::MoveFolder { folder: one, name },
            10 => Change::RemoveFolder { folder: one },
            11 => Change::Link {
                name: name % 3,
                to: noise % 4,
            },
            12 => Change::NewDatabase { name: name % 3 },
            13 => Change::Insert {
                database: one,
                rows: 1 + chance.below(60),
                noise,
            },
            14 => Change::Update {
                database: one,
                every: 2 + chance.below(200),
                noise,
            },
            15 => Change::DeleteRows {
                database: one,
                every: 2 + chance.below(90),
            },
            16 => Change::NewTable {
                database: one,
                name: name % 4,
            },
            17 => Change::Vacuum { database: one },
            18 => Change::FoldLog { database: one },
            19 => Change::Reopen,
            20 => Change::EditRow {
                database: one,
                row: other,
                noise,
            },
            _ => Change::Unseen,
        }
    }
}

/// Which of what was not flushed a loss of power leaves: often nothing.
fn survivors(chance: &mut Chance) -> u64 {
    chance.word() & chance.one(&[0, u64::MAX, u64::MAX])
}

fn spoil(chance: &mut Chance) -> Spoil {
    let (file, at) = (Pick::draw(chance), Pick::draw(chance));
    match chance.below(8) {
        0 => Spoil::Everything,
        1 | 2 => Spoil::Gone { file },
        3..=5 => Spoil::Flipped {
            file,
            at,
            bits: 1 << chance.below(8),
        },
        _ => Spoil::Cut { file, at },
    }
}
