//! The writer: block style, two spaces, quotes wherever YAML 1.1 and 1.2 differ.

use std::fmt::Write as _;

use super::{
    node::{Node, Value},
    scalar::{self, Scalar},
};

/// Keys that are longer once written are marked with `?`: readers look for a plain key's colon no further than 1024.
const LONG_KEY: usize = 128;

/// The tree as YAML, with a line break at the end. Both generations of readers read it back equal.
#[must_use]
pub fn write(node: &Node) -> String {
    let mut out = String::new();
    match &node.value {
        Value::Scalar(scalar) => {
            write_scalar(&mut out, scalar);
            out.push('\n');
        }
        _ if is_empty(node) => {
            write_empty(&mut out, node);
            out.push('\n');
        }
        _ => write_block(&mut out, node, 0, false),
    }
    out
}

fn is_empty(node: &Node) -> bool {
    match &node.value {
        Value::Scalar(_) => false,
        Value::Sequence(items) => items.is_empty(),
        Value::Mapping(mapping) => mapping.is_empty(),
    }
}

fn write_empty(out: &mut String, node: &Node) {
    out.push_str(if matches!(node.value, Value::Sequence(_)) { "[]" } else { "{}" });
}

/// A collection with something in it. `inline`: its first line continues the one that was begun.
fn write_block(out: &mut String, node: &Node, indent: usize, inline: bool) {
    let mut first = inline;
    let mut lead = |out: &mut String| {
        if !std::mem::take(&mut first) {
            pad(out, indent);
        }
    };
    match &node.value {
        Value::Scalar(_) => {}
        Value::Sequence(items) => {
            for item in items {
                lead(out);
                out.push('-');
                write_item(out, item, indent);
            }
        }
        Value::Mapping(mapping) => {
            for entry in mapping {
                lead(out);
                let begin = out.len();
                write_scalar(out, &entry.key);
                if out.len() - begin > LONG_KEY {
                    out.insert_str(begin, "? ");
                    out.push('\n');
                    pad(out, indent);
                }
                out.push(':');
                write_value(out, &entry.value, indent);
            }
        }
    }
}

/// What follows a dash: a collection begins in the same line.
fn write_item(out: &mut String, item: &Node, indent: usize) {
    if matches!(item.value, Value::Scalar(_)) || is_empty(item) {
        write_value(out, item, indent);
    } else {
        out.push(' ');
        write_block(out, item, indent + 2, true);
    }
}

/// What follows a colon: a collection begins in the next line.
fn write_value(out: &mut String, value: &Node, indent: usize) {
    match &value.value {
        Value::Scalar(scalar) if scalar.is_plain() && scalar.as_str().is_empty() => {}
        Value::Scalar(scalar) => {
            out.push(' ');
            match literal_header(scalar) {
                Some(header) => write_literal(out, scalar.as_str(), header, indent + 2),
                None => write_scalar(out, scalar),
            }
        }
        _ if is_empty(value) => {
            out.push(' ');
            write_empty(out, value);
        }
        _ => {
            out.push('\n');
            write_block(out, value, indent + 2, false);
            return;
        }
    }
    out.push('\n');
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn write_scalar(out: &mut String, scalar: &Scalar) {
    let text = scalar.as_str();
    if scalar.is_plain() && text.is_empty() {
        // Where nothing was written and that would not do: as a key, or alone in the document.
        out.push_str("null");
        return;
    }
    // What was plain stays as it was, whatever it means; a text stands plain only where nobody can mistake it.
    let plain = scalar::stands_plain(text) && (scalar.is_plain() || !scalar::looks_typed(text));
    if plain {
        out.push_str(text);
    } else if text.contains(['"', '\\']) && text.chars().all(|c| is_printable(c) && c != '\n') {
        out.push('\'');
        out.push_str(&text.replace('\'', "''"));
        out.push('\'');
    } else {
        write_double_quoted(out, text);
    }
}

/// Whether it shows itself and is no line break to any reader (1.1 breaks lines at U+0085, U+2028 and U+2029, too).
fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a1}'..='\u{2027}' | '\u{2030}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
        || c >= '\u{10000}'
}

fn write_double_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            _ if is_printable(c) => out.push(c),
            // Writing into a String cannot fail.
            _ if u32::from(c) < 0x100 => drop(write!(out, "\\x{:02x}", u32::from(c))),
            _ => drop(write!(out, "\\u{:04x}", u32::from(c))),
        }
    }
    out.push('"');
}

/// How a text of several lines can be shown as such: `|`, or `|-` when no line break ends it. `None`: it cannot.
fn literal_header(scalar: &Scalar) -> Option<&'static str> {
    let text = scalar.as_str();
    let body = text.strip_suffix('\n').unwrap_or(text);
    let shows = !body.is_empty()
        && text.contains('\n')
        && !body.ends_with('\n')
        // The first line would set the indentation.
        && !body.starts_with([' ', '\n'])
        && body.lines().all(|line| line.is_empty() || !line.trim_matches(' ').is_empty())
        && text.chars().all(is_printable);
    shows.then_some(if body.len() < text.len() { "|" } else { "|-" })
}

/// Without its last line break, which the caller writes.
fn write_literal(out: &mut String, text: &str, header: &str, indent: usize) {
    out.push_str(header);
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            pad(out, indent);
            out.push_str(line);
        }
    }
}
