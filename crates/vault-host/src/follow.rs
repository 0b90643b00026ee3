//! Following a leader: its entries are kept on the disk, and then captured.

use std::sync::Arc;

use keyhaven_secrets::Entropy;
use keyhaven_vault_core::Term;

use crate::host::{Host, Stage};
use crate::message::{Effect, HostId, Message};
use crate::record::Record;

impl Host {
    /// Keeps a record and captures its last entry. VAULT-5: the record is on the disk before the
    /// memory that captures it, and that before the capture leaves.
    pub(crate) fn witness(&mut self, from: HostId, record: Arc<Record>, entropy: &mut dyn Entropy) {
        let Some(last) = record
            .last()
            .copied()
            .filter(|_| record.is_whole(&self.core))
        else {
            return;
        };
        let before = *self.core.memory();
        match self.core.capture(&last) {
            Ok(capture) => {
                if self.flushed != Some(last.mac()) {
                    self.flushed = Some(last.mac());
                    self.effect(Effect::KeepTail(record));
                }
                if before != *self.core.memory() {
                    self.keep_memory();
                }
                self.send(from, Message::Captured(capture));
                self.heard = self.heard.max(last.term());
                self.follow(from, entropy);
            }
            Err(error) => self.answer_refusal(from, &error),
        }
    }

    /// A leader says that it is there. That binds nobody; it only makes others wait.
    pub(crate) fn hear_leader(&mut self, from: HostId, term: Term, entropy: &mut dyn Entropy) {
        let promised = self.core.memory().promised();
        if term < promised {
            self.send(from, Message::Newer(promised));
            return;
        }
        self.heard = self.heard.max(term);
        if matches!(&self.stage, Stage::Leading(lead) if lead.term < term) {
            self.fall(entropy);
        }
        self.follow(from, entropy);
        if let Some(go) = self.former
            && self.core.memory().head().is_none()
        {
            let come = self.core.memory().member();
            self.send(from, Message::Admit { go, come });
        }
    }

    fn follow(&mut self, leader: HostId, entropy: &mut dyn Entropy) {
        self.follow_core(entropy);
        if !matches!(self.stage, Stage::Leading(_)) {
            self.stage = Stage::Following {
                leader: Some(leader),
            };
            self.be_patient(entropy);
        }
    }
}
