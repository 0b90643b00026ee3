//! VAULT-3, VAULT-4, VAULT-6: every answer is the one that the model gives at the entry's place.
//!
//! All released entries lie on one line ([`chain`](super::chain)), and each request is carried out
//! where its entry stands: so that line is the order which linearizability asks for, and comparing
//! each answer with the model's at its place is the whole check. A request that was made after
//! another one's answer was heard stands later on the line, because its entry was made later.

use keyhaven_wire::message::{RecordState, Standing};

use super::{Answer, Event, Invariant};
use crate::chronicle::Lineage;
use crate::model::{Life, Model};

/// Compares answers.
#[derive(Debug)]
pub(super) struct Answers;

impl Invariant for Answers {
    fn observe(&mut self, event: &Event, _lineage: &Lineage) -> Result<(), String> {
        let Event::Answer(answer) = event else {
            return Ok(());
        };
        let Answer {
            expected,
            came,
            model,
            standing,
        } = &**answer;
        if came != expected {
            return Err(format!(
                "VAULT-6: the answer is {came:?}, and should be {expected:?}"
            ));
        }
        if standing.guesses_left != model.left {
            return Err(format!(
                "VAULT-3: {} guesses are left, and should be {}",
                standing.guesses_left, model.left
            ));
        }
        if !agrees(standing, model) {
            return Err(format!(
                "VAULT-4: the record stands as {standing:?}, and should as {model:?}"
            ));
        }
        Ok(())
    }
}

fn agrees(standing: &Standing, model: &Model) -> bool {
    let state = match model.life {
        Life::Vacant => RecordState::Vacant,
        Life::Live { .. } => RecordState::Live,
        Life::Destroyed => RecordState::Destroyed,
        Life::Deleted => RecordState::Deleted,
    };
    standing.state == state
        && standing.generation.number() == model.generation
        && standing.line.number() == model.line
        && standing.change.number() == model.change
        && standing.wrong_since_lift == model.since_lift
        && standing.totals.answered == model.answered
}

#[cfg(test)]
mod tests {
    use keyhaven_vault_core::Policy;
    use keyhaven_wire::message::{ChangeNumber, Generation, Line, Totals};

    use super::*;
    use crate::model::Expected;

    fn answer(left: u8, generation: u64, came: Expected) -> Event {
        let mut model = Model::vacant(&Policy::DEFAULT);
        model.left = 9;
        Event::Answer(Box::new(Answer {
            expected: Expected::Wrong,
            came,
            standing: Standing {
                state: RecordState::Vacant,
                guesses_left: left,
                generation: Generation::new(generation),
                line: Line::default(),
                change: ChangeNumber::default(),
                wrong_since_lift: 0,
                cap: 100,
                totals: Totals::default(),
                attempts: Vec::new(),
                last_guesses_at: None,
                fresh_start_at: None,
                owner: None,
            },
            model,
        }))
    }

    #[test]
    fn another_answer_budget_or_generation_fires() {
        let observe = |event| Answers.observe(&event, &Lineage::default());
        observe(answer(9, 0, Expected::Wrong)).unwrap();
        assert!(observe(answer(9, 0, Expected::Standing)).is_err());
        assert!(observe(answer(10, 0, Expected::Wrong)).is_err());
        assert!(observe(answer(9, 1, Expected::Wrong)).is_err());
    }
}
