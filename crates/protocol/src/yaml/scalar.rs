//! Scalars: their type, and which texts need no quotes.

/// A scalar. Plain ones keep their source text; all others are texts.
#[derive(Clone, Debug)]
pub struct Scalar {
    text: String,
    plain: bool,
}

/// What a scalar means to every reader of YAML, 1.1 or 1.2. Where they differ (`yes`, `010`, `1e3`, `12:30`), it is
/// text to us and keeps its spelling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Nothing: `null`, `~`, or nothing written.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number: decimal, or hexadecimal with `0x`. Its size is not limited: read it from the text.
    Int,
    /// A number with a decimal point, or `.inf`, `.nan`.
    Float,
    /// A text.
    Str,
}

impl Scalar {
    /// A text, whatever it looks like.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), plain: false }
    }

    /// A plain scalar with that source text: what a number, a truth value or null is made of.
    pub fn plain(source: impl Into<String>) -> Self {
        Self { text: source.into(), plain: true }
    }

    /// The text: of a plain scalar as it was written, of all others what it means.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it stood without quotes, so that its meaning is a matter of reading.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.plain
    }

    /// What it means to every reader.
    #[must_use]
    pub fn kind(&self) -> Kind {
        if self.plain { plain_kind(&self.text) } else { Kind::Str }
    }

    /// The number, as far as an `f64` holds it.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self.kind() {
            Kind::Int => self.as_i128().map(|number| number as f64).or_else(|| self.text.parse().ok()),
            Kind::Float => match self.text.trim_start_matches(['+', '-']) {
                ".nan" | ".NaN" | ".NAN" => Some(f64::NAN),
                ".inf" | ".Inf" | ".INF" if self.text.starts_with('-') => Some(f64::NEG_INFINITY),
                ".inf" | ".Inf" | ".INF" => Some(f64::INFINITY),
                _ => self.text.parse().ok(),
            },
            _ => None,
        }
    }

    /// The whole number; `None` also where it is too large.
    #[must_use]
    pub fn as_i128(&self) -> Option<i128> {
        if self.kind() != Kind::Int {
            return None;
        }
        match self.text.strip_prefix("0x") {
            Some(digits) => i128::from_str_radix(digits, 16).ok(),
            None => self.text.parse().ok(),
        }
    }
}

/// Equal in meaning: `1.0` and `1.00` are, `1` and `"1"` are not.
impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        let kind = self.kind();
        if kind != other.kind() {
            return false;
        }
        match kind {
            Kind::Null | Kind::Bool(_) => true,
            Kind::Str => self.text == other.text,
            Kind::Int => self.text == other.text || (self.as_i128().is_some() && self.as_i128() == other.as_i128()),
            Kind::Float => self.text == other.text || self.as_f64() == other.as_f64(),
        }
    }
}

fn plain_kind(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "true" | "True" | "TRUE" => return Kind::Bool(true),
        "false" | "False" | "FALSE" => return Kind::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Kind::Float,
        _ => {}
    }
    // Only 1.2 reads a signed number that begins with its point: 1.1 takes it for a text.
    let signed = text.starts_with(['+', '-']);
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Kind::Float;
    }
    if let (false, Some(digits)) = (signed, unsigned.strip_prefix("0x")) {
        let hexadecimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        return if hexadecimal { Kind::Int } else { Kind::Str };
    }
    let (whole, rest) = split_digits(unsigned);
    if rest.is_empty() {
        let decimal = !whole.is_empty() && (whole == "0" || !whole.starts_with('0'));
        return if decimal { Kind::Int } else { Kind::Str };
    }
    let Some(rest) = rest.strip_prefix('.') else { return Kind::Str };
    let (fraction, rest) = split_digits(rest);
    if whole.is_empty() && (fraction.is_empty() || signed) {
        return Kind::Str;
    }
    if rest.is_empty() {
        return Kind::Float;
    }
    // 1.1 wants a sign in the exponent, 1.2 does not mind it.
    let exponent = rest.strip_prefix(['e', 'E']).and_then(|rest| rest.strip_prefix(['+', '-']));
    match exponent.map(split_digits) {
        Some((digits, "")) if !digits.is_empty() => Kind::Float,
        _ => Kind::Str,
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// Whether some reader could take that plain text for something other than a text. Generous: an unneeded pair of
/// quotes harms nobody.
pub(super) fn looks_typed(text: &str) -> bool {
    const WORDS: [&str; 11] = ["", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    if text.len() <= 5 && WORDS.iter().any(|word| word.eq_ignore_ascii_case(text)) {
        return true;
    }
    if matches!(text, "<<" | "=") {
        return true;
    }
    // Numbers in all bases, with underscores, in base 60, with exponents; dates and times.
    let numeric = |byte: u8| byte.is_ascii_hexdigit() || b"+-_.:xXoOtTzZ \t".contains(&byte);
    let leads = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
    let body = text.trim_start_matches(['+', '-', '.']).to_ascii_lowercase();
    leads && (text.bytes().all(numeric) || body == "inf" || body == "nan")
}

/// Whether a text can stand without quotes in a block collection, as a key or a value, whatever it then means.
pub(super) fn stands_plain(text: &str) -> bool {
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return false };
    let begins = match first {
        '-' | '+' | '.' => chars.next().is_some_and(|second| second.is_alphanumeric() || second == '.'),
        '~' => text.len() == 1,
        _ => first.is_alphanumeric() || matches!(first, '/' | '_'),
    };
    begins
        && !text.starts_with("...")
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && text.chars().all(|c| matches!(c, ' '..='~') || (c.is_alphanumeric() && u32::from(c) > 0xa0))
}
