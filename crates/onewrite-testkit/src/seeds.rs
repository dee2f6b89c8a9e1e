//! The fuzzer's committed seeds, which the tests replay.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

/// Calls `run` with each seed of a fuzz target in `fuzz/corpus`, and with what is left of it where it is cut short, at every place.
///
/// # Panics
/// Where there is none, and as `run` does, after the seed's name and how much of it was given are printed.
pub fn replay(target: &str, run: impl Fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut replayed = 0;
    for seed in fs::read_dir(&corpus).expect("a target has seeds") {
        let path = seed.expect("a seed").path();
        let data = fs::read(&path).expect("a seed can be read");
        for length in (0..=data.len()).rev() {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(&data[..length]))) {
                eprintln!("with {length} bytes of the seed {}", path.display());
                resume_unwind(panic);
            }
        }
        replayed += 1;
    }
    assert!(replayed > 0, "{} holds no seed", corpus.display());
}
