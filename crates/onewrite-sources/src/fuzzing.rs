//! What `./x fuzz` calls, and the tests with the seeds in `fuzz/corpus`: what a database sends and holds. The first byte says
//! which parser the others are for.

use onewrite_core::routing::Share;
use onewrite_core::verify::Run;

/// What PostgreSQL sends over the log, and what stands in Onewrite's own tables.
pub fn postgres(data: &[u8]) {
    let Some((whose, bytes)) = data.split_first() else {
        return;
    };
    let text = || String::from_utf8_lossy(bytes);
    match whose {
        b'd' => definition(&text()),
        b'f' => crate::postgres::fuzzing::frames(bytes),
        b'h' => crate::postgres::fuzzing::headers(&text()),
        b'l' => crate::postgres::fuzzing::logged(bytes),
        b'r' => crate::postgres::fuzzing::record(&text()),
        b's' => crate::postgres::fuzzing::snapshot(&text()),
        b'u' => crate::postgres::fuzzing::url(&text()),
        b'v' => run(&text()),
        _ => {}
    }
}

/// What stands in tables of others, and the options of Debezium's contract.
pub fn foreign(data: &[u8]) {
    let Some((whose, bytes)) = data.split_first() else {
        return;
    };
    let text = || String::from_utf8_lossy(bytes);
    match whose {
        b'd' => crate::foreign::fuzzing::column_default(&text()),
        b'm' => crate::foreign::fuzzing::message(bytes),
        b'n' => crate::postgres::fuzzing::name(&text()),
        b'o' => crate::foreign::fuzzing::options(&text()),
        b'r' => crate::foreign::fuzzing::row(bytes),
        b't' => crate::postgres::fuzzing::template(&text()),
        b'v' => crate::foreign::fuzzing::value(bytes),
        _ => {}
    }
}

/// A route's recorded definition is read as the share that it describes, or as none.
fn definition(text: &str) {
    if let Some(share) = Share::from_definition("relay", "route", text) {
        assert_eq!(
            Share::from_definition("relay", "route", &share.definition()),
            Some(share)
        );
    }
}

/// The name of a run of `onewrite verify` is a run's or is not.
fn run(text: &str) {
    if let Some(run) = Run::parse(text) {
        assert_eq!(run.name(), text);
        assert_eq!(Run::of_relay(&run.relay("x")), Some(run));
    }
}

#[cfg(test)]
mod tests {
    use onewrite_testkit::seeds;

    #[test]
    fn the_corpora_are_understood_or_refused() {
        seeds::replay("postgres", super::postgres);
        seeds::replay("foreign", super::foreign);
    }
}
