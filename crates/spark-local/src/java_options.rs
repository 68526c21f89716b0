//! A parser of Java options, as Spark's launcher reads them.

/// The options of a text: parted at white space, but for what stands in quotes. A backslash takes the next character as it
/// is, in single quotes it is one itself. `None`: a quote is not closed, or a backslash ends the text.
pub(crate) fn split(text: &str) -> Option<Vec<String>> {
    let mut options = Vec::new();
    let mut option: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' if quote != Some('\'') => option.get_or_insert_default().push(characters.next()?),
            '\'' | '"' if quote.is_none() => {
                quote = Some(c);
                option.get_or_insert_default();
            }
            _ if quote == Some(c) => quote = None,
            _ if quote.is_none() && c.is_whitespace() => options.extend(option.take()),
            _ => option.get_or_insert_default().push(c),
        }
    }
    options.extend(option);
    quote.is_none().then_some(options)
}

/// The options of a text of the manifest; the text says why Spark would not take them.
pub(crate) fn read(field: &str, text: &str) -> Result<Vec<String>, String> {
    let options = split(text)
        .ok_or_else(|| format!("{field}: a quote is not closed, or a backslash ends it: quote as a shell does"))?;
    if let Some(option) = options.iter().find(|option| option.starts_with("-Xmx")) {
        let option: String = option.chars().take(40).collect();
        return Err(format!("{field}: Spark takes no '{option}' there: set spec.driver.memory"));
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes() {
        for (text, options) in [
            ("", &[] as &[&str]),
            ("  -Da=b\t-Dc=d\n", &["-Da=b", "-Dc=d"]),
            ("-Dx=\"two words\" -Dy", &["-Dx=two words", "-Dy"]),
            ("-XX:OnOutOfMemoryError='kill -9 %p'", &["-XX:OnOutOfMemoryError=kill -9 %p"]),
            ("'-Dx=a \"b\"' \"it's\"", &["-Dx=a \"b\"", "it's"]),
            ("a\\ b \\\"c \"d\\\"e\" 'f\\'", &["a b", "\"c", "d\"e", "f\\"]),
            ("\"\" ''", &["", ""]),
            ("-Dя=\"я ё\"", &["-Dя=я ё"]),
        ] {
            assert_eq!(split(text).unwrap(), options, "{text}");
        }
        for text in ["'", "\"a", "a\\", "-Dx=\"a' b", "\"a\\\""] {
            assert_eq!(split(text), None, "{text}");
        }
    }
}
