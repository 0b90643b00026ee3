//! What survives a loss of power, of all that was not flushed.

/// Which effects survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// None.
    Nothing,
    /// All: what a kill leaves.
    Everything,
    /// Those whose bit is set, whole.
    Only(u64),
    /// Drawn from a seed, torn too.
    Drawn(u64),
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => write!(f, "nothing"),
            Self::Everything => write!(f, "everything"),
            Self::Only(mask) => write!(f, "only:{mask}"),
            Self::Drawn(seed) => write!(f, "drawn:{seed}"),
        }
    }
}

impl std::str::FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?}: nothing, everything, only:MASK or drawn:SEED");
        let number = |digits: &str| digits.parse().map_err(|_| bad());
        match text.split_once(':') {
            None if text == "nothing" => Ok(Self::Nothing),
            None if text == "everything" => Ok(Self::Everything),
            Some(("only", mask)) => Ok(Self::Only(number(mask)?)),
            Some(("drawn", seed)) => Ok(Self::Drawn(number(seed)?)),
            _ => Err(bad()),
        }
    }
}

/// What a file's length does when bytes behind its end were written and not flushed.
#[derive(Clone, Copy, Debug)]
enum Length {
    WithBytes,
    Always,
    ByItself,
}

/// How a drawn image is drawn: each seed has odds of its own, so that some keep nearly everything of one kind and
/// nothing of another.
#[derive(Clone, Copy, Debug)]
struct Odds {
    name: u64,
    write: u64,
    torn: bool,
    length: Length,
    any_bytes: bool,
}

/// Takes the decisions of one image, in order.
pub(crate) struct Choice {
    rule: Rule,
    next: u32,
    random: Random,
    odds: Odds,
}

impl Choice {
    pub(crate) fn new(rule: Rule) -> Self {
        let seed = match rule {
            Rule::Drawn(seed) => seed,
            Rule::Nothing | Rule::Everything | Rule::Only(_) => 0,
        };
        let mut random = Random::new(seed);
        let odds = Odds {
            name: random.one_of([0, 25, 50, 75, 100]),
            write: random.one_of([0, 25, 50, 75, 100]),
            torn: random.percent(50),
            length: random.one_of([Length::WithBytes, Length::Always, Length::ByItself]),
            any_bytes: random.percent(25),
        };
        Self {
            rule,
            next: 0,
            random,
            odds,
        }
    }

    fn takes(&mut self, percent: u64) -> bool {
        self.next += 1;
        match self.rule {
            Rule::Nothing => false,
            Rule::Everything => true,
            Rule::Only(mask) => mask.checked_shr(self.next - 1).unwrap_or(0) & 1 == 1,
            Rule::Drawn(_) => self.random.percent(percent),
        }
    }

    fn is_drawn(&self) -> bool {
        matches!(self.rule, Rule::Drawn(_))
    }

    /// Whether what became of a name survives.
    pub(crate) fn name(&mut self) -> bool {
        self.takes(self.odds.name)
    }

    /// Whether a length that was set survives.
    pub(crate) fn length(&mut self) -> bool {
        self.takes(50)
    }

    /// Decides about one write.
    pub(crate) fn write(&mut self) -> Write<'_> {
        let whole = self.takes(self.odds.write);
        Write {
            choice: self,
            whole,
        }
    }
}

/// The decisions about one write.
pub(crate) struct Write<'a> {
    choice: &'a mut Choice,
    whole: bool,
}

impl Write<'_> {
    /// Whether the next sector of it survives.
    pub(crate) fn sector(&mut self) -> bool {
        if self.choice.is_drawn() && self.choice.odds.torn {
            self.choice.random.percent(self.choice.odds.write)
        } else {
            self.whole
        }
    }

    /// What stands in a lost sector that held nothing before, unless it is zeros.
    pub(crate) fn any_bytes(&mut self, len: usize) -> Option<Vec<u8>> {
        let any = self.choice.is_drawn() && self.choice.odds.any_bytes;
        any.then(|| {
            (0..len)
                .map(|_| self.choice.random.next().to_le_bytes()[0])
                .collect()
        })
    }

    /// Whether the length that it gave the file survives.
    pub(crate) fn length(&mut self, bytes_survive: bool) -> bool {
        if !self.choice.is_drawn() {
            return self.whole;
        }
        match self.choice.odds.length {
            Length::WithBytes => bytes_survive,
            Length::Always => true,
            Length::ByItself => self.choice.random.percent(50),
        }
    }
}

/// Numbers from a seed (`xorshift64*`).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        // Neighbouring seeds begin far from each other, and none at zero.
        Self((seed ^ 0x5851_f42d_4c95_7f2d).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 24
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    fn one_of<T: Copy, const N: usize>(&mut self, all: [T; N]) -> T {
        all[usize::try_from(self.next()).unwrap() % N]
    }
}
