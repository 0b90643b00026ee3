//! What several tests need: children of this test, and a folder store with its marker.
#![allow(
    dead_code,
    reason = "every test program is compiled with this module and uses its own part of it"
)]

use std::path::Path;
use std::process::Command;

use keyhaven::store::{Body, FolderStore, ObjectPath, Store};

/// Set in a test's environment when it is the child of itself.
pub(crate) const CHILD: &str = "KEYHAVEN_TEST_CHILD";

/// What a child is told, if this process is one.
pub(crate) fn told() -> Option<String> {
    std::env::var(CHILD).ok()
}

/// A command that runs `test` of this program once more as a child that is told `what`, wrapped in
/// `wrapper` (a command and its arguments).
pub(crate) fn child(wrapper: &[&str], test: &str, what: &str) -> Command {
    let this = std::env::current_exe().unwrap();
    let mut command = match wrapper.split_first() {
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments).arg(this);
            command
        }
        None => Command::new(this),
    };
    command
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, what);
    command
}

/// Runs a child that may mount file systems which nobody else sees and which are gone with it.
///
/// Some systems forbid that to all but root. There, and only where no builder's result hangs on
/// it, the test says so and does nothing.
pub(crate) fn run_mounting_child(test: &str) {
    let wrapper = ["unshare", "--map-root-user", "--mount"];
    let may = Command::new(wrapper[0])
        .args(&wrapper[1..])
        .arg("true")
        .output();
    let may = may.is_ok_and(|output| output.status.success());
    if !may && std::env::var_os("CI").is_none() {
        println!("{test} was not run: this system permits no private mounts ({wrapper:?})");
        return;
    }
    run_child(&wrapper, test, "mounting");
}

/// Runs a child to its end; its test must have passed.
pub(crate) fn run_child(wrapper: &[&str], test: &str, what: &str) {
    let output = child(wrapper, test, what).output().unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.status.success() && text.contains("1 passed"),
        "the child of {test} (by {wrapper:?}) failed:\n{text}"
    );
}

pub(crate) fn path(text: &str) -> ObjectPath {
    ObjectPath::parse(text).unwrap()
}

/// A new store in `folder`, with its marker.
pub(crate) fn new_store(folder: &Path) -> FolderStore {
    let store = FolderStore::create(folder).unwrap();
    store
        .put(&ObjectPath::marker(), Body::Bytes(b"marker"))
        .unwrap();
    store.flush().unwrap();
    store
}
