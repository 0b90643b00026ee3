//! Elections: who calls, who promises, who leads.

use keyhaven_secrets::Entropy;
use keyhaven_vault_core::{Call, CoreError, LogError, Report, Term};

use crate::host::{Host, Stage};
use crate::message::{HostId, Message, Notice};

impl Host {
    /// Calls the group for reports, its own core among them.
    pub(crate) fn stand(&mut self, entropy: &mut dyn Entropy) {
        self.be_patient(entropy);
        if self.aside > 0 {
            return;
        }
        // A core that has captured nothing belongs to no group yet.
        let Ok(call) = self.core.stand(self.heard, entropy) else {
            return;
        };
        self.heard = self.heard.max(call.term());
        let Ok(report) = self.core.promise(&call) else {
            return;
        };
        self.keep_memory();
        self.stage = Stage::Calling {
            reports: vec![report],
        };
        self.broadcast(&Message::Call(call));
        self.count_reports(entropy);
    }

    /// Promises, for its core, to take nothing of an older term.
    pub(crate) fn promise(&mut self, from: HostId, call: &Call, entropy: &mut dyn Entropy) {
        if self.aside > 0 {
            return;
        }
        match self.core.promise(call) {
            Ok(report) => {
                self.heard = self.heard.max(call.term());
                self.keep_memory();
                self.send(from, Message::Report(Box::new(report)));
                self.follow_core(entropy);
                self.stage = Stage::Following { leader: None };
                self.be_patient(entropy);
            }
            Err(error) => self.answer_refusal(from, &error),
        }
    }

    /// Says to whom it may concern that there is a newer term than his.
    pub(crate) fn answer_refusal(&mut self, to: HostId, error: &CoreError) {
        // Of another group, not admitted, damaged on the way, late: nobody needs to hear of it.
        if let CoreError::Log(LogError::OldTerm { promised, .. }) = error {
            self.send(to, Message::Newer(Term::new(*promised)));
        } else if let CoreError::Log(LogError::Forked { .. }) = error {
            self.notice(Notice::Forked);
        }
    }

    pub(crate) fn take_report(&mut self, report: Report, entropy: &mut dyn Entropy) {
        if let Stage::Calling { reports } = &mut self.stage
            && !reports.contains(&report)
            && reports.len() <= self.peers.len()
        {
            reports.push(report);
            self.count_reports(entropy);
        }
    }

    fn count_reports(&mut self, entropy: &mut dyn Entropy) {
        let Stage::Calling { reports } = &self.stage else {
            return;
        };
        match self.core.lead(reports) {
            Ok(_) => self.begin_to_lead(),
            Err(CoreError::NotElected) => {}
            Err(CoreError::Log(LogError::Forked { .. })) => {
                self.notice(Notice::Forked);
                self.fall(entropy);
            }
            Err(_) => self.fall(entropy),
        }
    }

    /// Somebody has promised himself to a newer term than this host's core knows.
    pub(crate) fn hear_of_newer(&mut self, term: Term, entropy: &mut dyn Entropy) {
        if term <= self.heard {
            return;
        }
        self.heard = term;
        if matches!(self.stage, Stage::Leading(_) | Stage::Calling { .. }) {
            self.fall(entropy);
        }
    }
}
