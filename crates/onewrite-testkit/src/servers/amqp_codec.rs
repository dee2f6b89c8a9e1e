//! AMQP 1.0's types as bytes, as far as a reader of queues needs them: written here so that what checks a sink shares nothing
//! with the client that the sink is built on. Part 1 of the OASIS standard.

use uuid::Uuid;

/// A decoded value. Strings and symbols are both texts; numbers of all widths are one.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Number(i128),
    Text(String),
    Bytes(Vec<u8>),
    Uuid(Uuid),
    /// Lists and arrays.
    List(Vec<Value>),
    Map(Vec<(Value, Value)>),
    /// A descriptor's number and the value.
    Described(u64, Box<Value>),
    /// A type that no test looks at: floating-point and decimal numbers, characters.
    Other,
}

impl Value {
    /// The field at this place of a list; null where it was left out.
    pub fn field(&self, at: usize) -> &Value {
        match self {
            Self::List(fields) => fields.get(at).unwrap_or(&Self::Null),
            _ => &Self::Null,
        }
    }

    /// A text, or what is written like one.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Uuid(uuid) => Some(uuid.to_string()),
            Self::Number(number) => Some(number.to_string()),
            Self::Bool(flag) => Some(flag.to_string()),
            _ => None,
        }
    }

    /// A whole number, where it is one.
    pub fn number(&self) -> Option<i128> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }
}

/// Takes values off the front of some bytes.
pub struct Decoder<'a>(pub &'a [u8]);

impl<'a> Decoder<'a> {
    /// The next value.
    ///
    /// # Panics
    /// When the bytes are not AMQP: the server under test is broken, or this reader.
    pub fn value(&mut self) -> Value {
        let code = self.take(1)[0];
        self.body(code)
    }

    fn body(&mut self, code: u8) -> Value {
        match code {
            0x00 => {
                let descriptor = match self.value() {
                    Value::Number(number) => u64::try_from(number).expect("a descriptor"),
                    // A symbolic descriptor: of nothing that this reader knows.
                    _ => u64::MAX,
                };
                Value::Described(descriptor, Box::new(self.value()))
            }
            0x40 => Value::Null,
            0x41 | 0x42 => Value::Bool(code == 0x41),
            0x56 => Value::Bool(self.take(1)[0] != 0),
            0x43 | 0x44 => Value::Number(0),
            0x50 | 0x52 | 0x53 => Value::Number(self.unsigned(1)),
            0x60 => Value::Number(self.unsigned(2)),
            0x70 => Value::Number(self.unsigned(4)),
            0x80 => Value::Number(self.unsigned(8)),
            0x51 | 0x54 | 0x55 => Value::Number(self.signed(1)),
            0x61 => Value::Number(self.signed(2)),
            0x71 => Value::Number(self.signed(4)),
            0x81 | 0x83 => Value::Number(self.signed(8)),
            0x98 => Value::Uuid(Uuid::from_slice(self.take(16)).expect("16 bytes")),
            0x72 | 0x73 | 0x74 | 0x82 | 0x84 | 0x94 => {
                self.take(1 << ((code >> 4) - 5));
                Value::Other
            }
            0xa0 | 0xb0 => Value::Bytes(self.sized(code).to_vec()),
            0xa1 | 0xb1 | 0xa3 | 0xb3 => Value::Text(String::from_utf8_lossy(self.sized(code)).into_owned()),
            0x45 => Value::List(Vec::new()),
            0xc0 | 0xd0 => Value::List(self.items(code)),
            0xc1 | 0xd1 => {
                let mut items = self.items(code).into_iter();
                let mut pairs = Vec::new();
                while let (Some(key), Some(value)) = (items.next(), items.next()) {
                    pairs.push((key, value));
                }
                Value::Map(pairs)
            }
            0xe0 | 0xf0 => self.array(code),
            other => panic!("{other:#x} is no constructor of AMQP 1.0"),
        }
    }

    fn items(&mut self, code: u8) -> Vec<Value> {
        let mut inside = Decoder(self.sized(code));
        let count = inside.unsigned(width(code));
        (0..count).map(|_| inside.value()).collect()
    }

    fn array(&mut self, code: u8) -> Value {
        let mut inside = Decoder(self.sized(code));
        let count = inside.unsigned(width(code));
        let constructor = inside.take(1)[0];
        Value::List((0..count).map(|_| inside.body(constructor)).collect())
    }

    fn sized(&mut self, code: u8) -> &'a [u8] {
        let size = self.unsigned(width(code));
        self.take(usize::try_from(size).expect("a size"))
    }

    fn unsigned(&mut self, bytes: usize) -> i128 {
        self.take(bytes)
            .iter()
            .fold(0, |number, byte| number << 8 | i128::from(*byte))
    }

    fn signed(&mut self, bytes: usize) -> i128 {
        let number = self.unsigned(bytes);
        let bits = 8 * bytes;
        if number >> (bits - 1) == 0 {
            number
        } else {
            number - (1 << bits)
        }
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at_checked(count).expect("AMQP that is whole");
        self.0 = rest;
        taken
    }
}

/// The bytes of the size and count of a constructor of variable width.
fn width(code: u8) -> usize {
    if code & 0x10 == 0 { 1 } else { 4 }
}

/// A described list, such as a performative, of encoded fields.
pub fn described(descriptor: u8, fields: &[Vec<u8>]) -> Vec<u8> {
    let body = fields.concat();
    let mut bytes = vec![0x00, 0x53, descriptor, 0xd0];
    bytes.extend((u32::try_from(body.len()).expect("a short list") + 4).to_be_bytes());
    bytes.extend(u32::try_from(fields.len()).expect("a short list").to_be_bytes());
    bytes.extend(body);
    bytes
}

/// Null, for fields that are left out.
pub fn null() -> Vec<u8> {
    vec![0x40]
}

/// A boolean.
pub fn flag(flag: bool) -> Vec<u8> {
    vec![if flag { 0x41 } else { 0x42 }]
}

/// An unsigned number of 32 bits.
pub fn uint(number: u32) -> Vec<u8> {
    [&[0x70][..], &number.to_be_bytes()].concat()
}

/// An unsigned number of 8 bits.
pub fn ubyte(number: u8) -> Vec<u8> {
    vec![0x50, number]
}

/// A string.
pub fn string(text: &str) -> Vec<u8> {
    variable(0xb1, text.as_bytes())
}

/// A symbol.
pub fn symbol(text: &str) -> Vec<u8> {
    variable(0xb3, text.as_bytes())
}

/// Bytes.
pub fn binary(bytes: &[u8]) -> Vec<u8> {
    variable(0xb0, bytes)
}

fn variable(code: u8, bytes: &[u8]) -> Vec<u8> {
    let size = u32::try_from(bytes.len()).expect("a short text");
    [&[code][..], &size.to_be_bytes(), bytes].concat()
}
