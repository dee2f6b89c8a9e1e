#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| onewrite_formats::fuzzing::schemas(data));
