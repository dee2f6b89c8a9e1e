//! How AMQP 0-9-1 writes numbers, texts, tables and properties; see section 4.2 of its specification and RabbitMQ's errata to it.

use std::collections::BTreeMap;

/// Arguments of a queue: texts and whole numbers under names.
#[derive(Clone, Debug, Default)]
pub struct Table(Vec<u8>);

impl Table {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// The table with a text more.
    #[must_use]
    pub fn text(mut self, name: &str, value: &str) -> Self {
        self.0
            .extend(Bytes::new().short(name).u8(b'S').long(value.as_bytes()).into_vec());
        self
    }

    /// The table with a whole number more.
    #[must_use]
    pub fn number(mut self, name: &str, value: i64) -> Self {
        self.0
            .extend(Bytes::new().short(name).u8(b'l').u64(value.cast_unsigned()).into_vec());
        self
    }
}

/// Writes fields one after another.
#[derive(Default)]
pub(super) struct Bytes(Vec<u8>);

impl Bytes {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn u8(mut self, number: u8) -> Self {
        self.0.push(number);
        self
    }

    pub fn u16(mut self, number: u16) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    pub fn u32(mut self, number: u32) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    pub fn u64(mut self, number: u64) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    pub fn short(self, text: &str) -> Self {
        let length = u8::try_from(text.len()).expect("a short text");
        let mut bytes = self.u8(length);
        bytes.0.extend(text.as_bytes());
        bytes
    }

    pub fn long(self, text: &[u8]) -> Self {
        let length = u32::try_from(text.len()).expect("less than 4 GiB");
        let mut bytes = self.u32(length);
        bytes.0.extend(text);
        bytes
    }

    pub fn table(self, table: &Table) -> Self {
        self.long(&table.0)
    }

    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

/// Names of properties in the order of their flags, the highest first, and how they are written: `s` a short text, `T` a time, `o`
/// a small number, `F` the headers.
const PROPERTIES: [(&str, u8); 14] = [
    ("content-type", b's'),
    ("content-encoding", b's'),
    ("headers", b'F'),
    ("delivery-mode", b'o'),
    ("priority", b'o'),
    ("correlation-id", b's'),
    ("reply-to", b's'),
    ("expiration", b's'),
    ("message-id", b's'),
    ("timestamp", b'T'),
    ("type", b's'),
    ("user-id", b's'),
    ("app-id", b's'),
    ("cluster-id", b's'),
];

/// Reads fields one after another.
pub(super) struct Fields<'a>(&'a [u8]);

type Headers = Vec<(String, String)>;

impl<'a> Fields<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn u8(&mut self) -> Result<u8, String> {
        Ok(self.number::<1>()?[0])
    }

    pub fn u16(&mut self) -> Result<u16, String> {
        self.number().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, String> {
        self.number().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, String> {
        self.number().map(u64::from_be_bytes)
    }

    pub fn short(&mut self) -> Result<String, String> {
        let length = self.u8()?;
        self.text(usize::from(length))
    }

    /// The properties but for the headers, and the headers.
    pub fn properties(&mut self) -> Result<(BTreeMap<&'static str, String>, Headers), String> {
        let flags = self.u16()?;
        let (mut properties, mut headers) = (BTreeMap::new(), Vec::new());
        for (at, (name, kind)) in PROPERTIES.into_iter().enumerate() {
            if flags & (0x8000 >> at) == 0 {
                continue;
            }
            let value = match kind {
                b'F' => {
                    headers = self.table()?;
                    continue;
                }
                b'T' => self.u64()?.to_string(),
                b'o' => self.u8()?.to_string(),
                _ => self.short()?,
            };
            properties.insert(name, value);
        }
        Ok((properties, headers))
    }

    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    fn table(&mut self) -> Result<Headers, String> {
        let length = self.u32()? as usize;
        let mut inside = Fields(self.take(length)?);
        let mut entries = Vec::new();
        while !inside.0.is_empty() {
            let name = inside.short()?;
            entries.push((name, inside.value()?));
        }
        Ok(entries)
    }

    /// A value of a table as text.
    fn value(&mut self) -> Result<String, String> {
        Ok(match self.u8()? {
            b'S' | b'x' => {
                let length = self.u32()? as usize;
                self.text(length)?
            }
            b't' => (self.u8()? != 0).to_string(),
            b'b' => self.u8()?.cast_signed().to_string(),
            b'B' => self.u8()?.to_string(),
            b's' => self.u16()?.cast_signed().to_string(),
            b'u' => self.u16()?.to_string(),
            b'I' => self.u32()?.cast_signed().to_string(),
            b'i' => self.u32()?.to_string(),
            b'l' | b'L' => self.u64()?.cast_signed().to_string(),
            b'T' => self.u64()?.to_string(),
            b'F' => format!("{:?}", self.table()?),
            b'V' => String::new(),
            other => return Err(format!("a table holds a value of type {:?}", char::from(other))),
        })
    }

    fn text(&mut self, length: usize) -> Result<String, String> {
        String::from_utf8(self.take(length)?.to_vec()).map_err(|error| error.to_string())
    }

    fn number<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], String> {
        let bytes = self.take(LENGTH)?;
        Ok(bytes.try_into().expect("as many as were taken"))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or("a field is cut off")?;
        self.0 = rest;
        Ok(taken)
    }
}
