//! What a suite has to say.

use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use onewrite_core::error::{BoxError, chain};

/// What a case requires, and what it saw instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// What the contract requires.
    pub required: String,
    /// What was seen.
    pub seen: String,
}

impl Wrong {
    /// Something that is not as it is required to be.
    pub fn new(required: impl Into<String>, seen: impl Into<String>) -> Self {
        Self {
            required: required.into(),
            seen: seen.into(),
        }
    }

    /// Adds when it was, in front of what was seen.
    #[must_use]
    pub fn when(mut self, when: &str) -> Self {
        self.seen = format!("{when}: {}", self.seen);
        self
    }
}

impl From<BoxError> for Wrong {
    fn from(error: BoxError) -> Self {
        Self::new("the harness does what it is asked", chain(&*error))
    }
}

/// A case that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The case's name.
    pub case: &'static str,
    /// What it saw.
    pub wrong: Wrong,
}

/// The cases that an adapter failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The adapter, as its harness names it.
    pub adapter: String,
    /// The failures, in the order of the suite.
    pub failures: Vec<Failure>,
    /// How many cases there were.
    pub cases: usize,
}

impl Broken {
    /// The names of the cases that failed.
    pub fn names(&self) -> Vec<&'static str> {
        self.failures.iter().map(|failure| failure.case).collect()
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            adapter,
            failures,
            cases,
        } = self;
        writeln!(formatter, "{adapter}: {} of {cases} cases failed", failures.len())?;
        for Failure { case, wrong } in failures {
            writeln!(formatter, "  {case}")?;
            writeln!(formatter, "    required: {}", wrong.required)?;
            writeln!(formatter, "    seen:     {}", wrong.seen)?;
        }
        Ok(())
    }
}

impl std::error::Error for Broken {}

/// A case of a suite over harnesses `H`.
pub(super) struct Case<H: ?Sized> {
    pub name: &'static str,
    pub run: for<'a> fn(&'a mut H) -> BoxFuture<'a, Result<(), Wrong>>,
}

/// Runs cases one after the other; a case that panics or does not come to an end has failed.
pub(super) async fn run<H: ?Sized>(
    adapter: String,
    harness: &mut H,
    cases: &[Case<H>],
    limit: Duration,
) -> Result<(), Broken> {
    let mut failures = Vec::new();
    for case in cases {
        let work = AssertUnwindSafe((case.run)(harness)).catch_unwind();
        let ended = match tokio::time::timeout(limit, work).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(panic)) => Err(Wrong::new("nothing panics", format!("a panic: {}", words(&*panic)))),
            Err(_) => Err(Wrong::new(
                "everything comes to an end",
                format!("not within {limit:?}"),
            )),
        };
        if let Err(wrong) = ended {
            failures.push(Failure { case: case.name, wrong });
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(Broken {
        adapter,
        failures,
        cases: cases.len(),
    })
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default()
}

/// Lists cases by the functions that they are.
macro_rules! cases {
    ($($module:ident::$name:ident),* $(,)?) => {
        &[$(Case { name: stringify!($name), run: |harness| Box::pin($module::$name(harness)) }),*]
    };
}
pub(super) use cases;
