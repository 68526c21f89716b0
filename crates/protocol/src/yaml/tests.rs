use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

fn problem(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

#[test]
fn what_both_generations_read_alike_has_a_kind() {
    let table = [
        ("", Kind::Null),
        ("~", Kind::Null),
        ("NULL", Kind::Null),
        ("true", Kind::Bool(true)),
        ("False", Kind::Bool(false)),
        ("0", Kind::Int),
        ("-12", Kind::Int),
        ("+3", Kind::Int),
        ("0xff", Kind::Int),
        ("123456789012345678901234567890", Kind::Int),
        ("1.", Kind::Float),
        ("1.50", Kind::Float),
        (".5", Kind::Float),
        ("-1.5e+3", Kind::Float),
        (".inf", Kind::Float),
        ("-.Inf", Kind::Float),
        (".nan", Kind::Float),
    ];
    for (text, kind) in table {
        assert_eq!(Scalar::plain(text).kind(), kind, "{text}");
        assert_eq!(Scalar::text(text).kind(), Kind::Str, "{text}");
    }
    for text in ["yes", "ON", "n", "010", "0o17", "1_000", "1e3", "1e+3", "12:30", "2026-11-22", "-.5", "0b1", "1.5e3"]
    {
        assert_eq!(Scalar::plain(text).kind(), Kind::Str, "{text}");
    }
}

#[test]
fn texts_that_look_like_something_else_are_quoted() {
    for text in [
        "12:30",
        "yes",
        "Off",
        "2026-11-22",
        "1e3",
        "010",
        "~",
        "",
        "null",
        "1",
        "1.0",
        "0x1",
        ".5",
        "=",
        "<<",
        "3.5.1",
    ] {
        assert_eq!(write(&Node::text(text)), format!("\"{text}\"\n"));
    }
    for text in [
        "- a", "a: b", "a #b", "a:", " a", "a ", "#a", "&a", "*a", "!a", "%a", "@a", "`a", "{a", "[a", "? a", "a\tb",
        "---",
    ] {
        let written = write(&Node::text(text));
        assert!(written.starts_with('"'), "{written}");
        assert_eq!(read(&written).unwrap(), Node::text(text));
    }
    for text in ["local:///opt/spark/a.py", "512m", "1200m", "Always", "a b", "ключ", "spark-job-1", "a,b"] {
        assert_eq!(write(&Node::text(text)), format!("{text}\n"));
    }
    assert_eq!(write(&Node::text("\"a\"")), "'\"a\"'\n");
    assert_eq!(write(&Node::text("'a\"\\")), "'''a\"\\'\n");
    assert_eq!(write(&Node::text("\u{85}\u{2028}\u{feff}\u{7f}\r")), "\"\\x85\\u2028\\ufeff\\x7f\\r\"\n");
}

#[test]
fn plain_scalars_keep_their_source_text() {
    let text =
        "a: 010\nb: 1.50\nc: yes\nd: 1e3\ne: ~\nf:\ng: 2026-11-22\nh: 12:30\n1: 0xFF\ni: 100000000000000000000000\n";
    assert_eq!(write(&read(text).unwrap()), text);
}

#[test]
fn collections_are_written_in_block_style() {
    let text = "a:\n  - b: 1\n    c:\n      - - x\n        - y\n      - []\n  - {}\nscript: |\n  one\n\n  two\nend: |-\n  a\n    b\n";
    let node = read(text).unwrap();
    assert_eq!(write(&node), text);
    assert_eq!(node.at(&["script"]).unwrap().as_str(), Some("one\n\ntwo\n"));
}

#[test]
fn lines_are_told() {
    let node = read("# a comment\nmetadata:\n  name: x\nspec: {a: [1,\n  2]}\n").unwrap();
    let mapping = node.as_mapping().unwrap();
    assert_eq!(mapping.entry("metadata").unwrap().line, 2);
    assert_eq!(node.at(&["metadata", "name"]).unwrap().line, 3);
    assert_eq!(node.at(&["spec", "a"]).unwrap().as_sequence().unwrap()[1].line, 5);
}

#[test]
fn anchors_and_merge_keys_are_expanded() {
    let node =
        read("base: &b {x: 1, y: 2}\nmore: &m {y: 3, z: 4}\nall:\n  own: 0\n  <<: [*b, *m]\n  z: 5\nagain: *b\n")
            .unwrap();
    assert_eq!(
        write(&node),
        "base:\n  x: 1\n  y: 2\nmore:\n  y: 3\n  z: 4\nall:\n  x: 1\n  y: 2\n  z: 5\n  own: 0\nagain:\n  x: 1\n  y: 2\n"
    );
    assert_eq!(problem("a: &a [1]\nb:\n  <<: *a\n"), "line 3: '<<' merges mappings, and this is a number");
    assert_eq!(problem("a: &a\n  b: *a\n"), "line 2: this alias stands inside of what it names: that would never end");
}

#[test]
fn refusals_name_the_line() {
    let deep = format!("a: 1\nb: {}", "[".repeat(65));
    let brackets = format!("a: 1\nb: {}", "[".repeat(1000));
    let block: String = (0..70).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    let huge = format!("a: 1\nb: {}\n", "x".repeat(MAX_SCALAR + 1));
    let long_key = format!("a: 1\n? {}\n: 1\n", "k".repeat(2000));
    let many = format!("a: 1\nb: [{}]\n", "1,".repeat(MAX_NODES));
    let table = [
        ("", "line 1: there is nothing here"),
        ("# only this\n", "line 1: there is nothing here"),
        ("a: 1\nb: 2\na: 3\n", "line 3: the key 'a' is there already, in line 1"),
        ("1: 1\n\"1\": 2\n", "line 2: the key '1' is there already, in line 1"),
        ("a: 1\n---\nb: 2\n", "line 2: a second document begins here"),
        ("a:\n\t- b\n", "line 2: this is not YAML: "),
        ("a:\n  b: 1\n\tc: 2\n", "a line is indented with a tab: use spaces"),
        ("a: b: c\n", "line 1: this is not YAML: "),
        ("a: 1\nb: !thing 2\n", "line 2: the tag '!thing' means nothing here"),
        ("a: !!int x\n", "line 1: 'x' is not what its tag !!int says"),
        ("a: !!python/object:os.system x\n", "line 1: the tag '!!python/object:os.system'"),
        ("a: 1\n[1]: 2\n", "line 2: "),
        ("a: 1\n? {b: 1}\n: 2\n", "line 2: a key must be a text"),
        ("a: 1\nb: *nobody\n", "line 2: this is not YAML: "),
        ("a: 1\nb: \u{1b}[2J\n", "line 2: here is the control character U+001B"),
        ("a: [1\nb: 2\n", "this is not YAML"),
        (deep.as_str(), "line 2: nested too deeply: more than 64 levels"),
        (brackets.as_str(), "line 2: nested too deeply"),
        (block.as_str(), "line 65: nested too deeply"),
        (huge.as_str(), "line 2: this text has 1048577 bytes"),
        (long_key.as_str(), "line 2: this key has 2000 bytes"),
        (many.as_str(), "line 2: too large"),
    ];
    for (text, expected) in table {
        let message = problem(text);
        assert!(message.contains(expected), "{message}\n expected: {expected}");
        assert!(message.len() < 400, "{message}");
    }
    assert_eq!(
        read_bytes(b"a: 1\nb: \xff\n").unwrap_err().to_string(),
        "line 2: here is a byte that is not UTF-8: save the file as UTF-8"
    );
    assert!(problem(&" ".repeat(MAX_BYTES + 1)).starts_with("line 1: the document has"));
}

#[test]
fn surrogate_pairs_are_one_character_where_json_has_them() {
    for (text, value) in [
        (r#"{"a": "\ud83d\ude00"}"#, "\u{1f600}"),
        (r#"a: "x\uD83D\uDE00y\ud83d\ude01""#, "x\u{1f600}y\u{1f601}"),
        (r#"a: "\\ud83d\\ude00""#, r"\ud83d\ude00"),
        (r#"a: "\\\ud83d\ude00""#, "\\\u{1f600}"),
        (r"a: \ud83d\uDE00", r"\ud83d\uDE00"),
        (r"a: '\ud83d\ude00'", r"\ud83d\ude00"),
        ("a: |-\n  \\ud83d\\ude00 \\\\ud83d\\ude00", r"\ud83d\ude00 \\ud83d\ude00"),
        ("# \\ud83d\\ude00\na: \"\\ud83d\\ude00\u{e000}\"", "\u{1f600}\u{e000}"),
        (r#"a: "\ud7ff\ue000""#, "\u{d7ff}\u{e000}"),
    ] {
        assert_eq!(read(text).unwrap().get("a").unwrap().as_str(), Some(value), "{text}");
    }
    let key = read(r#"{"\ud83d\ude00": 1}"#).unwrap();
    assert!(key.get("\u{1f600}").is_some());
    for text in [r#"{"a": "\ud83d"}"#, r#"a: "\ud83dx\ude00""#, r#"a: "\ude00\ud83d""#] {
        assert!(problem(text).contains("one half of a surrogate pair"), "{text}: {}", problem(text));
    }
    let many = format!("[{}]", r#""\ud83d\ude00","#.repeat(40_000));
    assert_eq!(read(&many).unwrap().as_sequence().unwrap().len(), 40_000);
}

#[test]
fn a_document_with_nothing_in_it_is_none() {
    for text in
        ["a: 1\n---\n", "a: 1\n---\n...\n", "a: 1\n---\n# c\n---\n", "---\n# c\n---\na: 1\n", "---\na: 1\n---\n"]
    {
        assert_eq!(read(text), read("a: 1"), "{text}");
    }
    for (text, line) in
        [("a: 1\n---\n---\nb: 2\n", 2), ("a: 1\n--- {}\n", 2), ("a: 1\n---\nnull\n", 2), ("a: 1\n---\n''\n", 2)]
    {
        assert_eq!(
            problem(text),
            format!("line {line}: a second document begins here: put each into a file of its own")
        );
    }
    assert!(problem("---\n---\n").starts_with("line 1: there is nothing here"));
}

#[test]
fn characters_that_look_like_others_are_named() {
    for (text, expected) in [
        ("a:\n\u{a0}\u{a0}b: 1\n", "line 2: here is U+00A0 NO-BREAK SPACE, which neither indents nor separates"),
        ("a:\n  b: 1\n\u{a0} c: 2\n", "line 3: here is U+00A0 NO-BREAK SPACE"),
        ("a:\n\u{200b}  b: 1\n", "line 2: here is U+200B ZERO WIDTH SPACE"),
        ("a:\n  \u{200b}b: 1\n", "line 2: here is U+200B ZERO WIDTH SPACE"),
        ("a:\n\u{3000}b: 1\n", "line 2: here is U+3000 IDEOGRAPHIC SPACE"),
        ("a:\n  - \u{2003}b\n", "line 2: here is U+2003 EM SPACE"),
        ("a: \u{201c}x\u{201d}\n", "line 1: here is U+201C LEFT DOUBLE QUOTATION MARK, which quotes nothing in YAML"),
        ("\u{201e}a\u{201d}: 1\n", "line 1: here is U+201E DOUBLE LOW-9 QUOTATION MARK"),
        ("a: [\u{2018}x\u{2019}, 1]\n", "line 1: here is U+2018 LEFT SINGLE QUOTATION MARK"),
        ("a:\n  - b\n \u{2003}- c\n", "; line 3 has U+2003 EM SPACE in it"),
        ("a:\n\u{a0} t: x\n  b: 1\n", "U+00A0 NO-BREAK SPACE"),
        ("a:\u{a0}1\nb: 2\n", "; line 1 has U+00A0 NO-BREAK SPACE in it"),
        ("a:\n  \u{feff}b: 1\n", "; line 2 has U+FEFF ZERO WIDTH NO-BREAK SPACE in it"),
        ("a: [\u{201c}x, y\n", "; line 1 has U+201C LEFT DOUBLE QUOTATION MARK in it"),
        ("a:\n\tb: 1\n", "line 2: this is not YAML: "),
        ("a:\n\tb: 1\n", "a line is indented with a tab: use spaces"),
    ] {
        assert!(problem(text).contains(expected), "{text:?}: {}", problem(text));
    }
    for text in [
        "a: x\u{a0}y",
        "a: \"\u{a0}x\"",
        "a: '\u{201c}x\u{201d}'",
        "a: |\n  \u{a0}x\n",
        "a: \u{201c}x\u{201d} y",
        "a: \u{2019}",
        "a: it\u{2019}s",
        "a: \u{ab}x\u{bb}",
    ] {
        let node = read(text).unwrap();
        assert_eq!(read(&write(&node)).unwrap(), node, "{text}");
    }
}

#[test]
fn bombs_are_refused_at_once() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..40 {
        laughs += &format!("a{n}: &a{n} [{}]\n", format!("*a{},", n - 1).repeat(9));
    }
    let mut merges = "m0: &m0 {k0: v}\n".to_owned();
    for n in 1..60 {
        merges += &format!("m{n}: &m{n} {{<<: [*m{0}, *m{0}], k{n}: v}}\n", n - 1);
    }
    let mut high = "h0: &h0 x\n".to_owned();
    for n in 1..100 {
        high += &format!("h{n}: &h{n} [*h{}]\n", n - 1);
    }
    let text = format!("t: &t \"{}\"\nu: [{}]\n", "x".repeat(500_000), "*t,".repeat(1000));
    let nested = format!("{}1", "&a [".repeat(60)) + &",1".repeat(40_000) + &"]".repeat(60);
    let brackets = "[".repeat(MAX_BYTES);
    let dashes = "- ".repeat(MAX_BYTES / 2);
    let quotes = "\"".repeat(MAX_BYTES);
    let questions = "? ".repeat(MAX_BYTES / 2);
    let colons = "a: ".repeat(MAX_BYTES / 3);
    let keys: String = (0..40_000).map(|n| format!("k{n}:\n")).collect::<String>() + "k0:\n";
    let began = Instant::now();
    for bomb in [laughs, merges, high, text, nested, brackets, dashes, quotes, questions, colons, keys] {
        assert!(read(&bomb).is_err());
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn json_and_back_keeps_order_and_values() {
    let json: serde_json::Value =
        serde_json::from_str(r#"{"z":1,"a":[true,null,"yes",1.5,1e300,-7,18446744073709551615],"m":{}}"#).unwrap();
    let node = Node::from_json(&json).unwrap();
    assert_eq!(node.to_json().to_string(), json.to_string());
    assert_eq!(read(&write(&node)).unwrap(), node);
    let mut deep = serde_json::Value::Null;
    for _ in 0..100 {
        deep = serde_json::Value::Array(vec![deep]);
    }
    assert!(Node::from_json(&deep).is_none());
}

fn tree() -> impl Strategy<Value = Node> {
    let scalar = prop_oneof![
        any::<String>().prop_map(Node::text),
        "[ -~]{0,12}".prop_map(Node::text),
        "([a-z ]{0,5}\n){0,3}[a-z #:-]{0,5}".prop_map(Node::text),
        "[0-9:._eExX+-]{0,8}".prop_map(Node::text),
        any::<i64>().prop_map(Node::int),
        any::<f64>().prop_map(|float| Node::made(Value::Scalar(if float.is_finite() {
            number_scalar(&float.to_string())
        } else {
            Scalar::plain(".nan")
        }))),
        any::<bool>().prop_map(Node::bool),
        Just(Node::null()),
    ];
    scalar.prop_recursive(5, 40, 5, |inner| {
        let key = prop_oneof!["[a-z]{1,6}", any::<String>(), "[ -~]{0,9}", "[a-z\"]{100,400}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Node::sequence),
            prop::collection::vec((key, inner), 0..5).prop_map(|entries| {
                let mut mapping = Mapping::default();
                for (key, value) in entries {
                    mapping.set(&key, value);
                }
                Node::made(Value::Mapping(mapping))
            }),
        ]
    })
}

/// A `.nan` is not equal to itself.
fn comparable(node: &Node) -> bool {
    !write(node).contains(".nan")
}

proptest! {
    #[test]
    fn whatever_is_written_is_read_back(node in tree().prop_filter("nan", comparable)) {
        let written = write(&node);
        let again = read(&written);
        prop_assert_eq!(again.as_ref(), Ok(&node), "{}", written);
        prop_assert_eq!(write(&again.unwrap()), written);
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        let _ = read(&text);
    }

    #[test]
    fn any_yaml_like_text_is_read_or_refused(text in "([-?:,\\[\\]{}#&*!|>'\"%@` \n\t~<=a1.]|: |- |\n  |\\.\\.\\.|---|<<: |&a |\\*a |!!str |key: ){0,60}") {
        if let Ok(node) = read(&text) {
            let written = write(&node);
            let again = read(&written);
            prop_assert_eq!(again.as_ref(), Ok(&node), "{:?} became {:?}", text, written);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_bytes(&bytes);
    }
}
