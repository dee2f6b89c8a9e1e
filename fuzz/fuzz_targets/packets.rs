#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| onewrite_sinks::fuzzing::packets(data));
