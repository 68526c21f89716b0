//! Detection of look-alike characters, as pasted from web pages and word processors.

use std::borrow::Cow;

/// What looks like a space, or like nothing, and indents nothing.
const SPACES: [(char, &str); 28] = [
    ('\u{85}', "NEXT LINE"),
    ('\u{a0}', "NO-BREAK SPACE"),
    ('\u{ad}', "SOFT HYPHEN"),
    ('\u{1680}', "OGHAM SPACE MARK"),
    ('\u{180e}', "MONGOLIAN VOWEL SEPARATOR"),
    ('\u{2000}', "EN QUAD"),
    ('\u{2001}', "EM QUAD"),
    ('\u{2002}', "EN SPACE"),
    ('\u{2003}', "EM SPACE"),
    ('\u{2004}', "THREE-PER-EM SPACE"),
    ('\u{2005}', "FOUR-PER-EM SPACE"),
    ('\u{2006}', "SIX-PER-EM SPACE"),
    ('\u{2007}', "FIGURE SPACE"),
    ('\u{2008}', "PUNCTUATION SPACE"),
    ('\u{2009}', "THIN SPACE"),
    ('\u{200a}', "HAIR SPACE"),
    ('\u{200b}', "ZERO WIDTH SPACE"),
    ('\u{200c}', "ZERO WIDTH NON-JOINER"),
    ('\u{200d}', "ZERO WIDTH JOINER"),
    ('\u{200e}', "LEFT-TO-RIGHT MARK"),
    ('\u{200f}', "RIGHT-TO-LEFT MARK"),
    ('\u{2028}', "LINE SEPARATOR"),
    ('\u{2029}', "PARAGRAPH SEPARATOR"),
    ('\u{202f}', "NARROW NO-BREAK SPACE"),
    ('\u{205f}', "MEDIUM MATHEMATICAL SPACE"),
    ('\u{2060}', "WORD JOINER"),
    ('\u{3000}', "IDEOGRAPHIC SPACE"),
    ('\u{feff}', "ZERO WIDTH NO-BREAK SPACE"),
];
/// Quotes that quote nothing.
const QUOTES: [(char, &str); 8] = [
    ('\u{2018}', "LEFT SINGLE QUOTATION MARK"),
    ('\u{2019}', "RIGHT SINGLE QUOTATION MARK"),
    ('\u{201a}', "SINGLE LOW-9 QUOTATION MARK"),
    ('\u{201b}', "SINGLE HIGH-REVERSED-9 QUOTATION MARK"),
    ('\u{201c}', "LEFT DOUBLE QUOTATION MARK"),
    ('\u{201d}', "RIGHT DOUBLE QUOTATION MARK"),
    ('\u{201e}', "DOUBLE LOW-9 QUOTATION MARK"),
    ('\u{201f}', "DOUBLE HIGH-REVERSED-9 QUOTATION MARK"),
];

fn name(table: &'static [(char, &'static str)], c: char) -> Option<String> {
    if c.is_ascii() {
        return None;
    }
    let (_, name) = table.iter().find(|(known, _)| *known == c)?;
    Some(format!("U+{:04X} {name}", u32::from(c)))
}

/// What is wrong with a scalar that stands without quotes, if such a character is what it begins with.
pub(super) fn problem(text: &str) -> Option<String> {
    let first = text.chars().next()?;
    if let Some(name) = name(&SPACES, first) {
        return Some(format!(
            "here is {name}, which neither indents nor separates: write spaces, or put the text into quotes"
        ));
    }
    let name = name(&QUOTES, first)?;
    let quoted =
        text.chars().count() > 1 && text.chars().next_back().is_some_and(|c| QUOTES.iter().any(|(q, _)| *q == c));
    quoted.then(|| format!("here is {name}, which quotes nothing in YAML: write \" or ', or put all of it into those"))
}

/// The first such character that may be why a text is no YAML: where a space would indent or part, up to the line that the
/// parser names, or anywhere in that line. With its line.
pub(super) fn suspect(text: &str, line: usize) -> Option<(usize, String)> {
    let lines = || text.lines().enumerate().map(|(index, source)| (index + 1, source)).take(line);
    let in_place = lines().filter(|(_, source)| !source.is_ascii()).find_map(|(number, source)| {
        let mut parts = true;
        let found = source.chars().find_map(|c| {
            let found = name(&SPACES, c).filter(|_| parts);
            parts = matches!(c, ':' | '-') || parts && c == ' ';
            found
        })?;
        Some((number, found))
    });
    in_place.or_else(|| {
        let (number, source) = lines().last()?;
        let named = source.chars().find_map(|c| name(&SPACES, c).or_else(|| name(&QUOTES, c)))?;
        Some((number, named))
    })
}

/// A text whose surrogate pairs (`\ud83d\ude00`, one character in JSON) the parser takes: each is marked, and its
/// backslashes are doubled, so that it comes out of a scalar as it stands, and [`Pairs::decoded`] or
/// [`Pairs::restored`].
pub(super) struct Pairs<'a> {
    pub(super) text: Cow<'a, str>,
    /// Before each pair: a character that the text does not have. `None`: there is no pair.
    mark: Option<char>,
}

/// The two halves at the beginning of that text, as one character.
fn pair(text: &str) -> Option<char> {
    let half = |text: &str| {
        let digits = text.strip_prefix("\\u")?.get(..4)?;
        digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
    };
    let units = [half(text)?, half(text.get(6..)?)?];
    char::decode_utf16(units).next()?.ok().filter(|c| *c >= '\u{10000}')
}

/// The length of a pair.
const PAIR: usize = 12;

/// A character for private use that the text neither has nor names by its number.
fn unused(text: &str) -> Option<char> {
    let first = u32::from('\u{e000}');
    let mut used = vec![false; 0x1900];
    let mut take = |number: u32| {
        let place = number.checked_sub(first).and_then(|place| used.get_mut(usize::try_from(place).ok()?));
        if let Some(place) = place {
            *place = true;
        }
    };
    text.chars().for_each(|c| take(u32::from(c)));
    for digits in text.as_bytes().windows(4) {
        if let Ok(digits) = std::str::from_utf8(digits)
            && let Ok(number) = u32::from_str_radix(digits, 16)
        {
            take(number);
        }
    }
    let place = used.iter().position(|used| !used)?;
    char::from_u32(first + u32::try_from(place).ok()?)
}

impl<'a> Pairs<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let plain = Self { text: Cow::Borrowed(text), mark: None };
        if !text.contains("\\ud") && !text.contains("\\uD") {
            return plain;
        }
        let Some(mark) = unused(text) else { return plain };
        let mut out = String::with_capacity(text.len() + text.len() / 4);
        let mut rest = text;
        while let Some(at) = rest.find('\\') {
            let (before, after) = rest.split_at(at);
            out.push_str(before);
            // An even number of backslashes is backslashes.
            let run = after.bytes().take_while(|byte| *byte == b'\\').count();
            let (even, odd) = after.split_at(run - run % 2);
            out.push_str(even);
            rest = match (run % 2, odd.get(..PAIR)) {
                (1, Some(escape)) if pair(odd).is_some() => {
                    out.push(mark);
                    out.push_str(&escape.replace('\\', "\\\\"));
                    odd.get(PAIR..).unwrap_or_default()
                }
                (1, _) => {
                    out.push('\\');
                    odd.get(1..).unwrap_or_default()
                }
                _ => odd,
            };
        }
        out.push_str(rest);
        Self { text: Cow::Owned(out), mark: Some(mark) }
    }

    /// What a scalar in double quotes means.
    pub(super) fn decoded(&self, scalar: String) -> String {
        self.each(scalar, PAIR, |escape, out| out.extend(pair(escape)))
    }

    /// What any other scalar was.
    pub(super) fn restored(&self, scalar: String) -> String {
        self.each(scalar, PAIR + 2, |escape, out| out.push_str(&escape.replace("\\\\", "\\")))
    }

    fn each(&self, scalar: String, length: usize, write: impl Fn(&str, &mut String)) -> String {
        let Some(mark) = self.mark.filter(|mark| scalar.contains(*mark)) else { return scalar };
        let mut parts = scalar.split(mark);
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (escape, rest) = part.split_at_checked(length).unwrap_or((part, ""));
            write(escape, &mut out);
            out.push_str(rest);
        }
        out
    }
}
