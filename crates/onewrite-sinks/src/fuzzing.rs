//! What `./x fuzz` calls, and the tests with the seeds in `fuzz/corpus`: bytes as brokers send them, and texts as people and
//! files hold them. The first byte says which parser the others are for.

/// Packets and frames.
pub fn packets(data: &[u8]) {
    let Some((whose, bytes)) = data.split_first() else {
        return;
    };
    match whose {
        b'g' => crate::rabbitmq::fuzzing::greeting(bytes),
        b'm' => crate::mqtt::fuzz(bytes),
        b'r' => crate::rabbitmq::fuzzing::session(bytes),
        b's' => crate::amqp1::fuzz(bytes),
        _ => {}
    }
}

/// Answers in HTTP, JSON, XML and the protocol of Redis; addresses, certificates and lines of files.
pub fn answers(data: &[u8]) {
    let Some((whose, bytes)) = data.split_first() else {
        return;
    };
    match whose {
        b'a' => crate::endpoint::fuzz(bytes),
        b'b' => crate::rabbitmq::fuzzing::address(bytes),
        b'c' => drop(crate::tls::valid_until(bytes)),
        b'f' => crate::file::fuzz(bytes),
        b'h' => crate::http::fuzz(bytes),
        b'i' => crate::ibmmq::fuzz(bytes),
        b'n' => crate::nats::fuzz(bytes),
        b'q' => crate::sqs::fuzz(bytes),
        b'r' => crate::redis::fuzz(bytes),
        b's' => crate::sns::fuzz(bytes),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use onewrite_testkit::seeds;

    #[test]
    fn the_corpora_are_understood_or_refused() {
        seeds::replay("packets", super::packets);
        seeds::replay("answers", super::answers);
    }
}
