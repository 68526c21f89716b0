//! The parser, with limits of size, depth and expansion.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use super::{
    characters::{self, Pairs},
    limits::{MAX_BYTES, MAX_DEPTH, MAX_NODES, MAX_SCALAR},
    node::{Entry, Mapping, Node, Value},
    scalar::{Kind, Scalar},
};

/// The most text, aliases expanded.
const MAX_TEXT: usize = 2 * MAX_BYTES;
/// The longest key: readers look for a key's colon no further than that.
const MAX_KEY: usize = 1024;
/// Mappings with more entries than that get an index of their keys while they are read.
const FEW: usize = 16;

/// Why a text is not read, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct YamlError {
    /// The line, from 1.
    pub line: u32,
    /// What is wrong, and what to do about it where that is not plain.
    pub problem: String,
}

impl YamlError {
    fn new(line: u32, problem: impl Into<String>) -> Self {
        Self { line, problem: problem.into() }
    }
}

/// Reads one document from bytes, which must be UTF-8.
///
/// # Errors
/// [`YamlError`], which names the line.
pub fn read_bytes(bytes: &[u8]) -> Result<Node, YamlError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => read(text),
        Err(error) => {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            Err(YamlError::new(
                line_of(before, before.len()),
                "here is a byte that is not UTF-8: save the file as UTF-8",
            ))
        }
    }
}

/// Reads one document.
///
/// Anchors, aliases and merge keys (`<<`) are expanded: what a merge brings comes first, what the mapping says itself
/// wins. Comments are not kept. A document with nothing in it, as `---` at the end makes one, is none.
///
/// # Errors
/// [`YamlError`], which names the line: when it is no YAML, or breaks a bound, has a key twice, holds several
/// documents or none, or a tag that means nothing here.
pub fn read(text: &str) -> Result<Node, YamlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    check_characters(text)?;
    let pairs = Pairs::of(text);
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(&pairs.text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| scan_error(text, &error))?;
        if builder.take(event, span, &pairs)? {
            break;
        }
    }
    builder.root.ok_or_else(|| YamlError::new(1, "there is nothing here but white space and comments"))
}

/// YAML allows no control characters but tab and line breaks, and neither do we: they would come back from a terminal.
fn check_characters(text: &str) -> Result<(), YamlError> {
    if text.len() > MAX_BYTES {
        return Err(YamlError::new(1, format!("the document has {} bytes; at most {MAX_BYTES} are read", text.len())));
    }
    let bad = |c: char| matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}');
    let Some((at, c)) = text.char_indices().find(|(_, c)| bad(*c)) else { return Ok(()) };
    Err(YamlError::new(
        line_of(text.as_bytes(), at),
        format!(
            "here is the control character U+{:04X}: remove it, or write it with an escape in double quotes",
            u32::from(c)
        ),
    ))
}

fn line_of(bytes: &[u8], at: usize) -> u32 {
    let breaks = bytes.iter().take(at).filter(|byte| **byte == b'\n').count();
    u32::try_from(breaks + 1).unwrap_or(u32::MAX)
}

fn line(span: Span) -> u32 {
    u32::try_from(span.start.line()).unwrap_or(u32::MAX)
}

/// The parser's words, and the causes that they never name.
fn scan_error(text: &str, error: &ScanError) -> YamlError {
    let number = error.marker().line().max(1);
    let source = text.lines().nth(number - 1).unwrap_or_default();
    let indentation = source.split(|c: char| !c.is_whitespace()).next().unwrap_or_default();
    if error.info().contains("recursion limit") {
        // It looks ahead, and has a limit of its own, which is higher.
        return too_deep(u32::try_from(number).unwrap_or(u32::MAX));
    }
    let mut problem = format!("this is not YAML: {}", error.info());
    if indentation.contains('\t') || error.info().contains("found a tab") {
        problem.push_str("; a line is indented with a tab: use spaces");
    } else if let Some((line, name)) = characters::suspect(text, number) {
        problem.push_str(&format!("; line {line} has {name} in it, which neither indents nor separates nor quotes"));
    } else if error.info().contains("invalid Unicode character escape") {
        problem.push_str(
            "; one half of a surrogate pair (\\ud83d) is no character: write both halves, or \\U and eight digits",
        );
    } else if error.info().contains("mapping values") {
        problem.push_str("; check the indentation, and quote a text that holds ': '");
    }
    YamlError::new(u32::try_from(number).unwrap_or(u32::MAX), problem)
}

/// A collection that is not yet complete.
struct Open {
    node: Node,
    anchor: usize,
    /// The key whose value comes next.
    key: Option<(Scalar, u32)>,
    /// What `<<` named: applied when the mapping is complete.
    merge: Option<Node>,
    /// The keys, once there are many.
    index: HashSet<String>,
    size: Size,
}

/// What a value costs when it is copied.
#[derive(Clone, Copy, Default)]
struct Size {
    nodes: usize,
    text: usize,
    height: usize,
}

impl Size {
    fn contain(&mut self, inner: Self) {
        self.nodes += inner.nodes;
        self.text += inner.text;
        self.height = self.height.max(inner.height + 1);
    }
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, (Node, Size)>,
    root: Option<Node>,
    /// Where another document began.
    another: Option<u32>,
    spent: Size,
}

impl Builder {
    /// Takes the next event; `true`: it was the last.
    fn take(&mut self, event: Event<'_>, span: Span, pairs: &Pairs<'_>) -> Result<bool, YamlError> {
        let line = line(span);
        match event {
            Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
            Event::StreamEnd => return Ok(true),
            Event::DocumentStart(_) => {
                if self.root.is_some() {
                    self.another.get_or_insert(line);
                }
            }
            // A document with nothing in it.
            Event::Scalar(text, ScalarStyle::Plain, 0, None) if text.is_empty() && self.open.is_empty() => {}
            Event::Scalar(text, style, anchor, tag) => {
                let text = match style {
                    ScalarStyle::DoubleQuoted => pairs.decoded(text.into_owned()),
                    _ => pairs.restored(text.into_owned()),
                };
                if style == ScalarStyle::Plain
                    && let Some(problem) = characters::problem(&text)
                {
                    return Err(YamlError::new(line, problem));
                }
                if text.len() > MAX_SCALAR {
                    let problem = format!("this text has {} bytes; at most {MAX_SCALAR} are read", text.len());
                    return Err(YamlError::new(line, problem));
                }
                let plain = scalar_is_plain(&text, style, tag.as_deref(), line)?;
                let size = Size { nodes: 1, text: text.len(), height: 0 };
                let scalar = if plain { Scalar::plain(text) } else { Scalar::text(text) };
                self.complete(Node { value: Value::Scalar(scalar), line }, anchor, size, true)?;
            }
            Event::Alias(anchor) => {
                let Some((node, size)) = self.anchors.get(&anchor) else {
                    return Err(YamlError::new(
                        line,
                        "this alias stands inside of what it names: that would never end",
                    ));
                };
                let (mut node, size) = (node.clone(), *size);
                node.line = line;
                self.complete(node, 0, size, true)?;
            }
            Event::SequenceStart(anchor, tag) => {
                collection_tag(tag.as_deref(), "seq", line)?;
                self.begin(Value::Sequence(Vec::new()), anchor, line)?;
            }
            Event::MappingStart(anchor, tag) => {
                collection_tag(tag.as_deref(), "map", line)?;
                self.begin(Value::Mapping(Mapping::default()), anchor, line)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(mut open) = self.open.pop() {
                    if let Some(merge) = open.merge.take() {
                        open.node = merged(open.node, merge)?;
                    }
                    // Its parts are paid for already.
                    self.complete(open.node, open.anchor, open.size, false)?;
                }
            }
        }
        Ok(false)
    }

    /// Something comes, which must not be in a second document.
    fn only_one(&self) -> Result<(), YamlError> {
        match self.another {
            Some(line) => Err(YamlError::new(line, "a second document begins here: put each into a file of its own")),
            None => Ok(()),
        }
    }

    fn begin(&mut self, value: Value, anchor: usize, line: u32) -> Result<(), YamlError> {
        self.only_one()?;
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(line));
        }
        if let Some(Open { node: Node { value: Value::Mapping(_), .. }, key: None, .. }) = self.open.last() {
            return Err(YamlError::new(line, "a key must be a text, not a list or a mapping"));
        }
        self.pay(Size { nodes: 1, ..Size::default() }, line)?;
        let size = Size { nodes: 1, ..Size::default() };
        let node = Node { value, line };
        self.open.push(Open { node, anchor, key: None, merge: None, index: HashSet::new(), size });
        Ok(())
    }

    fn pay(&mut self, size: Size, line: u32) -> Result<(), YamlError> {
        self.spent.nodes += size.nodes;
        self.spent.text += size.text;
        if self.spent.nodes > MAX_NODES || self.spent.text > MAX_TEXT {
            let problem = format!(
                "too large: up to here it has more than {MAX_NODES} values or {MAX_TEXT} bytes, aliases expanded"
            );
            return Err(YamlError::new(line, problem));
        }
        Ok(())
    }

    /// A value is complete: it goes to where it belongs.
    fn complete(&mut self, node: Node, anchor: usize, size: Size, pay: bool) -> Result<(), YamlError> {
        let line = node.line;
        self.only_one()?;
        if pay {
            self.pay(size, line)?;
        }
        if self.open.len() + size.height > MAX_DEPTH {
            return Err(too_deep(line));
        }
        if anchor != 0 {
            self.pay(size, line)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        parent.size.contain(size);
        match &mut parent.node.value {
            Value::Scalar(_) => {}
            Value::Sequence(items) => items.push(node),
            Value::Mapping(mapping) => match parent.key.take() {
                None => parent.key = Some(key(node)?),
                Some((key, _)) if key.is_plain() && key.as_str() == "<<" => {
                    if parent.merge.replace(node).is_some() {
                        return Err(YamlError::new(
                            line,
                            "the key '<<' is there twice: merge a list of mappings instead",
                        ));
                    }
                }
                Some((key, line)) => {
                    if mapping.len() == FEW {
                        parent.index = mapping.keys().map(str::to_owned).collect();
                    }
                    let twice = if mapping.len() < FEW {
                        mapping.get(key.as_str()).is_some()
                    } else {
                        !parent.index.insert(key.as_str().to_owned())
                    };
                    if twice {
                        let first = mapping.entry(key.as_str()).map_or(0, |entry| entry.line);
                        let problem = format!("the key '{}' is there already, in line {first}", shown(key.as_str()));
                        return Err(YamlError::new(line, problem));
                    }
                    mapping.push_unchecked(Entry { key, line, value: node });
                }
            },
        }
        Ok(())
    }
}

fn too_deep(line: u32) -> YamlError {
    YamlError::new(line, format!("nested too deeply: more than {MAX_DEPTH} levels, aliases expanded"))
}

fn key(node: Node) -> Result<(Scalar, u32), YamlError> {
    match node.value {
        // As JSON's writers have it.
        Value::Scalar(scalar) if scalar.is_plain() && scalar.as_str().is_empty() => {
            Ok((Scalar::plain("null"), node.line))
        }
        Value::Scalar(scalar) if scalar.as_str().len() <= MAX_KEY => Ok((scalar, node.line)),
        Value::Scalar(scalar) => {
            let problem = format!("this key has {} bytes; at most {MAX_KEY} are read", scalar.as_str().len());
            Err(YamlError::new(node.line, problem))
        }
        _ => Err(YamlError::new(node.line, "a key must be a text, not a list or a mapping")),
    }
}

/// What `<<` brings comes first, and in a list of mappings the first that has a key wins; what the mapping says itself
/// beats them all.
fn merged(own: Node, merge: Node) -> Result<Node, YamlError> {
    let (own_line, line) = (own.line, merge.line);
    let mut sources = match merge.value {
        Value::Sequence(items) => items,
        _ => vec![merge],
    };
    let last = sources.len();
    sources.push(own);
    let mut all = Mapping::default();
    let mut index: HashMap<String, usize> = HashMap::new();
    for (number, source) in sources.into_iter().enumerate() {
        let Value::Mapping(mapping) = source.value else {
            return Err(YamlError::new(line, format!("'<<' merges mappings, and this is {}", source.what())));
        };
        for entry in mapping.into_entries() {
            match index.get(entry.key.as_str()) {
                Some(place) if number == last => all.replace_at(*place, entry),
                Some(_) => {}
                None => {
                    index.insert(entry.key.as_str().to_owned(), all.len());
                    all.push_unchecked(entry);
                }
            }
        }
    }
    Ok(Node { value: Value::Mapping(all), line: own_line })
}

/// Whether a scalar's meaning is a matter of reading. `!!str` makes a text of anything, the other tags of the core
/// schema say what a plain scalar is anyhow.
fn scalar_is_plain(text: &str, style: ScalarStyle, tag: Option<&Tag>, line: u32) -> Result<bool, YamlError> {
    let plain = style == ScalarStyle::Plain;
    let Some(tag) = tag else { return Ok(plain) };
    if tag.is_yaml_core_schema() && matches!(tag.suffix.as_str(), "int" | "float" | "bool" | "null") {
        let kind = Scalar::plain(text).kind();
        let fits = match tag.suffix.as_str() {
            "int" => kind == Kind::Int,
            "float" => kind == Kind::Float,
            "bool" => matches!(kind, Kind::Bool(_)),
            _ => kind == Kind::Null,
        };
        let problem = || format!("'{}' is not what its tag !!{} says", shown(text), tag.suffix);
        return if fits { Ok(true) } else { Err(YamlError::new(line, problem())) };
    }
    if (tag.is_yaml_core_schema() && tag.suffix == "str") || (tag.handle.is_empty() && tag.suffix == "!") {
        return Ok(false);
    }
    Err(unknown_tag(tag, line))
}

fn collection_tag(tag: Option<&Tag>, expected: &str, line: u32) -> Result<(), YamlError> {
    match tag {
        Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == expected) => Err(unknown_tag(tag, line)),
        _ => Ok(()),
    }
}

fn unknown_tag(tag: &Tag, line: u32) -> YamlError {
    let name = if tag.is_yaml_core_schema() { format!("!!{}", tag.suffix) } else { tag.to_string() };
    YamlError::new(line, format!("the tag '{}' means nothing here: remove it", shown(&name)))
}

/// A text for a message: escaped, and not longer than a message bears.
fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    let short: String = text.chars().take(LONGEST).collect();
    let dots = if short.len() < text.len() { "…" } else { "" };
    format!("{}{dots}", short.escape_debug())
}
