//! What a WebAssembly module imports (WebAssembly Core Specification 2.0, section 5.5).

use anyhow::{Context as _, ensure};

const PREAMBLE: &[u8] = b"\0asm\x01\0\0\0";
const IMPORT_SECTION: u8 = 2;

/// The imports of a module, as `module.name`. Of many, the first; the rest only as a number, because
/// how long one is depends on its kind.
pub(super) fn imports(module: &[u8]) -> anyhow::Result<Vec<String>> {
    let mut rest = module
        .strip_prefix(PREAMBLE)
        .context("this is not a WebAssembly module")?;
    while let Some((id, after)) = rest.split_first() {
        let mut after = after;
        let section = vector(&mut after)?;
        if *id == IMPORT_SECTION {
            return first_import(section);
        }
        rest = after;
    }
    Ok(Vec::new())
}

fn first_import(mut section: &[u8]) -> anyhow::Result<Vec<String>> {
    let count = number(&mut section)?;
    if count == 0 {
        return Ok(Vec::new());
    }
    let module = String::from_utf8_lossy(vector(&mut section)?).into_owned();
    let name = String::from_utf8_lossy(vector(&mut section)?).into_owned();
    let mut imports = vec![format!("{module}.{name}")];
    if count > 1 {
        imports.push(format!("{} more", count.saturating_sub(1)));
    }
    Ok(imports)
}

/// Bytes that stand behind their length.
fn vector<'a>(bytes: &mut &'a [u8]) -> anyhow::Result<&'a [u8]> {
    let length = usize::try_from(number(bytes)?)?;
    let (vector, rest) = bytes
        .split_at_checked(length)
        .context("the module is cut off")?;
    *bytes = rest;
    Ok(vector)
}

/// An unsigned LEB128 number of 32 bits.
fn number(bytes: &mut &[u8]) -> anyhow::Result<u32> {
    let mut number = 0;
    for shift in (0..35).step_by(7) {
        let (byte, rest) = bytes.split_first().context("the module is cut off")?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(u32::try_from(number)?);
        }
    }
    ensure!(false, "a number of the module is too long");
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A type section of one function type, which every module with an import has before it.
    const TYPES: &[u8] = &[1, 4, 1, 0x60, 0, 0];

    fn module(sections: &[&[u8]]) -> Vec<u8> {
        [PREAMBLE, &sections.concat()].concat()
    }

    #[test]
    fn a_module_that_asks_for_randomness_is_seen_to() {
        let import = [&[2, 14, 1, 4], b"wasi".as_slice(), &[6], b"random", &[0]].concat();
        let import = [import.as_slice(), &[0]].concat();
        assert_eq!(
            imports(&module(&[TYPES, &import])).unwrap(),
            ["wasi.random"]
        );
    }

    #[test]
    fn a_module_without_imports_has_none() {
        assert_eq!(imports(&module(&[TYPES])).unwrap(), [""; 0]);
        assert_eq!(imports(&module(&[TYPES, &[2, 1, 0]])).unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_no_module_or_is_cut_off_is_an_error() {
        assert!(imports(b"\x7fELF").is_err());
        assert!(imports(&module(&[&[1, 9, 0]])).is_err());
        assert!(imports(&module(&[&[2, 0xff, 0xff, 0xff, 0xff, 0xff, 1]])).is_err());
    }
}
