//! `cargo xtask tidy`: what the architecture means, checked.

mod layers;
mod links;
mod promises;
mod source;
mod text;

pub(crate) use source::tests_begin;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use crate::workspace;

/// What to show beside what is wrong.
#[derive(Args)]
pub(crate) struct Options {
    /// Print where each promise is kept and guarded.
    #[arg(long)]
    places: bool,
}

/// A file of the repository that holds text.
#[derive(Debug)]
pub(crate) struct Page {
    /// Relative to the root.
    pub(crate) path: PathBuf,
    pub(crate) content: String,
}

impl Page {
    fn is(&self, extension: &str) -> bool {
        self.path.extension().is_some_and(|e| e == extension)
    }
}

/// Something that is not as it should be: where, and what.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    place: String,
    what: String,
}

impl Fault {
    pub(crate) fn new(place: impl AsRef<Path>, what: impl Into<String>) -> Self {
        Self {
            place: place.as_ref().display().to_string(),
            what: what.into(),
        }
    }

    pub(crate) fn at_line(place: &Path, line: usize, what: impl Into<String>) -> Self {
        Self {
            place: format!("{}:{line}", place.display()),
            what: what.into(),
        }
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let root = crate::root();
    let pages = pages(&root)?;
    let mut faults = layers::check(&root)?;
    faults.extend(source::check(&pages));
    faults.extend(text::check(&pages));
    faults.extend(links::check(&root, &pages));
    let promises = pages
        .iter()
        .find(|page| page.path == Path::new("PROMISES.md"))
        .context("PROMISES.md is missing")?;
    let promises = promises::find(&promises.content, &pages);
    if options.places {
        for promise in &promises {
            println!("{}", promise.number);
            println!("  code:  {}", promise.code.join("\n         "));
            println!("  tests: {}", promise.tests.join("\n         "));
        }
    }
    faults.extend(promises::check(&promises));
    for fault in &faults {
        println!("{}: {}", fault.place, fault.what);
    }
    if !faults.is_empty() {
        bail!("{} faults", faults.len());
    }
    let kept = promises::kept(&promises);
    println!(
        "tidy: {} files, {kept} promises named by code and by a test",
        pages.len()
    );
    Ok(())
}

/// Every file of the repository that is text.
fn pages(root: &Path) -> anyhow::Result<Vec<Page>> {
    let mut pages = Vec::new();
    for path in workspace::files(root)? {
        if let Ok(content) = fs::read_to_string(root.join(&path)) {
            pages.push(Page { path, content });
        }
    }
    Ok(pages)
}
