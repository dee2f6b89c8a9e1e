//! What is no message, and what is said about it.

use crate::decode;

fn refusal(data: &'static [u8]) -> String {
    decode(data.into()).expect_err("no message").to_string()
}

#[test]
fn nothing_and_unknown_tags() {
    assert_eq!(
        refusal(b""),
        "pgoutput message of unknown kind, tag at byte 0: found 0 bytes, expected at least 1"
    );
    assert_eq!(
        refusal(b"S\0\0\0\x01\x01"),
        "pgoutput message of unknown kind, tag at byte 0: found 'S', expected 'B', 'C', 'O', 'R', 'Y', 'I', 'U', 'D', 'T' or \
         'M' (protocol version 1)"
    );
}

#[test]
fn short_input() {
    assert_eq!(
        refusal(b"B\0\0\0"),
        "pgoutput message Begin, final position at byte 1: found 3 bytes, expected at least 8"
    );
    assert_eq!(
        refusal(b"I\0\0\0\x01N\0\x01t\0\0\0\x09abc"),
        "pgoutput message Insert, column value of the new tuple at byte 13: found 3 bytes, expected at least 9"
    );
}

#[test]
fn trailing_bytes() {
    assert_eq!(
        refusal(b"I\0\0\0\x01N\0\x01nxy"),
        "pgoutput message Insert, end at byte 9: found 2 more bytes, expected the end"
    );
}

#[test]
fn counts_and_lengths() {
    assert_eq!(
        refusal(b"D\0\0\0\x01O\xFF\xFF"),
        "pgoutput message Delete, number of columns of the old tuple at byte 6: found -1, expected 0 or more"
    );
    assert_eq!(
        refusal(b"U\0\0\0\x01N\0\x01b\x80\0\0\0"),
        "pgoutput message Update, column length of the new tuple at byte 9: found -2147483648, expected 0 or more"
    );
    assert_eq!(
        refusal(b"M\x01\0\0\0\0\0\0\0\x01p\0\xFF\xFF\xFF\xFE"),
        "pgoutput message Message, content's length at byte 12: found -2, expected 0 or more"
    );
}

/// The counts would be gigabytes, and are refused before anything is allocated.
#[test]
fn more_than_the_message_can_hold() {
    assert_eq!(
        refusal(b"T\x7F\xFF\xFF\xFF\0\0\0\0\x01"),
        "pgoutput message Truncate, relations at byte 6: found 4 bytes, expected at least 8589934588"
    );
    assert_eq!(
        refusal(b"R\0\0\0\x01s\0t\0d\x7F\xFF\0"),
        "pgoutput message Relation, columns at byte 12: found 1 bytes, expected at least 327670"
    );
}

#[test]
fn bytes_without_a_meaning() {
    assert_eq!(
        refusal(b"I\0\0\0\x01K\0\0"),
        "pgoutput message Insert, kind of tuple at byte 5: found 'K', expected 'N'"
    );
    assert_eq!(
        refusal(b"U\0\0\0\x01\0"),
        "pgoutput message Update, kind of the first tuple at byte 5: found 0x00, expected 'K', 'O' or 'N'"
    );
    assert_eq!(
        refusal(b"U\0\0\0\x01K\0\0K"),
        "pgoutput message Update, kind of the second tuple at byte 8: found 'K', expected 'N'"
    );
    assert_eq!(
        refusal(b"D\0\0\0\x01N\0\0"),
        "pgoutput message Delete, kind of tuple at byte 5: found 'N', expected 'K' or 'O'"
    );
    assert_eq!(
        refusal(b"R\0\0\0\x01s\0t\0x\0\0"),
        "pgoutput message Relation, replica identity at byte 9: found 'x', expected 'd', 'n', 'f' or 'i'"
    );
    assert_eq!(
        refusal(b"M\x02\0\0\0\0\0\0\0\x01p\0\0\0\0\0"),
        "pgoutput message Message, flags at byte 1: found 0x02, expected 0 or 1"
    );
}

#[test]
fn names() {
    assert_eq!(
        refusal(b"O\0\0\0\0\0\0\0\x01name"),
        "pgoutput message Origin, name at byte 9: found 4 bytes without a zero byte, expected one that ends the name"
    );
    assert_eq!(
        refusal(b"Y\0\0\0\x01s\0ab\xE4c\0"),
        "pgoutput message Type, name at byte 7: found 2 bytes that are not UTF-8 after 2 that are, expected a name in UTF-8 \
         (client_encoding)"
    );
}
