//! `keyhaven browse`.

use std::process::ExitCode;

use keyhaven::{EntryKind, SnapshotInfo};

use crate::args::{self, BrowseWhat};
use crate::failure::{Failure, Outcome};
use crate::ui;
use crate::world::World;

/// Digits of a snapshot's name that are shown: enough to choose by.
pub(crate) const SHORT: usize = 12;

pub(crate) fn run(world: &World, args: &args::Browse) -> Outcome {
    let voice = world.voice;
    if voice.json && matches!(args.what, Some(BrowseWhat::Cat { .. })) {
        return Err(Failure::ask(
            "`browse cat` writes the file itself to standard output: leave out --json",
        ));
    }
    let haven = world.open()?;
    let snapshot = args.snapshot.as_deref();
    match args.what.as_ref().unwrap_or(&BrowseWhat::Snapshots) {
        BrowseWhat::Snapshots => {
            let snapshots = haven.snapshots()?;
            for one in &snapshots {
                voice.say(line(one));
            }
            let all: Vec<_> = snapshots.iter().map(json).collect();
            voice.answer(&serde_json::json!({ "ok": true, "snapshots": all }));
        }
        BrowseWhat::Files { path } => {
            let mut entries = Vec::new();
            let info = haven.list(snapshot, path.as_deref(), &mut |entry| {
                let (mark, word) = match entry.kind {
                    EntryKind::File => ("", "file"),
                    EntryKind::Database => ("  (database)", "database"),
                    EntryKind::Folder => ("/", "folder"),
                    EntryKind::Link => ("  (link)", "link"),
                };
                voice.say(format!(
                    "{:>12}  {}{mark}",
                    if entry.kind == EntryKind::Folder {
                        String::new()
                    } else {
                        ui::bytes(entry.bytes)
                    },
                    ui::shown(&entry.path)
                ));
                if voice.json {
                    entries.push(serde_json::json!({
                        "path": entry.path.to_string_lossy(),
                        "kind": word,
                        "bytes": entry.bytes,
                        "modified_ns": entry.modified_ns,
                    }));
                }
            })?;
            let of = json(&info);
            voice.answer(&serde_json::json!({ "ok": true, "snapshot": of, "files": entries }));
        }
        BrowseWhat::Cat { path } => {
            haven.cat(snapshot, path, &mut std::io::stdout().lock())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn line(one: &SnapshotInfo) -> String {
    let mut marks = Vec::new();
    if one.head {
        marks.push("newest");
    }
    if !one.complete {
        marks.push("not complete");
    }
    if one.pinned {
        marks.push("pinned");
    }
    if !one.ours {
        marks.push("another device");
    }
    let name = one.name.to_string();
    format!(
        "{:>5}  {}  {} UTC  {:>13}  {:>13}  {:>10}  {}",
        one.sequence,
        name.get(..SHORT).unwrap_or(&name),
        crate::ui::time(one.device_time_s),
        ui::counted(one.files, "file"),
        ui::counted(one.databases, "database"),
        ui::bytes(one.bytes),
        marks.join(", ")
    )
}

pub(crate) fn json(one: &SnapshotInfo) -> serde_json::Value {
    serde_json::json!({
        "name": one.name.to_string(),
        "sequence": one.sequence,
        "device_time_s": one.device_time_s,
        "complete": one.complete,
        "ours": one.ours,
        "head": one.head,
        "pinned": one.pinned,
        "files": one.files,
        "databases": one.databases,
        "bytes": one.bytes,
    })
}
