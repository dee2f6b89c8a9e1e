use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::encoder::encode;
use super::strategies::{columns, message, tuple_of};
use crate::decode;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_is_encoded_is_decoded(message in message()) {
        prop_assert_eq!(decode(encode(&message).into()), Ok(message));
    }

    #[test]
    fn a_tuple_holds_its_columns(columns in columns()) {
        let tuple = tuple_of(&columns);
        prop_assert_eq!(tuple.len(), columns.len());
        prop_assert_eq!(tuple.columns().collect::<Vec<_>>(), columns);
    }

    #[test]
    fn every_truncation_is_an_error(message in message()) {
        let whole = Bytes::from(encode(&message));
        for length in 0..whole.len() {
            let error = decode(whole.slice(..length)).expect_err("cut off");
            prop_assert!(error.offset <= length, "{error}");
        }
    }

    #[test]
    fn whatever_follows_is_an_error(message in message(), more in vec(any::<u8>(), 1..4)) {
        prop_assert!(decode([encode(&message), more].concat().into()).is_err());
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(data in vec(any::<u8>(), 0..64)) {
        is_a_message_or_an_error(data);
    }

    /// Near a message more branches are reached.
    #[test]
    fn damaged_messages_are_messages_or_errors(message in message(), place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut data = encode(&message);
        let place = place.index(data.len());
        data[place] = byte;
        is_a_message_or_an_error(data);
    }
}

/// What is accepted is what the server would have sent, but for a namespace that it abbreviates.
pub fn is_a_message_or_an_error(data: Vec<u8>) {
    let length = data.len();
    match decode(data.into()) {
        Ok(message) => assert_eq!(decode(encode(&message).into()), Ok(message)),
        Err(error) => assert!(error.offset <= length, "{error}"),
    }
}
