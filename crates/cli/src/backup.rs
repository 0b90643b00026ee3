//! `keyhaven backup`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use keyhaven::{BackupOptions, BackupReport, Budget, Outcome as Became};

use crate::args;
use crate::failure::Outcome;
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
        ..BackupOptions::default()
    };
    let mut show = world.voice.observer();
    let report = haven.backup(options, &mut show)?;
    drop(show);
    world.voice.say(describe(&report, begun.elapsed()));
    world.voice.answer(&answer(&report, begun.elapsed()));
    Ok(match report.outcome {
        Became::Complete | Became::Unchanged => ExitCode::SUCCESS,
        Became::Partial { .. } => ExitCode::from(NOT_COMPLETE),
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
            "Backup number {} is safe but not complete: {pending_files} files are pending, the next \
             backup takes them. {} sent, {}.",
            report.sequence,
            ui::bytes(report.sent_bytes),
            ui::seconds(took)
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
        "ok": true,
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
        "seconds": took.as_secs_f64(),
    })
}
