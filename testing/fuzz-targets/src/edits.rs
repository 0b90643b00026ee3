//! Changes to a long sealed object, told in a few bytes.
//!
//! A fuzzer that holds the whole object spends its time on ciphertext. What it needs to say is where
//! the object is touched, and how.

/// Applies edits of four bytes each: what to do, where (two bytes), and a value.
#[must_use]
pub fn apply(genuine: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut object = genuine.to_vec();
    for edit in edits.as_chunks::<4>().0.iter().take(32) {
        let [what, high, low, value] = *edit;
        if object.is_empty() {
            return object;
        }
        let place = usize::from(u16::from_be_bytes([high, low]));
        // Half of the edits fall on the first 64 KiB as they say, half anywhere.
        let at = match what & 1 {
            0 => place % object.len(),
            _ => (place * object.len()) >> 16,
        };
        match (what >> 1) % 8 {
            0..=2 => object[at] ^= value,
            3 => object[at] = value,
            4 => object.truncate(at),
            5 => object.extend_from_slice(&vec![value; usize::from(low)]),
            6 => {
                let _ = object.remove(at);
            }
            _ => {
                let other = at.wrapping_mul(usize::from(value)) % object.len();
                object.swap(at, other);
            }
        }
    }
    object
}

/// Some edits of each kind, as seeds.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let kinds = (0..16_u8).map(|what| vec![what, 0, what.wrapping_mul(9), 1]);
    let places = (0..96_u8).step_by(4).map(|at| vec![0, 0, at, 0x80]);
    kinds.chain(places).chain([Vec::new()]).collect()
}
