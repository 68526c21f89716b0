//! Sanitising text from outside for a log or an error message.

use std::fmt::Write as _;

use mlplatform_protocol::token::mask;

/// The longest text from outside that is repeated to anybody.
const LONGEST: usize = 600;

/// The text without control, bidirectional and other unprintable characters (they are escaped), without anything
/// that begins like a token of ours, and not longer than a screen.
#[must_use]
pub fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(LONGEST));
    mask(text).chars().take(LONGEST).for_each(|c| push(&mut out, c));
    out
}

fn push(out: &mut String, c: char) {
    // `escape_debug` also puts a backslash before quotes, which harm nobody here.
    if matches!(c, ' '..='~') {
        out.push(c);
    } else {
        // Behind another character, so that combining marks, which many scripts need, stay as they are.
        let _ = format!("a{c}").escape_debug().skip(1).try_for_each(|c| out.write_char(c));
    }
}

/// What a program printed, for a page: bytes that are no text, and what would act on a screen instead of being read on
/// it, are shown as what they are (`\\xff`, `\\u{1b}`).
pub fn readable(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        let mut chars = chunk.valid().chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\n' | '\t' => out.push(c),
                // A line break of Windows; else what a bar of progress is drawn over again with.
                '\r' if chars.peek() == Some(&'\n') => {}
                '\r' => out.push('\n'),
                c => push(&mut out, c),
            }
        }
        let _ = chunk.invalid().iter().try_for_each(|byte| write!(out, "\\x{byte:02x}"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_masked() {
        let token = "mlpr_0123456789ABCDEFGHIJKLMNOPQRSTUV3eM83Q";
        assert_eq!(harmless(&format!("/v1_0/tokens/{token}/x")), "/v1_0/tokens/mlpr_***/x");
    }

    #[test]
    fn what_was_printed_is_shown() {
        assert_eq!(readable(b"\xc3\xbc\t\xff\xc3\n\x1b[1mx\x00"), "\u{fc}\t\\xff\\xc3\n\\u{1b}[1mx\\0");
        assert_eq!(readable(b"a\r\n1%\r2%\n"), "a\n1%\n2%\n");
        assert_eq!(readable("<b> \u{202e} 'quoted' \\".as_bytes()), "<b> \\u{202e} 'quoted' \\");
    }

    #[test]
    fn terminals_are_safe() {
        assert_eq!(harmless("a\u{1b}[31m\n\u{202e}b"), "a\\u{1b}[31m\\n\\u{202e}b");
        assert_eq!(harmless("Анна's \"名前\" नमस्ते \\"), "Анна's \"名前\" नमस्ते \\");
        assert!(harmless(&"\u{202e}".repeat(10_000)).len() <= LONGEST * 10);
    }
}
