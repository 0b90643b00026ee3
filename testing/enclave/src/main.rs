//! The trusted core with no operating system under it.
//!
//! That this program builds is the proof that `keyhaven-vault-core` fits an enclave: it has no
//! standard library, so it has no clock, file, thread, socket or random source to reach for. A
//! program holds one panic handler only; with `std` anywhere below, the one here does not compile.
//! Built for `wasm32-unknown-unknown`, the module imports nothing.
//!
//! It also runs: a group of three cores serves somebody, loses its leader, and serves on. With the
//! feature `person` that somebody registers a password and recovers by it.

#![no_std]
#![no_main]

extern crate alloc;

mod ground;
mod host;
#[cfg(feature = "person")]
mod person;

use keyhaven_secrets::Entropy;

/// Bytes that look random and are the same in each run. An enclave has an instruction for it.
struct Replayed(u64);

impl Entropy for Replayed {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            // SplitMix64 (Steele, Lea and Flood, 2014).
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            *byte = (mixed ^ (mixed >> 31)).to_le_bytes()[0];
        }
    }
}

/// Zero when all went as it should. SAFETY: no other function of this name is linked.
#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    let mut entropy = Replayed(0);
    #[cfg(not(feature = "person"))]
    let went_well = host::serves_who_cannot_be_read(&mut entropy);
    #[cfg(feature = "person")]
    let went_well = person::comes_back_by_password(&mut entropy);
    i32::from(went_well != Some(true))
}
