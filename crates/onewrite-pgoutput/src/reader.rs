//! Reads a message field by field; every error knows where it is.

use bytes::Bytes;

use crate::error::{DecodeError, Problem};
use crate::name::Name;
use crate::tuple::{Column, Tuple};

/// A message that is read from its tag to its end.
pub struct Reader {
    /// The kind of message, for errors.
    pub message: &'static str,
    data: Bytes,
    at: usize,
}

/// The fields of a tuple, for errors.
pub struct TupleFields {
    pub count: &'static str,
    pub kind: &'static str,
    pub length: &'static str,
    pub value: &'static str,
}

impl Reader {
    pub fn new(data: Bytes) -> Self {
        Self {
            message: "of unknown kind",
            data,
            at: 0,
        }
    }

    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    pub fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub fn i32(&mut self, field: &'static str) -> Result<i32, DecodeError> {
        self.array(field).map(i32::from_be_bytes)
    }

    pub fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.array(field).map(u64::from_be_bytes)
    }

    pub fn i64(&mut self, field: &'static str) -> Result<i64, DecodeError> {
        self.array(field).map(i64::from_be_bytes)
    }

    /// A length or a count in four bytes.
    pub fn size(&mut self, field: &'static str) -> Result<usize, DecodeError> {
        let offset = self.at;
        let found = self.i32(field)?;
        usize::try_from(found).map_err(|_| self.error(field, offset, Problem::Negative { found }))
    }

    /// A count in two bytes.
    pub fn count(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        let offset = self.at;
        let found = self.array(field).map(i16::from_be_bytes)?;
        u16::try_from(found).map_err(|_| self.error(field, offset, Problem::Negative { found: found.into() }))
    }

    /// A name and the zero byte behind it.
    pub fn name(&mut self, field: &'static str) -> Result<Name, DecodeError> {
        let offset = self.at;
        let left = self.left();
        let Some(length) = self.data[offset..].iter().position(|byte| *byte == 0) else {
            return Err(self.error(field, offset, Problem::Unterminated { left }));
        };
        self.at += length + 1;
        Name::new(self.data.slice(offset..offset + length)).map_err(|error| {
            let valid = error.valid_up_to();
            let invalid = length - valid;
            self.error(field, offset, Problem::NotUtf8 { valid, invalid })
        })
    }

    /// The next `length` bytes.
    pub fn bytes(&mut self, field: &'static str, length: usize) -> Result<Bytes, DecodeError> {
        self.require(field, length)?;
        self.at += length;
        Ok(self.data.slice(self.at - length..self.at))
    }

    /// A count of columns, and the columns.
    pub fn tuple(&mut self, fields: &TupleFields) -> Result<Tuple, DecodeError> {
        let count = self.count(fields.count)?;
        let start = self.at;
        for _ in 0..count {
            let offset = self.at;
            match self.u8(fields.kind)? {
                Column::NULL | Column::UNCHANGED => {}
                Column::TEXT | Column::BINARY => {
                    let length = self.size(fields.length)?;
                    self.require(fields.value, length)?;
                    self.at += length;
                }
                found => return Err(self.unknown(fields.kind, offset, found, "'n', 'u', 't' or 'b'")),
            }
        }
        Ok(Tuple::new(count, self.data.slice(start..self.at)))
    }

    /// An error unless this many bytes are left.
    pub fn require(&self, field: &'static str, needed: usize) -> Result<(), DecodeError> {
        let left = self.left();
        if needed > left {
            return Err(self.error(field, self.at, Problem::Short { needed, left }));
        }
        Ok(())
    }

    /// An error about the byte that was read last.
    pub fn unknown_byte(&self, field: &'static str, found: u8, expected: &'static str) -> DecodeError {
        self.unknown(field, self.at - 1, found, expected)
    }

    /// An error if anything is left.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.left() {
            0 => Ok(()),
            left => Err(self.error("end", self.at, Problem::Trailing { left })),
        }
    }

    fn left(&self) -> usize {
        self.data.len() - self.at
    }

    fn array<const SIZE: usize>(&mut self, field: &'static str) -> Result<[u8; SIZE], DecodeError> {
        self.require(field, SIZE)?;
        let start = self.at;
        self.at += SIZE;
        Ok(self.data[start..self.at].try_into().expect("of that size"))
    }

    fn unknown(&self, field: &'static str, offset: usize, found: u8, expected: &'static str) -> DecodeError {
        self.error(field, offset, Problem::Unknown { found, expected })
    }

    fn error(&self, field: &'static str, offset: usize, problem: Problem) -> DecodeError {
        DecodeError {
            message: self.message,
            field,
            offset,
            problem,
        }
    }
}
