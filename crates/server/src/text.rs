//! Texts that came from outside, made fit for a log or an error message.

use std::fmt::Write as _;

use mlplatform_protocol::token::mask;

/// The longest text from outside that is repeated to anybody.
const LONGEST: usize = 600;

/// The text without control, bidirectional and other unprintable characters (they are escaped), without anything
/// that begins like a token of ours, and not longer than a screen.
#[must_use]
pub fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(LONGEST));
    for c in mask(text).chars().take(LONGEST) {
        // `escape_debug` also puts a backslash before quotes, which harm nobody here.
        if matches!(c, ' '..='~') {
            out.push(c);
        } else {
            // Behind another character, so that combining marks, which many scripts need, stay as they are.
            let _ = format!("a{c}").escape_debug().skip(1).try_for_each(|c| out.write_char(c));
        }
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
    fn terminals_are_safe() {
        assert_eq!(harmless("a\u{1b}[31m\n\u{202e}b"), "a\\u{1b}[31m\\n\\u{202e}b");
        assert_eq!(harmless("Анна's \"名前\" नमस्ते \\"), "Анна's \"名前\" नमस्ते \\");
        assert!(harmless(&"\u{202e}".repeat(10_000)).len() <= LONGEST * 10);
    }
}
