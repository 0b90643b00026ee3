//! Looks at a folder as a backup would: what is there, and how long looking takes.
//!
//! `cargo run --release -p keyhaven-source --example look -- FOLDER`
#![expect(clippy::print_stdout, reason = "an example speaks to whoever runs it")]

use std::error::Error;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use keyhaven_source::guard::Census;
use keyhaven_source::{
    Content, ImageShape, Item, LiveDatabase, PageSink, PageSource, Profile, Rules, SkipReason, walk,
};

/// Takes pages and lets them go.
struct Nowhere;

impl PageSink for Nowhere {
    fn begin(&mut self, _: ImageShape) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn page(&mut self, _: u32, _: &[u8]) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let root = std::env::args_os()
        .nth(1)
        .map(PathBuf::from)
        .ok_or("which folder?")?;
    let found = Profile::detect(&root);
    println!("{}. {}", found.profile.title(), found.opening.explain());

    let began = Instant::now();
    let items = walk(&root, &Rules::default())?.count();
    println!("{items} items listed in {:?}", began.elapsed());

    let began = Instant::now();
    let mut census = Census::default();
    let mut databases = Vec::new();
    for item in walk(&root, &Rules::default())? {
        match item {
            Item::Regular(regular) => match regular.content() {
                Ok(Content::Database) => {
                    census.count_database(regular.stat().size);
                    databases.push(regular.path().to_owned());
                }
                Ok(_) => census.count_file(regular.stat().size),
                Err(reason) => println!("{} {reason}", regular.key()),
            },
            Item::Skipped { key, reason } => println!("{key} {reason}"),
            Item::CutOff { key, kind, .. } => println!("{key} {}", SkipReason::CutOff(kind)),
            Item::Dir { .. } | Item::Symlink { .. } => {}
        }
    }
    println!("{census:?}, told by content in {:?}", began.elapsed());

    for path in databases {
        let began = Instant::now();
        match LiveDatabase::at(&path).read_pages(&mut Nowhere) {
            Ok(image) => println!(
                "{}: {} bytes by {:?} in {:?}",
                path.display(),
                image.shape.bytes(),
                image.by,
                began.elapsed()
            ),
            Err(error) => println!("{}: {error}", path.display()),
        }
    }
    Ok(())
}
