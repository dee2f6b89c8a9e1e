//! A topic made of columns: `shop.{aggregate_type}`.

/// A text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Stands for itself.
    Text(String),
    /// The column of this name.
    Column(String),
}

impl Template {
    /// Reads a template; `{{` and `}}` stand for braces themselves.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut parts, mut plain) = (Vec::new(), String::new());
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            if brace == "}" {
                return Err("a } stands alone; write }} for the brace itself".to_owned());
            }
            let end = rest
                .find(['{', '}'])
                .filter(|end| rest[*end..].starts_with('}') && *end > 0)
                .ok_or("a { is not followed by a column's name and a }; write {{ for the brace itself")?;
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Column(rest[..end].to_owned()));
            rest = &rest[end + 1..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        match parts.is_empty() {
            true => Err("it is empty".to_owned()),
            false => Ok(Self(parts)),
        }
    }

    /// Its pieces, in their order.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_found() {
        let text = |text: &str| Part::Text(text.to_owned());
        let column = |name: &str| Part::Column(name.to_owned());
        for (template, parts) in [
            ("shop.orders", vec![text("shop.orders")]),
            ("shop.{Type}", vec![text("shop."), column("Type")]),
            ("{a}{b b}.x", vec![column("a"), column("b b"), text(".x")]),
            ("{{{a}}}", vec![text("{"), column("a"), text("}")]),
        ] {
            assert_eq!(Template::parse(template), Ok(Template(parts)), "{template}");
        }
    }

    #[test]
    fn what_is_no_template_is_told() {
        let open = "a { is not followed by a column's name and a }; write {{ for the brace itself";
        for (template, told) in [
            ("", "it is empty"),
            ("a{", open),
            ("a{}", open),
            ("a{b{c}", open),
            ("a}", "a } stands alone; write }} for the brace itself"),
        ] {
            assert_eq!(Template::parse(template).unwrap_err(), told, "{template}");
        }
    }
}
