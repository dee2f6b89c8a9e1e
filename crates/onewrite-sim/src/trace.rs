//! What happened in a run, in its order: the same seed must tell the same story twice.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

/// A story, as a hash and, where it was asked for, in words. Clones are the same story.
#[derive(Clone)]
pub struct Trace(Arc<Mutex<Story>>);

struct Story {
    began: Option<Instant>,
    hash: DefaultHasher,
    lines: u64,
    aloud: bool,
}

impl Trace {
    /// An empty story; `aloud` prints each line on standard output as it happens.
    pub fn new(aloud: bool) -> Self {
        Self(Arc::new(Mutex::new(Story {
            began: None,
            // Its keys are fixed, unlike those of a map.
            hash: DefaultHasher::new(),
            lines: 0,
            aloud,
        })))
    }

    /// Adds a line.
    pub fn note(&self, words: fmt::Arguments<'_>) {
        let mut story = self.0.lock().expect("nobody panics while telling");
        let began = *story.began.get_or_insert_with(Instant::now);
        let line = format!("{:>9.3} {words}", began.elapsed().as_secs_f64());
        line.hash(&mut story.hash);
        story.lines += 1;
        if story.aloud {
            println!("{line}");
        }
    }

    /// The hash over all lines, and how many there are.
    pub fn sum(&self) -> (u64, u64) {
        let story = self.0.lock().expect("nobody panics while telling");
        (story.hash.finish(), story.lines)
    }
}
