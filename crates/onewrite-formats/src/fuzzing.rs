//! What `./x fuzz` calls, and the tests with the seeds in `fuzz/corpus`: schemas as a registry has them, and payloads for them.

use crate::schemas::fuzzing::{answer, avro, json_schema, protobuf};

/// The first byte says what the others are: an answer of a registry, or a schema and a payload with a NUL between them.
pub fn schemas(data: &[u8]) {
    let Some((what, bytes)) = data.split_first() else {
        return;
    };
    if *what == b'r' {
        return answer(bytes);
    }
    let Some(end) = bytes.iter().position(|byte| *byte == 0) else {
        return;
    };
    let (Ok(schema), payload) = (std::str::from_utf8(&bytes[..end]), &bytes[end + 1..]) else {
        return;
    };
    match what {
        b'a' => avro(schema, payload),
        b'j' => json_schema(schema, payload),
        b'p' => protobuf(schema, payload),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use onewrite_testkit::seeds;

    #[test]
    fn the_corpus_is_understood_or_refused() {
        seeds::replay("schemas", super::schemas);
    }
}
