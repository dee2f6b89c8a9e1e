//! Rust source, with its comments and literals made blank so that words can be looked for.

use std::iter::Peekable;
use std::str::Chars;

/// Blanks comments; lines and columns stay.
pub fn without_comments(text: &str) -> String {
    blank(text, false)
}

/// Blanks comments and the content of string and character literals; lines and columns stay.
pub fn code_only(text: &str) -> String {
    blank(text, true)
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    /// The line of `fn`, from 1.
    pub line: usize,
    /// From that line to the closing brace.
    pub lines: usize,
}

/// Every function with a body, nested ones too.
pub fn functions(text: &str) -> Vec<Function> {
    let code: Vec<char> = code_only(text).chars().collect();
    let mut found = Vec::new();
    let mut line = 1;
    for (place, character) in code.iter().enumerate() {
        match character {
            '\n' => line += 1,
            'f' => found.extend(function_at(&code, place, line)),
            _ => {}
        }
    }
    found
}

fn function_at(code: &[char], place: usize, line: usize) -> Option<Function> {
    let is_word = |character: &char| character.is_alphanumeric() || *character == '_';
    if !code[place..].starts_with(&['f', 'n', ' ']) || place.checked_sub(1).is_some_and(|before| is_word(&code[before]))
    {
        return None;
    }
    let name: String = code[place + 3..]
        .iter()
        .take_while(|character| is_word(character))
        .collect();
    if name.is_empty() {
        return None;
    }
    let (mut parentheses, mut braces, mut lines) = (0, 0, 1);
    for character in &code[place..] {
        match character {
            '\n' => lines += 1,
            '(' | '[' => parentheses += 1,
            ')' | ']' => parentheses -= 1,
            ';' if parentheses == 0 && braces == 0 => return None,
            '{' => braces += 1,
            '}' => {
                braces -= 1;
                if braces == 0 {
                    return Some(Function { name, line, lines });
                }
            }
            _ => {}
        }
    }
    None
}

fn blank(text: &str, literals: bool) -> String {
    let mut blanker = Blanker {
        rest: text.chars().peekable(),
        out: String::with_capacity(text.len()),
        literals,
    };
    blanker.run();
    blanker.out
}

struct Blanker<'a> {
    rest: Peekable<Chars<'a>>,
    out: String,
    literals: bool,
}

impl Blanker<'_> {
    fn run(&mut self) {
        while let Some(character) = self.rest.next() {
            match (character, self.rest.peek().copied()) {
                ('/', Some('/')) => self.line_comment(),
                ('/', Some('*')) => self.block_comment(),
                ('"', _) => self.string(),
                ('r', Some('"' | '#')) if !self.in_word(1) => self.raw_string(),
                ('\'', _) => self.character_or_lifetime(),
                _ => self.out.push(character),
            }
        }
    }

    /// Whether what was written last, but for a prefix of so many letters (`br`, `cr`), is part of a word.
    fn in_word(&self, prefix: usize) -> bool {
        let mut before = self.out.chars().rev();
        let is_word = |character: char| character.is_alphanumeric() || character == '_';
        match before.next() {
            Some('b' | 'c') if prefix > 0 => before.next().is_some_and(is_word),
            Some(character) => is_word(character),
            None => false,
        }
    }

    fn line_comment(&mut self) {
        self.hide('/');
        while let Some(character) = self.rest.next_if(|character| *character != '\n') {
            self.hide(character);
        }
    }

    fn block_comment(&mut self) {
        self.hide('/');
        let (mut depth, mut before) = (0, '/');
        while let Some(character) = self.rest.next() {
            self.hide(character);
            (depth, before) = match (before, character) {
                ('/', '*') => (depth + 1, ' '),
                ('*', '/') => (depth - 1, ' '),
                _ => (depth, character),
            };
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.out.push('"');
        while let Some(character) = self.rest.next() {
            match character {
                '"' => return self.out.push('"'),
                '\\' => {
                    self.literal('\\');
                    if let Some(escaped) = self.rest.next() {
                        self.literal(escaped);
                    }
                }
                _ => self.literal(character),
            }
        }
    }

    fn raw_string(&mut self) {
        self.out.push('r');
        let mut hashes = 0;
        while self.rest.next_if_eq(&'#').is_some() {
            self.out.push('#');
            hashes += 1;
        }
        if self.rest.next_if_eq(&'"').is_none() {
            return; // a raw identifier
        }
        self.out.push('"');
        let mut closing = None;
        while let Some(character) = self.rest.next() {
            self.literal(character);
            closing = match (character, closing) {
                ('"', _) => Some(0),
                ('#', Some(seen)) => Some(seen + 1),
                _ => None,
            };
            if closing == Some(hashes) {
                return;
            }
        }
    }

    fn character_or_lifetime(&mut self) {
        self.out.push('\'');
        let mut ahead = self.rest.clone();
        let first = ahead.next();
        let is_literal = first == Some('\\') || (first != Some('\'') && ahead.next() == Some('\''));
        if !is_literal {
            return;
        }
        while let Some(character) = self.rest.next() {
            match character {
                '\'' => return self.out.push('\''),
                '\\' => {
                    self.literal('\\');
                    if let Some(escaped) = self.rest.next() {
                        self.literal(escaped);
                    }
                }
                _ => self.literal(character),
            }
        }
    }

    fn literal(&mut self, character: char) {
        if self.literals {
            self.hide(character)
        } else {
            self.out.push(character)
        }
    }

    fn hide(&mut self, character: char) {
        self.out.push(if character == '\n' { '\n' } else { ' ' });
    }
}

#[cfg(test)]
mod tests {
    use super::{Function, code_only, functions, without_comments};

    #[test]
    fn comments_and_literals_become_blank() {
        let cases = [
            ("a /* b /* c */ \" */ d // e\nf", "a                   d     \nf"),
            (r#""f\" // g" h"#, r#""        " h"#),
            (r#"'\'' '"' &'i j"#, r#"'  ' ' ' &'i j"#),
            ("r#\"k\"l\"# br\"m\" r#n \"o\"", "r#\"      br\"   r#n \" \""),
        ];
        for (text, code) in cases {
            assert_eq!(code_only(text), code, "of {text}");
        }
        assert_eq!(without_comments("\"// a\" // b"), "\"// a\"     ");
    }

    #[test]
    fn functions_are_measured_from_their_name_to_their_closing_brace() {
        let text = "trait T { fn none(&self) -> [u8; 2]; }\nfn one(f: fn(u8)) { \"}\"; }\n    async fn two<const N: usize>()\nwhere\n{\n    if true {\n    }\n}\n";
        let expected = [("one", 2, 1), ("two", 3, 6)];
        let expected = expected.map(|(name, line, lines)| Function {
            name: name.to_owned(),
            line,
            lines,
        });
        assert_eq!(functions(text), expected);
    }
}
