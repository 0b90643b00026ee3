//! What a person does with a password or the 64 digits, each with the power lost at every point of it. The vault is elsewhere,
//! and keeps what has arrived.

use crate::effort::Effort;
use crate::guarded::Step;
use crate::record::When;
use crate::scenarios::{BACKUP, SETUP, a_day_passes, source};
use crate::story::Story;

/// A device with a password and the 64 digits, which has backed up once.
pub(crate) fn with_password(name: &'static str, step: Step) -> Story {
    let mut story = Story::with_vault(name, source(), step);
    let setup = story.line_of(Step::Setup);
    story.before(&setup);
    story.before(BACKUP);
    story
}

/// Both were met: what is to be done again, and what had ended well.
#[track_caller]
fn is_done_again_or_done(story: Story, effort: Effort) {
    let looked = story.look(effort);
    assert!(looked.again() > 0 && looked.done() > 0, "{looked:?}");
}

/// BACKUP-2, VAULT-1, VAULT-7.
#[test]
fn a_setup_with_a_password() {
    let mut story = Story::with_vault("a setup with a password", source(), Step::Setup);
    story.runs(&story.line(), 0);
    let looked = story.look(Effort::stretching());
    assert!(looked.not_set_up() > 0 && looked.done() > 0, "{looked:?}");
}

/// BACKUP-4: the note is late, or its answer is lost.
#[test]
fn a_backup_that_notes_its_freshness() {
    let mut story = with_password("a backup that notes its freshness", Step::Backup);
    a_day_passes(&story.world);
    story.runs(BACKUP, 0);
    let looked = story.look(Effort::stretching());
    let met = [0, 1].map(|state| looked.comes_to(state));
    assert!(met.iter().all(|images| *images > 0), "{looked:?}");
}

/// VAULT-1, VAULT-7.
#[test]
fn a_password_change() {
    let mut story = with_password("a password change", Step::Change);
    story.runs(&story.line(), 0);
    is_done_again_or_done(story, Effort::stretching());
}

#[test]
fn a_password_removal() {
    let mut story = with_password("a password removal", Step::Removal);
    story.runs(&story.line(), 0);
    is_done_again_or_done(story, Effort::stretching().finer());
}

/// VAULT-7: nothing of a change that was cut off is held against the next password.
#[test]
fn a_password_removal_after_a_change_that_was_killed() {
    let mut story = with_password("a removal after a killed change", Step::Removal);
    let change = story.line_of(Step::Change);
    story.is_killed(&change, When::Named("home/state/vault/registration"));
    story.runs(&story.line(), 0);
    is_done_again_or_done(story, Effort::stretching().finer());
}

/// BACKUP-4, VAULT-1.
#[test]
fn a_recovery_by_the_password() {
    let mut story = with_password("a recovery by the password", Step::Recovery);
    story.runs(&story.line(), 0);
    is_done_again_or_done(story, Effort::stretching());
}

/// BACKUP-2.
#[test]
fn a_recovery_by_the_digits() {
    let name = "a recovery by the digits";
    let mut story = Story::with_digits(name, source(), Step::RecoveryByDigits);
    story.before(SETUP);
    story.before(BACKUP);
    story.runs(&story.line(), 0);
    is_done_again_or_done(story, Effort::chosen());
}
