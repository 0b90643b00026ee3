//! `keyhaven status`.

use std::process::ExitCode;

use keyhaven::{ProtectorError, Usage};

use crate::backup::{describe_way, way_json};
use crate::browse::json;
use crate::failure::Outcome;
use crate::ui;
use crate::verify::{gone_back_json, tell_gone_back};
use crate::world::World;

pub(crate) fn run(world: &World) -> Outcome {
    let haven = world.open()?;
    let config = haven.config()?;
    let voice = world.voice;
    voice.say(format!("source      {}", config.source.display()));
    voice.say(format!("store       {}", config.store));
    voice.say(format!(
        "key         {} ({})",
        haven.fingerprint()?,
        haven.keystore()
    ));
    let exposed = haven.exposed();
    voice.exposed(&exposed);
    voice.say(format!(
        "protectors  {}{}",
        if config.recovery_key_proven {
            "64-digit key (proven)"
        } else {
            "64-digit key (not proven)"
        },
        match &config.vault {
            Some(vault) => format!(", password at {} as {}", vault.address, vault.account),
            None => String::new(),
        }
    ));
    let snapshots = haven.snapshots()?;
    let newest = snapshots.first();
    if let Some(newest) = newest {
        voice.say(format!(
            "newest      number {} of {} UTC: {}, {}, {}{}",
            newest.sequence,
            ui::time(newest.device_time_s),
            ui::counted(newest.files, "file"),
            ui::counted(newest.databases, "database"),
            ui::bytes(newest.bytes),
            if newest.complete {
                ""
            } else {
                " (not complete)"
            }
        ));
    }
    let gone_back = haven.gone_back()?;
    if let Some(gone_back) = &gone_back {
        tell_gone_back(voice, gone_back);
    }
    let usage = haven.usage();
    match &usage {
        Ok(usage) => {
            voice.say(format!("bytes       {}", describe(usage)));
            if usage.lost_objects > 0 {
                voice.warn(format!(
                    "the newest backup needs {} that the store does not have, or has cut: `keyhaven verify` names what is \
                     lost with them, and the next `keyhaven backup` sends again what is still here",
                    ui::counted(usage.lost_objects, "object")
                ));
            }
        }
        Err(error) => voice.say(format!("bytes       not counted: {error}")),
    }
    let ways = haven.ways();
    for way in &ways {
        voice.say(format!("database    {}", describe_way(way)));
    }
    let others = snapshots
        .iter()
        .filter(|one| one.head)
        .count()
        .saturating_sub(1);
    if others > 0 {
        voice.say(format!(
            "heads       {others} more: other devices have backed up here too"
        ));
    }
    // The vault may be away; the rest is worth saying all the same.
    let vault = match haven.standing() {
        Ok(None) => serde_json::Value::Null,
        Ok(Some((standing, alarm))) => {
            let totals = standing.totals;
            let wrong = totals.answered.saturating_sub(totals.right);
            voice.say(format!(
                "vault       {} left in a row; {wrong} wrong or unfinished in all",
                match standing.guesses_left {
                    1 => "1 guess".to_owned(),
                    left => format!("{left} guesses"),
                }
            ));
            if let Some(alarm) = alarm {
                voice.warn(format!("ALARM: {alarm}"));
            }
            serde_json::json!({
                "guesses_left": standing.guesses_left,
                "wrong_or_unfinished": wrong,
                "alarm": alarm.map(|alarm| alarm.to_string()),
            })
        }
        Err(error) => {
            let is_reached = matches!(error, ProtectorError::RemovalCutOff);
            let what = if is_reached { "" } else { "not reached: " };
            voice.say(format!("vault       {what}{error}"));
            serde_json::json!({ "error": error.to_string() })
        }
    };
    voice.answer(&serde_json::json!({
        "ok": true,
        "source": config.source,
        "store": config.store,
        "recovery_key_proven": config.recovery_key_proven,
        "exposed": ui::exposed_json(&exposed),
        "newest": newest.map(json),
        "snapshots": snapshots.len(),
        "gone_back": gone_back.as_ref().map(gone_back_json),
        "databases": ways.iter().map(way_json).collect::<Vec<_>>(),
        "usage": usage.map_or_else(
            |error| serde_json::json!({ "error": error.to_string() }),
            |usage| usage_json(&usage),
        ),
        "vault": vault,
    }));
    Ok(ExitCode::SUCCESS)
}

/// What the store's bytes are, for a person.
fn describe(usage: &Usage) -> String {
    let unmeasured = match usage.unmeasured_objects {
        0 => String::new(),
        some => format!(
            "; the padding of {} is not known yet",
            ui::counted(some, "object")
        ),
    };
    format!(
        "{} stored in {}: {} live in {}, {} padding, {} other{unmeasured}",
        ui::bytes(usage.stored_bytes),
        ui::counted(usage.stored_objects, "object"),
        ui::bytes(usage.live_bytes),
        ui::counted(usage.live_objects, "object"),
        ui::bytes(usage.padding_bytes),
        ui::bytes(usage.other_bytes),
    )
}

fn usage_json(usage: &Usage) -> serde_json::Value {
    serde_json::json!({
        "stored_bytes": usage.stored_bytes,
        "stored_objects": usage.stored_objects,
        "live_bytes": usage.live_bytes,
        "live_objects": usage.live_objects,
        "lost_objects": usage.lost_objects,
        "padding_bytes": usage.padding_bytes,
        "other_bytes": usage.other_bytes,
        "unmeasured_objects": usage.unmeasured_objects,
    })
}
