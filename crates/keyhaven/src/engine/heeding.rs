//! A database that is no longer read once its run is called off.

use std::ops::ControlFlow;

use keyhaven_source::{DatabaseError, Image, ImageShape, PageSink, PageSource};

use crate::progress::Limits;

/// A source whose reading ends when the run is cancelled. A budget does not end it: a database that takes longer than that
/// would never be backed up.
pub(crate) struct Heeding<'a> {
    pub(crate) source: &'a mut dyn PageSource,
    pub(crate) limits: &'a Limits,
}

impl PageSource for Heeding<'_> {
    fn read_pages(&mut self, sink: &mut dyn PageSink) -> Result<Image, DatabaseError> {
        let limits = self.limits;
        self.source.read_pages(&mut HeedingSink { sink, limits })
    }
}

struct HeedingSink<'a> {
    sink: &'a mut dyn PageSink,
    limits: &'a Limits,
}

impl PageSink for HeedingSink<'_> {
    fn begin(&mut self, shape: ImageShape) -> ControlFlow<()> {
        self.sink.begin(shape)
    }

    fn page(&mut self, number: u32, bytes: &[u8]) -> ControlFlow<()> {
        if self.limits.is_cancelled() {
            return ControlFlow::Break(());
        }
        self.sink.page(number, bytes)
    }
}
