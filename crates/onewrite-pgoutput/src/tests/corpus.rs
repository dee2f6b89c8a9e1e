//! The fuzzer's committed seeds, on every run of the tests.

use std::fs;
use std::path::Path;

use super::properties::is_a_message_or_an_error;
use crate::decode;

#[test]
fn the_corpus_is_messages_and_errors() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/pgoutput");
    let mut from_servers = 0;
    for seed in fs::read_dir(corpus).expect("the corpus is there") {
        let path = seed.expect("a seed").path();
        let data = fs::read(&path).expect("a seed can be read");
        let name = path.file_name().expect("a seed has a name").to_string_lossy();
        if name.starts_with("postgres-") {
            from_servers += 1;
            decode(data.clone().into()).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        is_a_message_or_an_error(data);
    }
    assert!(from_servers > 0, "the corpus holds what servers sent");
}
