//! The suite that every source must pass, on every database.

mod databases;
mod foreign;
mod postgres;
mod sqlite;
mod writing;

use onewrite_core::error::BoxError;
use onewrite_core::options::Options;
use onewrite_sources::registry::{MigrateRequest, Opened, source_type};
use onewrite_testkit::conformance::source::{SourceHarness, check};

async fn conforms(mut harness: impl SourceHarness + 'static) {
    if let Err(broken) = check(&mut harness).await {
        panic!("{broken}");
    }
}

/// Migrates and opens a database, as the program does.
async fn open(name: &str, texts: &[(&str, &str)]) -> Result<Opened, BoxError> {
    let options = Options::from_texts("source", source_type(name)?.fields, texts)?;
    open_with(name, options).await
}

async fn open_with(name: &str, options: Options) -> Result<Opened, BoxError> {
    let source = source_type(name)?;
    source.migrate(&options, MigrateRequest::default()).await?;
    Ok(source.open(&options)?)
}
