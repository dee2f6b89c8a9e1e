//! Confluent's wire format around a body.

/// The first byte, which marks the format.
const MAGIC: u8 = 0;

/// The length of the mark and the id, in bytes.
pub(super) const PREFIX_BYTES: usize = 5;

/// The mark and a schema's id, for a body to follow.
pub(super) fn begin(schema_id: u32, room: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + room);
    bytes.push(MAGIC);
    bytes.extend_from_slice(&schema_id.to_be_bytes());
    bytes
}

/// Whether bytes look like a framed body.
pub(super) fn is_framed(bytes: &[u8]) -> bool {
    bytes.len() >= PREFIX_BYTES && bytes[0] == MAGIC
}

/// Appends a whole number as Avro's `long` and Protobuf's `sint64` have it: zigzag, seven bits a byte, the lowest first.
pub(super) fn zigzag(number: i64, out: &mut Vec<u8>) {
    let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_specifications_table() {
        // Avro 1.12, "Binary Encoding": 0, -1, 1, -2, 2, -64, 64.
        for (number, expected) in [
            (0, &[0x00][..]),
            (-1, &[0x01]),
            (1, &[0x02]),
            (-2, &[0x03]),
            (2, &[0x04]),
            (-64, &[0x7f]),
            (64, &[0x80, 0x01]),
            (i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ] {
            let mut out = Vec::new();
            zigzag(number, &mut out);
            assert_eq!(out, expected, "{number}");
        }
    }

    #[test]
    fn a_frame_begins_with_the_mark_and_the_id() {
        let bytes = begin(0x0102_0304, 0);
        assert_eq!(bytes, [0, 1, 2, 3, 4]);
        assert!(is_framed(&bytes) && !is_framed(b"{\"a\":1}") && !is_framed(&[0, 1]));
    }
}
