//! Rows.

use bytes::Bytes;

/// A row: its columns in the order of the table's definition. It is known to be well formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuple {
    count: u16,
    /// The columns, as they were sent.
    data: Bytes,
}

impl Tuple {
    /// `data` must hold `count` columns and nothing else.
    pub(crate) fn new(count: u16, data: Bytes) -> Self {
        Self { count, data }
    }

    /// How many columns it has.
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Whether it has no columns, as the row of a table without any.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Its columns.
    pub fn columns(&self) -> Columns<'_> {
        Columns {
            data: &self.data,
            at: 0,
            left: self.len(),
        }
    }
}

/// The value of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Column {
    /// Null.
    Null,
    /// A large value that an update left as it was, and that the server therefore did not read.
    Unchanged,
    /// In the type's text form, in the client's encoding.
    Text(Bytes),
    /// In the type's binary form; only with the plugin's option `binary`.
    Binary(Bytes),
}

impl Column {
    pub(crate) const NULL: u8 = b'n';
    pub(crate) const UNCHANGED: u8 = b'u';
    pub(crate) const TEXT: u8 = b't';
    pub(crate) const BINARY: u8 = b'b';
}

/// The columns of a [`Tuple`], in order.
#[derive(Clone, Debug)]
pub struct Columns<'a> {
    data: &'a Bytes,
    at: usize,
    left: usize,
}

impl Columns<'_> {
    fn value(&mut self) -> Bytes {
        let start = self.at + size_of::<u32>();
        let length: [u8; 4] = self.data[self.at..start].try_into().expect("four bytes");
        self.at = start + u32::from_be_bytes(length) as usize;
        self.data.slice(start..self.at)
    }
}

impl Iterator for Columns<'_> {
    type Item = Column;

    fn next(&mut self) -> Option<Column> {
        self.left = self.left.checked_sub(1)?;
        let kind = self.data[self.at];
        self.at += 1;
        Some(match kind {
            Column::NULL => Column::Null,
            Column::UNCHANGED => Column::Unchanged,
            Column::TEXT => Column::Text(self.value()),
            _ => Column::Binary(self.value()),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Columns<'_> {}
