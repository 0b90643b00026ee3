//! What every honest store does: one list of checks for memory, folders and clouds.

use std::fs::File;
use std::io::Write;
use std::ops::ControlFlow;

use keyhaven::store::{Body, Listed, ObjectFolder, ObjectPath, PooledBuffer, Store, StoreError};

/// A rule that a store broke.
#[derive(Debug, thiserror::Error)]
#[error("{rule}: {saw}")]
pub struct Broken {
    /// The rule.
    pub rule: &'static str,
    /// What was seen instead.
    pub saw: String,
}

/// The size of a full pack, the largest object that the format writes.
const PACK_BYTES: usize = 8 << 20;

/// Checks every rule on `store`, which must be empty, and leaves it empty. `scratch` is a file to
/// put from.
///
/// # Errors
///
/// The first rule that is [`Broken`].
pub fn check(store: &dyn Store, scratch: &mut File) -> Result<(), Broken> {
    an_empty_store_has_nothing(store)?;
    what_is_put_can_be_got(store)?;
    every_kind_of_body_arrives(store, scratch)?;
    a_range_is_exact_or_an_error(store)?;
    putting_a_name_again_replaces_the_object(store)?;
    lists_name_what_is_there(store)?;
    deleting_is_final_and_repeatable(store)?;
    many_threads_may_use_a_store_at_once(store)?;
    let left = done("cleaning up", store.list(&ObjectFolder::root()))?;
    ensure("the suite leaves nothing", left.is_empty(), || {
        format!("{left:?}")
    })
}

fn an_empty_store_has_nothing(store: &dyn Store) -> Result<(), Broken> {
    let rule = "an empty store has nothing";
    let absent = path("packs/00/absent")?;
    not_found(rule, store.get(&absent, None))?;
    not_found(rule, store.get(&absent, Some(0..1)))?;
    not_found(rule, store.get_into(&absent, 0, &mut [0; 4]))?;
    not_found(rule, store.length(&absent))?;
    done(rule, store.delete(&absent))?;
    done(rule, store.flush())?;
    for folder in ["", "packs", "packs/00", "snapshots"] {
        let listed = done(rule, store.list(&folder_of(folder)?))?;
        ensure(rule, listed.is_empty(), || format!("{listed:?}"))?;
    }
    ensure(rule, !store.describe().is_empty(), || {
        "no description".into()
    })
}

fn what_is_put_can_be_got(store: &dyn Store) -> Result<(), Broken> {
    let rule = "what is put can be got";
    let one = path("keyhaven")?;
    for len in [0_usize, 1, 4096, 70_001] {
        let bytes = pattern(len);
        done(rule, store.put(&one, Body::Bytes(&bytes)))?;
        let got = done(rule, store.get(&one, None))?;
        ensure(rule, got == bytes, || format!("{len} bytes differ"))?;
        let length = done(rule, store.length(&one))?;
        ensure(rule, length == bytes.len() as u64, || {
            format!("{length} for {len}")
        })?;
        done(rule, store.flush())?;
        let got = done(rule, store.get(&one, None))?;
        ensure(rule, got == bytes, || {
            format!("{len} bytes differ after a flush")
        })?;
    }
    done(rule, store.delete(&one))
}

fn every_kind_of_body_arrives(store: &dyn Store, scratch: &mut File) -> Result<(), Broken> {
    let rule = "every kind of body arrives whole";
    let bytes = pattern(PACK_BYTES);
    let io = |error: std::io::Error| Broken {
        rule,
        saw: error.to_string(),
    };
    scratch.write_all(&bytes).map_err(io)?;
    let len = bytes.len() as u64;
    let bodies: [(&str, Body<'_>); 4] = [
        ("packs/00/bytes", Body::Bytes(&bytes)),
        (
            "packs/00/buffer",
            Body::Buffer(PooledBuffer::from(bytes.clone())),
        ),
        ("packs/01/shared", Body::Shared(bytes.clone().into())),
        (
            "packs/01/file",
            Body::File {
                file: scratch.try_clone().map_err(io)?,
                len,
            },
        ),
    ];
    for (name, body) in bodies {
        let path = path(name)?;
        done(rule, store.put(&path, body))?;
        let mut got = vec![0; PACK_BYTES];
        done(rule, store.get_into(&path, 0, &mut got))?;
        ensure(rule, got == bytes, || format!("{name} differs"))?;
    }
    done(rule, store.flush())?;
    for name in [
        "packs/00/bytes",
        "packs/00/buffer",
        "packs/01/shared",
        "packs/01/file",
    ] {
        done(rule, store.delete(&path(name)?))?;
    }
    Ok(())
}

fn a_range_is_exact_or_an_error(store: &dyn Store) -> Result<(), Broken> {
    let rule = "a range is exact or an error";
    let one = path("packs/ab/ranges")?;
    let bytes = pattern(10_000);
    done(rule, store.put(&one, Body::Bytes(&bytes)))?;
    for range in [
        0..1,
        0..10_000,
        1..2,
        9_999..10_000,
        5_000..5_001,
        10_000..10_000,
        0..0,
    ] {
        let part = usize::try_from(range.start)
            .ok()
            .zip(usize::try_from(range.end).ok())
            .and_then(|(start, end)| bytes.get(start..end))
            .unwrap_or_default();
        let got = done(rule, store.get(&one, Some(range.clone())))?;
        ensure(rule, got == part, || format!("{range:?} differs"))?;
        let mut got = vec![0; part.len()];
        done(rule, store.get_into(&one, range.start, &mut got))?;
        ensure(rule, got == part, || format!("{range:?} differs in place"))?;
    }
    for range in [0..10_001, 9_999..10_001, 10_000..10_001, 20_000..20_001] {
        let got = store.get(&one, Some(range.clone()));
        let right = matches!(&got, Err(StoreError::WrongLength { got: 10_000, .. }));
        ensure(rule, right, || format!("{range:?} gave {got:?}"))?;
        let mut out = vec![0; usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(1)];
        let got = store.get_into(&one, range.start, &mut out);
        let right = matches!(&got, Err(StoreError::WrongLength { got: 10_000, .. }));
        ensure(rule, right, || format!("{range:?} gave {got:?} in place"))?;
    }
    let got = store.get(&one, Some(0..1 << 40));
    let right = matches!(
        &got,
        Err(StoreError::TooLarge { .. } | StoreError::WrongLength { .. })
    );
    ensure(rule, right, || format!("a terabyte gave {got:?}"))?;
    done(rule, store.delete(&one))
}

fn putting_a_name_again_replaces_the_object(store: &dyn Store) -> Result<(), Broken> {
    let rule = "putting a name again replaces the object";
    let one = path("snapshots/again")?;
    for text in [b"a longer first object".as_slice(), b"second"] {
        done(rule, store.put(&one, Body::Bytes(text)))?;
    }
    done(rule, store.flush())?;
    let got = done(rule, store.get(&one, None))?;
    ensure(rule, got == b"second", || format!("{got:?}"))?;
    let listed = done(rule, store.list(&folder_of("snapshots")?))?;
    ensure(rule, listed.len() == 1, || format!("{listed:?}"))?;
    done(rule, store.delete(&one))
}

fn lists_name_what_is_there(store: &dyn Store) -> Result<(), Broken> {
    let rule = "lists name what is there, all of it, once";
    let mut all: Vec<Listed> = Vec::new();
    for name in [
        "keyhaven",
        "snapshots/aa",
        "snapshots/bb",
        "packs/00/aa",
        "packs/ff/bb",
    ] {
        all.push(Listed {
            path: path(name)?,
            len: name.len() as u64,
        });
    }
    all.sort();
    for listed in &all {
        let body = Body::Bytes(listed.path.as_str().as_bytes());
        done(rule, store.put(&listed.path, body))?;
    }
    for folder in [
        "",
        "packs",
        "packs/00",
        "snapshots",
        "packs/0",
        "snap",
        "absent",
    ] {
        let folder = folder_of(folder)?;
        let due: Vec<Listed> = all
            .iter()
            .filter(|listed| folder.holds(&listed.path))
            .cloned()
            .collect();
        let listed = done(rule, store.list(&folder))?;
        ensure(rule, listed == due, || format!("{folder:?}: {listed:?}"))?;
    }
    let mut seen: usize = 0;
    let stopped = store.visit(&ObjectFolder::root(), &mut |_| {
        seen = seen.saturating_add(1);
        ControlFlow::Break(())
    });
    done(rule, stopped)?;
    ensure(rule, seen == 1, || format!("{seen} visited after a break"))?;
    for listed in &all {
        done(rule, store.delete(&listed.path))?;
    }
    Ok(())
}

fn deleting_is_final_and_repeatable(store: &dyn Store) -> Result<(), Broken> {
    let rule = "deleting is final and repeatable";
    let one = path("packs/cd/gone")?;
    done(rule, store.put(&one, Body::Bytes(b"here")))?;
    for _ in 0..2 {
        done(rule, store.delete(&one))?;
        done(rule, store.flush())?;
        not_found(rule, store.get(&one, None))?;
    }
    Ok(())
}

fn many_threads_may_use_a_store_at_once(store: &dyn Store) -> Result<(), Broken> {
    let rule = "many threads may use a store at once";
    let work = |thread: u8| -> Result<(), Broken> {
        for n in 0..4_u8 {
            let path = path(&format!("packs/{thread:02x}/object-{n}"))?;
            let bytes = vec![thread ^ n; 50_000];
            done(rule, store.put(&path, Body::Bytes(&bytes)))?;
            let got = done(rule, store.get(&path, None))?;
            ensure(rule, got == bytes, || format!("{path} differs"))?;
        }
        done(rule, store.flush())?;
        for n in 0..4_u8 {
            let path = path(&format!("packs/{thread:02x}/object-{n}"))?;
            done(rule, store.delete(&path))?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|n| scope.spawn(move || work(n))).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| {
                Err(Broken {
                    rule,
                    saw: "a panic".into(),
                })
            })
        })
    })
}

fn path(text: &str) -> Result<ObjectPath, Broken> {
    ObjectPath::parse(text).map_err(|error| Broken {
        rule: "the suite's names are valid",
        saw: format!("{text}: {error}"),
    })
}

fn folder_of(text: &str) -> Result<ObjectFolder, Broken> {
    ObjectFolder::parse(text).map_err(|error| Broken {
        rule: "the suite's names are valid",
        saw: format!("{text}: {error}"),
    })
}

fn done<T>(rule: &'static str, outcome: Result<T, StoreError>) -> Result<T, Broken> {
    outcome.map_err(|error| Broken {
        rule,
        saw: format!("{error:?}"),
    })
}

fn not_found<T>(rule: &'static str, outcome: Result<T, StoreError>) -> Result<(), Broken> {
    match outcome {
        Err(StoreError::NotFound { .. }) => Ok(()),
        Err(error) => Err(Broken {
            rule,
            saw: format!("{error:?} where NotFound is due"),
        }),
        Ok(_) => Err(Broken {
            rule,
            saw: "success where NotFound is due".into(),
        }),
    }
}

fn ensure(rule: &'static str, holds: bool, saw: impl FnOnce() -> String) -> Result<(), Broken> {
    if holds {
        Ok(())
    } else {
        Err(Broken { rule, saw: saw() })
    }
}

/// Bytes without a short period, so that a shifted or doubled piece shows.
fn pattern(len: usize) -> Vec<u8> {
    let mut word: u32 = 0x9e37_79b9;
    std::iter::repeat_with(|| {
        word ^= word << 13;
        word ^= word >> 17;
        word ^= word << 5;
        let [byte, ..] = word.to_le_bytes();
        byte
    })
    .take(len)
    .collect()
}
