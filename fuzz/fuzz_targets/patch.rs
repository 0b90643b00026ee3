#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keyhaven_fuzz_targets::rows::patch(bytes));
