//! What is measured, step by step, of all programs in turn.

use std::path::Path;

use anyhow::{Context as _, bail};
use keyhaven_corpus::{Corpus, Day, Difference, Fingerprint};
use serde_json::Value;

use super::Options;
use super::measure::{self, Cost, Stored};
use super::peers::{ComesBack, Peer, Places};

/// The database of all messages, in the store.
const CHATS: &str = "Databases/msgstore.db";

/// A program, where it works, and what was measured of it.
#[derive(Debug)]
pub(super) struct Entrant {
    pub(super) peer: Peer,
    places: Places,
    pub(super) results: Results,
}

/// Everything measured of one program, one value for each round.
#[derive(Debug, Default)]
pub(super) struct Results {
    pub(super) first: Vec<Cost>,
    pub(super) stored: Stored,
    pub(super) unchanged: Vec<Cost>,
    /// A usual day, new media included.
    pub(super) day: Vec<Sent>,
    /// A day of messages alone.
    pub(super) messages_day: Vec<Sent>,
    pub(super) restore: Vec<Cost>,
    pub(super) verify: Vec<Cost>,
}

/// What a backup of a day took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) cost: Cost,
    /// By so much the repository grew.
    pub(super) grown: u64,
    /// What was sent of databases before padding, where the program tells it.
    pub(super) unpadded: Option<u64>,
}

impl Entrant {
    pub(super) fn new(peer: Peer, bench: &Path, source: &Path) -> Self {
        let places = Places::new(bench, source, peer.name);
        Self {
            peer,
            places,
            results: Results::default(),
        }
    }

    fn backup(&self) -> anyhow::Result<Cost> {
        measure::run(
            &self.peer.backup.command(&self.peer, &self.places),
            &self.places,
        )
    }
}

/// Measures all of it. Nothing but the results is left.
pub(super) fn measure(
    options: &Options,
    source: &Path,
    entrants: &mut [Entrant],
) -> anyhow::Result<()> {
    for round in 1..=options.rounds {
        for entrant in in_turn(round, entrants) {
            first(round, source, entrant)?;
        }
    }
    for round in 1..=options.rounds {
        for entrant in in_turn(round, entrants).filter(|one| one.peer.keeps_history) {
            let cost = entrant.backup()?;
            println!("round {round}: {} unchanged: {cost}", entrant.peer.name);
            entrant.results.unchanged.push(cost);
        }
    }
    let usual = Day::of_use(options.messages.into());
    for round in 1..=options.rounds {
        Corpus::next_day(source, usual)?;
        for entrant in in_turn(round, entrants).filter(|one| one.peer.keeps_history) {
            let sent = day(round, "next day", source, entrant)?;
            entrant.results.day.push(sent);
        }
        Corpus::next_day(
            source,
            Day {
                media_files: 0,
                forwarded: 0,
                ..usual
            },
        )?;
        for entrant in in_turn(round, entrants).filter(|one| one.peer.keeps_history) {
            let sent = day(round, "day of messages", source, entrant)?;
            entrant.results.messages_day.push(sent);
        }
    }
    // A copy without history is made anew, so that all restore the same.
    for entrant in entrants.iter().filter(|one| !one.peer.keeps_history) {
        entrant.places.clear()?;
        entrant.backup()?;
    }
    let expected = Fingerprint::of(source)?;
    for round in 1..=options.rounds {
        for entrant in in_turn(round, entrants) {
            restore(round, source, &expected, entrant)?;
        }
    }
    for round in 1..=options.rounds {
        for entrant in in_turn(round, entrants) {
            verify(round, entrant)?;
        }
    }
    for entrant in entrants {
        entrant.places.clear()?;
    }
    Ok(())
}

/// Each round begins with another one, so that what one leaves behind does not always meet the same.
fn in_turn(round: usize, entrants: &mut [Entrant]) -> impl Iterator<Item = &mut Entrant> {
    let first = round.checked_rem(entrants.len()).unwrap_or(0);
    let (later, sooner) = entrants.split_at_mut(first);
    sooner.iter_mut().chain(later)
}

/// The first backup into a new repository.
fn first(round: usize, source: &Path, entrant: &mut Entrant) -> anyhow::Result<()> {
    let Entrant {
        peer,
        places,
        results,
    } = &mut *entrant;
    places.clear()?;
    for line in &peer.prepare {
        measure::run(&line.command(peer, places), places)?;
    }
    measure::warm(source)?;
    measure::take_memory(&places.folder, Stored::of(source)?.bytes)?;
    let cost = measure::run(&peer.backup.command(peer, places), places)?;
    println!("round {round}: {} first backup: {cost}", peer.name);
    results.first.push(cost);
    results.stored = Stored::of(&places.repository)?;
    Ok(())
}

fn day(round: usize, what: &str, source: &Path, entrant: &Entrant) -> anyhow::Result<Sent> {
    let repository = &entrant.places.repository;
    let before = Stored::of(repository)?.bytes;
    measure::warm(source)?;
    let cost = entrant.backup()?;
    let grown = Stored::of(repository)?.bytes.saturating_sub(before);
    println!(
        "round {round}: {} {what}: {cost}, {grown} bytes more",
        entrant.peer.name
    );
    let unpadded = match entrant.peer.comes_back {
        ComesBack::Bytes | ComesBack::Rows => database_bytes(&measure::printed(&entrant.places)?)?,
        ComesBack::Totals => None,
    };
    Ok(Sent {
        cost,
        grown,
        unpadded,
    })
}

/// What the patches or pages of a backup's databases weigh before padding, from what `keyhaven backup --json` prints. None when no
/// database was sent.
fn database_bytes(printed: &str) -> anyhow::Result<Option<u64>> {
    let report: Value = serde_json::from_str(printed).context("keyhaven did not print JSON")?;
    let databases = report.get("databases").and_then(Value::as_array);
    let databases = databases.context("keyhaven did not say how the databases went")?;
    let bytes = databases.iter().map(|way| way.get("bytes"));
    Ok(bytes
        .filter_map(|bytes| bytes.and_then(Value::as_u64))
        .reduce(u64::saturating_add))
}

fn restore(
    round: usize,
    source: &Path,
    expected: &Fingerprint,
    entrant: &mut Entrant,
) -> anyhow::Result<()> {
    let Entrant {
        peer,
        places,
        results,
    } = &mut *entrant;
    places.clear_output()?;
    measure::warm(&places.repository)?;
    measure::take_memory(&places.folder, Stored::of(source)?.bytes)?;
    let mut command = peer.restore.command(peer, places);
    // Ours has its name when it is whole.
    command.awaited = peer.is_ours().then(|| places.output.join(CHATS));
    let cost = measure::run(&command, places)?;
    println!("round {round}: {} restore: {cost}", peer.name);
    results.restore.push(cost);
    compare(peer.comes_back, source, expected, &places.output)
        .with_context(|| format!("{} did not bring everything back", peer.name))?;
    places.clear_output()
}

/// Fails where something else came back than is due.
fn compare(
    due: ComesBack,
    source: &Path,
    expected: &Fingerprint,
    output: &Path,
) -> anyhow::Result<()> {
    if due == ComesBack::Totals {
        let (there, here) = (Stored::of(source)?, Stored::of(output)?);
        if there != here {
            bail!("{there:?} were backed up, and {here:?} restored");
        }
        return Ok(());
    }
    let mut differences = expected.differences(&Fingerprint::of(output)?);
    if due == ComesBack::Rows {
        // By rows a database comes back in other pages; its rows are compared by themselves.
        let is_database = |path: &Path| expected.databases().any(|(database, _)| database == path);
        differences.retain(
            |difference| !matches!(difference, Difference::Bytes(path) if is_database(path)),
        );
    }
    if !differences.is_empty() {
        bail!("what was restored differs: {differences:?}");
    }
    Ok(())
}

fn verify(round: usize, entrant: &mut Entrant) -> anyhow::Result<()> {
    let Some(line) = &entrant.peer.verify else {
        return Ok(());
    };
    measure::warm(&entrant.places.repository)?;
    let cost = measure::run(
        &line.command(&entrant.peer, &entrant.places),
        &entrant.places,
    )?;
    println!("round {round}: {} verify: {cost}", entrant.peer.name);
    entrant.results.verify.push(cost);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_databases_weigh_is_told_apart_from_padding() {
        let printed = r#"{"ok":true,"sent_bytes":1048576,"databases":[
            {"path":"a.db","tier":"rows","patches":2,"rows":7,"bytes":4000,"why":"asked"},
            {"path":"b.db","tier":"rows","patches":1,"rows":1,"bytes":500,"why":"asked"},
            {"path":"c.db","tier":"pages","patches":0,"rows":0,"bytes":60,"why":"small"}]}"#;
        assert_eq!(database_bytes(printed).unwrap(), Some(4_560));
        let none = r#"{"ok":true,"databases":[]}"#;
        assert_eq!(database_bytes(none).unwrap(), None);
        assert!(database_bytes(r#"{"ok":true}"#).is_err());
        assert!(database_bytes("Nothing has changed.").is_err());
    }

    #[test]
    fn a_restore_that_lacks_a_file_or_a_byte_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        let output = folder.path().join("output");
        for place in [&source, &output] {
            fs::create_dir(place).unwrap();
            fs::write(place.join("a"), "one").unwrap();
            fs::write(place.join("b"), "two").unwrap();
        }
        let expected = Fingerprint::of(&source).unwrap();
        let check = |due| compare(due, &source, &expected, &output);
        for due in [ComesBack::Bytes, ComesBack::Rows, ComesBack::Totals] {
            check(due).unwrap();
        }
        fs::write(output.join("b"), "tow").unwrap();
        assert!(check(ComesBack::Bytes).is_err());
        assert!(check(ComesBack::Rows).is_err());
        // Of others only the totals are asked.
        check(ComesBack::Totals).unwrap();
        fs::write(output.join("b"), "tw").unwrap();
        assert!(check(ComesBack::Totals).is_err());
        fs::remove_file(output.join("b")).unwrap();
        assert!(check(ComesBack::Totals).is_err());
    }
}
