//! `keyhaven verify`.

use std::collections::BTreeSet;
use std::process::ExitCode;

use keyhaven::{Affected, Depth, GoneBack, Lost, Sample, VerifyReport};

use crate::args;
use crate::browse::{SHORT, json};
use crate::failure::Outcome;
use crate::interrupt::cancel_on_signals;
use crate::restore::{DAMAGED, list_lost, lost_json, tell_lost};
use crate::ui::{self, Voice};
use crate::world::World;

pub(crate) fn run(world: &World, args: &args::Verify) -> Outcome {
    let haven = world.open()?;
    let depth = match (args.sample, args.depth) {
        (Some(share), _) => Depth::Sample(share),
        (None, args::Depth::Structure) => Depth::Structure,
        (None, args::Depth::All) => Depth::All,
    };
    let mut show = world.voice.observer();
    let report = haven.verify(
        depth,
        args.snapshot.as_deref(),
        &cancel_on_signals()?,
        &mut show,
    )?;
    drop(show);
    tell(world.voice, &report);
    world.voice.answer(&answer(&report));
    Ok(if report.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(DAMAGED)
    })
}

fn tell(voice: Voice, report: &VerifyReport) {
    voice.say(format!(
        "Backup number {}: {}, {} checked{}{}.",
        report.snapshot.sequence,
        ui::counted(report.files, "file"),
        ui::bytes(report.bytes),
        report.sample.as_ref().map(sampled).unwrap_or_default(),
        match (report.is_good(), report.snapshot.complete) {
            (true, true) => "; all is well",
            (true, false) => "; all that it holds is well",
            (false, _) => "",
        }
    ));
    for object in &report.damaged {
        voice.warn(format!("damaged: {} ({})", object.path, object.reason));
    }
    tell_lost(voice, &report.lost);
    let mut told: BTreeSet<_> = report.lost.iter().map(|lost| &lost.path).collect();
    for other in &report.affected {
        tell_other(voice, other, &mut told);
    }
    if report.lost.is_empty() && report.affected.is_empty() && !report.damaged.is_empty() {
        voice.warn("The damage costs no backup anything yet: every file can be brought back.");
    }
    if !report.damaged.is_empty() {
        voice.warn(
            "The next `keyhaven backup` sends again what is damaged and is still on this device. What \
             an older backup alone held is lost.",
        );
    }
    if let Some(gone_back) = &report.gone_back {
        tell_gone_back(voice, gone_back);
    }
    if report.damaged_snapshots > 0 {
        voice.warn(match report.damaged_snapshots {
            1 => "1 snapshot does not open".to_owned(),
            more => format!("{more} snapshots do not open"),
        });
    }
}

/// BACKUP-4: what a store no longer serves is told wherever somebody looks at it.
pub(crate) fn tell_gone_back(voice: Voice, gone_back: &GoneBack) {
    voice.warn(format!(
        "ALARM: the store serves an older state (number {}) than this device knows of (number {}): it was rolled back or \
         forked, another copy of it is connected, or parts are hidden or damaged",
        gone_back.newest, gone_back.noted
    ));
}

pub(crate) fn gone_back_json(gone_back: &GoneBack) -> serde_json::Value {
    serde_json::json!({ "noted": gone_back.noted, "newest": gone_back.newest })
}

fn sampled(sample: &Sample) -> String {
    format!(
        "; {} of {} of the store read in whole, {} of {}",
        sample.packs,
        ui::counted(sample.of_packs, "object"),
        ui::bytes(sample.bytes),
        ui::bytes(sample.of_bytes)
    )
}

/// Another backup that has lost something. What a newer one has lost, too, is not listed again.
fn tell_other<'a>(voice: Voice, other: &'a Affected, told: &mut BTreeSet<&'a std::path::PathBuf>) {
    let name = other.snapshot.name.to_string();
    let (new, again): (Vec<&Lost>, Vec<&Lost>) =
        other.lost.iter().partition(|lost| told.insert(&lost.path));
    voice.warn(format!(
        "Backup number {} ({}) of {} UTC has lost something, too{}:",
        other.snapshot.sequence,
        name.get(..SHORT).unwrap_or(&name),
        ui::time(other.snapshot.device_time_s),
        match again.len() {
            0 => String::new(),
            count => format!("; {count} of it as above"),
        }
    ));
    let new: Vec<Lost> = new.into_iter().cloned().collect();
    list_lost(voice, &new);
}

fn answer(report: &VerifyReport) -> serde_json::Value {
    let backup = |other: &Affected| {
        serde_json::json!({
            "snapshot": json(&other.snapshot),
            "lost": lost_json(&other.lost),
        })
    };
    serde_json::json!({
        "ok": report.is_good(),
        "snapshot": json(&report.snapshot),
        "files": report.files,
        "bytes": report.bytes,
        "damaged_snapshots": report.damaged_snapshots,
        "gone_back": report.gone_back.as_ref().map(gone_back_json),
        "other_objects": report.other_objects,
        "lost": lost_json(&report.lost),
        "affected": report.affected.iter().map(backup).collect::<Vec<_>>(),
        "damaged": report.damaged.iter().map(|object| serde_json::json!({
            "object": object.path,
            "reason": object.reason,
        })).collect::<Vec<_>>(),
        "sample": report.sample.map(|sample| serde_json::json!({
            "objects": sample.packs,
            "bytes": sample.bytes,
            "of_objects": sample.of_packs,
            "of_bytes": sample.of_bytes,
        })),
    })
}
