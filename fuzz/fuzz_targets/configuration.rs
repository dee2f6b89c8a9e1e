#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| onewrite_cli::fuzzing::configuration(data));
