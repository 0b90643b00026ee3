//! `keyhaven backup`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use keyhaven::{
    BackupOptions, BackupReport, Budget, Outcome as Became, RepackBudget, Repacked, TableWay, Tier,
    Way,
};

use crate::args;
use crate::failure::Outcome;
use crate::interrupt::cancel_on_signals;
use crate::restore::DAMAGED;
use crate::ui;
use crate::world::World;

/// The exit code of a backup that is safe but not complete.
const NOT_COMPLETE: u8 = 5;

pub(crate) fn run(world: &World, args: &args::Backup) -> Outcome {
    let haven = world.open()?;
    let begun = Instant::now();
    let options = BackupOptions {
        budget: Budget {
            time: args.time_limit.map(Duration::from_secs),
            bytes: args.upload_limit.map(|mib| mib.saturating_mul(1 << 20)),
        },
        accept_shrunk: args.accept_shrunk,
        accept_lost: args.accept_lost,
        repack: args.repack.map(RepackBudget::of_mib),
        cancel: cancel_on_signals()?,
        tier: match args.tier {
            args::Tier::Pages => Tier::Pages,
            args::Tier::Rows => Tier::Rows,
            args::Tier::Auto => Tier::Auto,
        },
        ..BackupOptions::default()
    };
    let mut show = world.voice.observer();
    let report = haven.backup(options, &mut show)?;
    drop(show);
    if !matches!(args.tier, args::Tier::Pages) {
        for way in &report.ways {
            world.voice.say(describe_way(way));
        }
    }
    world.voice.say(describe(&report, begun.elapsed()));
    if args.repack.is_some() {
        world.voice.say(describe_repacked(&report.repacked));
    }
    world.voice.answer(&answer(&report, begun.elapsed()));
    Ok(match (&report.damaged, report.outcome) {
        (Some(_), _) => ExitCode::from(DAMAGED),
        (None, Became::Complete | Became::Unchanged) => ExitCode::SUCCESS,
        (None, Became::Partial { .. }) => ExitCode::from(NOT_COMPLETE),
    })
}

/// A sentence or two for a person.
pub(crate) fn describe(report: &BackupReport, took: Duration) -> String {
    let source = report.source;
    match report.outcome {
        Became::Unchanged => format!(
            "Nothing has changed since backup number {}: it is complete ({}, {}, {}; \
             looked at in {}).",
            report.sequence,
            ui::counted(source.files, "file"),
            ui::counted(source.databases, "database"),
            ui::bytes(source.bytes),
            ui::seconds(took)
        ),
        Became::Complete => format!(
            "Backup number {} is complete: {}, {}, {}. {} changed, {} sent in {}, {}.",
            report.sequence,
            ui::counted(source.files, "file"),
            ui::counted(source.databases, "database"),
            ui::bytes(source.bytes),
            report.changed,
            ui::bytes(report.sent_bytes),
            ui::counted(report.sent_objects, "object"),
            ui::seconds(took)
        ),
        Became::Partial { pending_files } => format!(
            "Backup number {} is safe but not complete: {}. {} sent, {}.",
            report.sequence,
            match pending_files {
                1 => "1 file is pending, the next backup tries it again".to_owned(),
                more => format!("{more} files are pending, the next backup tries them again"),
            },
            ui::bytes(report.sent_bytes),
            ui::seconds(took)
        ),
    }
}

fn describe_repacked(repacked: &Repacked) -> String {
    match repacked.objects {
        0 => "There was nothing worth moving out of short objects.".to_owned(),
        some => format!(
            "{} that it needs no more: {} were moved out of them.",
            ui::counted(some, "short object"),
            ui::bytes(repacked.bytes)
        ),
    }
}

fn answer(report: &BackupReport, took: Duration) -> serde_json::Value {
    let (outcome, pending) = match report.outcome {
        Became::Complete => ("complete", 0),
        Became::Unchanged => ("unchanged", 0),
        Became::Partial { pending_files } => ("partial", pending_files),
    };
    serde_json::json!({
        "ok": report.damaged.is_none(),
        "outcome": outcome,
        "pending_files": pending,
        "sequence": report.sequence,
        "sent_bytes": report.sent_bytes,
        "sent_objects": report.sent_objects,
        "changed": report.changed,
        "source": {
            "files": report.source.files,
            "databases": report.source.databases,
            "bytes": report.source.bytes,
        },
        "databases": report.ways.iter().map(way_json).collect::<Vec<_>>(),
        "damaged": report.damaged.as_ref().map(|damaged| serde_json::json!({
            "snapshot": damaged.snapshot.to_string(),
            "sequence": damaged.sequence,
            "opens": damaged.opens,
            "reason": damaged.reason,
        })),
        "repacked": {
            "objects": report.repacked.objects,
            "bytes": report.repacked.bytes,
        },
        "seconds": took.as_secs_f64(),
    })
}

/// How a database went, for a person.
pub(crate) fn describe_way(way: &Way) -> String {
    let path = ui::shown(&way.path);
    let bytes = ui::bytes(way.bytes);
    if way.by_rows {
        let rows = ui::counted(way.rows, "row");
        let patches = match way.patches {
            1 => "1 patch".to_owned(),
            more => format!("{more} patches"),
        };
        let tables = describe_tables(&way.tables);
        format!(
            "{path}: by rows ({rows} changed{tables}, {bytes}; {patches} on its pages): {}",
            way.why
        )
    } else {
        format!("{path}: by pages ({bytes}): {}", way.why)
    }
}

/// The tables with most changed rows, and how many more there are.
fn describe_tables(tables: &[TableWay]) -> String {
    const SHOWN: usize = 3;
    if tables.is_empty() {
        return String::new();
    }
    let mut most: Vec<&TableWay> = tables.iter().collect();
    most.sort_by_key(|table| std::cmp::Reverse(table.rows));
    let shown = most.iter().take(SHOWN);
    let shown: Vec<String> = shown
        .map(|table| format!("{} in {}", table.rows, ui::shown(&table.name)))
        .collect();
    let shown = shown.join(", ");
    match most.len().saturating_sub(SHOWN) {
        0 => format!(": {shown}"),
        1 => format!(": {shown} and another table"),
        more => format!(": {shown} and {more} more tables"),
    }
}

/// How a database went, for programs.
pub(crate) fn way_json(way: &Way) -> serde_json::Value {
    serde_json::json!({
        "path": way.path.to_string_lossy(),
        "tier": if way.by_rows { "rows" } else { "pages" },
        "patches": way.patches,
        "rows": way.rows,
        "tables": way.tables.iter().map(|table| serde_json::json!({
            "name": table.name,
            "rows": table.rows,
        })).collect::<Vec<_>>(),
        "bytes": way.bytes,
        "why": way.why,
    })
}
