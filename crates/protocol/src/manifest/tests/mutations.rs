//! Every field of the table, one after the other: missing, null, empty, of another type, out of its range.

use super::*;
use crate::{
    manifest::schema::{self, Field, Type},
    yaml::{self, Value},
};

fn yaml(text: &str) -> Node {
    yaml::read(text).unwrap()
}

/// What fits, at every place at once.
fn sample(ty: &Type) -> Node {
    match ty {
        Type::Text => Node::text("4.0.0"),
        Type::Filled | Type::Name1035 | Type::Name1123 | Type::PodName => Node::text("a"),
        Type::OneOf(names) => Node::text(names[0]),
        Type::Int(least, _) => Node::int((*least).max(1)),
        Type::Bool => Node::bool(true),
        Type::Texts => yaml("[a]"),
        Type::Coordinates(2) => yaml("['a:b']"),
        Type::Coordinates(_) => yaml("['a:b:1']"),
        Type::TextMap | Type::Labels | Type::SparkConf => yaml("{a: b}"),
        Type::Memory(_) | Type::MemoryLimit => Node::text("1g"),
        Type::Cpu => Node::text("1"),
        Type::Factor => Node::text("0.1"),
        Type::Env => yaml("[{name: A, value: b}]"),
        Type::EnvFrom => yaml("[{secretRef: {name: a}}]"),
        Type::Map => Node::mapping(),
        Type::List => yaml("[{}]"),
        Type::Fields(known) => complete(known),
        Type::ListOf(known) => Node::sequence(vec![complete(known)]),
        Type::MapOf(known) => {
            let mut mapping = Mapping::default();
            mapping.set("k", complete(known));
            Node::made(Value::Mapping(mapping))
        }
    }
}

fn complete(known: &[&[Field]]) -> Node {
    let mut mapping = Mapping::default();
    for field in known.iter().flat_map(|fields| fields.iter()) {
        mapping.set(field.name, sample(&field.ty));
    }
    Node::made(Value::Mapping(mapping))
}

/// Values to put there, as YAML, and whether they fit.
fn values(ty: &Type) -> Vec<(String, bool)> {
    let fixed: &[(&str, bool)] = match ty {
        Type::Text => &[("''", true), ("1", false), ("true", false), ("[]", false), ("{}", false)],
        Type::Filled | Type::OneOf(_) | Type::PodName => {
            &[("''", false), ("1", false), ("true", false), ("[a]", false), ("{}", false)]
        }
        Type::Name1035 => &[("''", false), ("1", false), ("'1'", false), ("a_b", false), ("A", false), ("[a]", false)],
        Type::Name1123 => &[("''", false), ("1", false), ("'1'", true), ("a_b", false), ("A", false), ("[a]", false)],
        Type::Int(..) => {
            &[("'1'", false), ("''", false), ("1.5", false), ("true", false), ("[]", false), ("{}", false)]
        }
        Type::Bool => &[("false", true), ("'true'", false), ("yes", false), ("1", false), ("''", false), ("[]", false)],
        Type::Texts => &[("[]", true), ("['']", true), ("[1]", false), ("[~]", false), ("a", false), ("{}", false)],
        Type::Coordinates(_) => &[("[]", true), ("['']", false), ("[a]", false), ("[1]", false), ("a", false)],
        Type::TextMap | Type::Labels => {
            &[("{}", true), ("{a: ''}", true), ("{a: ~}", true), ("{a: 1}", false), ("{a: []}", false), ("[]", false)]
        }
        Type::SparkConf => {
            &[("{}", true), ("{a: ''}", true), ("{a: ~}", true), ("{a: 1}", false), ("{spark.master: x}", false)]
        }
        Type::Memory(0) => &[("0m", true), ("'0'", true), ("''", false), ("1.5g", false), ("1Gi", false), ("1", false)],
        Type::Memory(_) => {
            &[("0m", false), ("'1'", true), ("''", false), ("1.5g", false), ("1Gi", false), ("1", false)]
        }
        Type::MemoryLimit => &[("1Gi", true), ("500M", true), ("0m", false), ("''", false), ("x", false), ("1", false)],
        Type::Cpu => &[("1200m", true), ("'0.5'", true), ("'0'", false), ("''", false), ("1g", false), ("1", false)],
        Type::Factor => {
            &[("'0.4'", true), ("'0'", false), ("'-1'", false), ("''", false), ("x", false), ("0.4", false)]
        }
        Type::Env => &[
            ("[]", true),
            ("[{name: A}]", true),
            ("[{name: A, value: ''}]", true),
            ("[{value: b}]", false),
            ("[{name: '', value: b}]", false),
            ("[{name: A, value: 1}]", false),
            ("[{name: A, valueFrom: {}}]", false),
            ("[1]", false),
            ("{}", false),
        ],
        Type::EnvFrom => &[
            ("[]", true),
            ("[{configMapRef: {name: a}, prefix: ''}]", true),
            ("[{configMapRef: {name: ''}}]", false),
            ("[{secretRef: {name: a}, prefix: 1}]", false),
            ("[{}]", false),
            ("{}", false),
        ],
        Type::Map => &[("{a: [1]}", true), ("[]", false), ("a", false), ("1", false)],
        Type::List => &[("[]", true), ("[{}]", true), ("[1]", false), ("[~]", false), ("{}", false), ("a", false)],
        Type::Fields(_) => &[("[]", false), ("a", false), ("1", false)],
        Type::ListOf(_) => &[("[]", true), ("[1]", false), ("[~]", false), ("{}", false), ("a", false)],
        Type::MapOf(_) => &[("{}", true), ("{k: a}", false), ("[]", false), ("a", false)],
    };
    let mut all: Vec<(String, bool)> = fixed.iter().map(|(text, fits)| ((*text).to_owned(), *fits)).collect();
    match ty {
        Type::Int(least, most) => {
            let (least, most) = (i128::from(*least), i128::from(*most));
            all.extend(
                [(least, true), (most, true), (least - 1, false), (most + 1, false)]
                    .map(|(n, fits)| (n.to_string(), fits)),
            );
        }
        Type::OneOf(names) => {
            all.extend(names.iter().flat_map(|name| [(format!("'{name}'"), true), (format!("'{name}x'"), false)]));
        }
        Type::Fields(known) => all.push(("{}".to_owned(), !known.iter().flat_map(|f| f.iter()).any(|f| f.required))),
        _ => {}
    }
    all
}

enum Step {
    Key(&'static str),
    First,
}

fn parent<'a>(root: &'a mut Node, steps: &[Step]) -> &'a mut Mapping {
    let inner = steps.iter().fold(root, |node, step| match (&mut node.value, step) {
        (Value::Mapping(mapping), Step::Key(key)) => mapping.get_mut(key).unwrap(),
        (Value::Sequence(items), Step::First) => &mut items[0],
        _ => panic!("the sample has no such place"),
    });
    inner.as_mapping_mut().unwrap()
}

/// The problems at that place, and below, when the field has that value there; `None`: when it is missing.
fn problems(steps: &[Step], name: &str, value: Option<Node>, path: &str) -> Vec<String> {
    let mut root = whole();
    let section = parent(&mut root, steps);
    match value {
        Some(value) => section.set(name, value),
        None => drop(section.remove(name)),
    }
    let problems = Manifest::from_node(root).unwrap().validate();
    let below =
        |other: &str| other.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    problems.iter().filter(|problem| below(&problem.path)).map(Problem::to_string).collect()
}

/// All fields at once, but for those that exclude each other.
fn whole() -> Node {
    let mut root = complete(schema::ROOT);
    parent(&mut root, &[Step::Key("spec")]).remove("nodeSelector");
    for pod in ["driver", "executor"] {
        parent(&mut root, &[Step::Key("spec"), Step::Key(pod)]).set("coreLimit", Node::text("64"));
    }
    // Spark asks for more of these numbers where they count.
    parent(&mut root, &[Step::Key("spec"), Step::Key("dynamicAllocation")]).set("enabled", Node::bool(false));
    root
}

fn walk(prefix: &str, steps: &mut Vec<Step>, known: &'static [&'static [Field]], seen: &mut usize) {
    for field in known.iter().flat_map(|fields| fields.iter()) {
        let path = if prefix.is_empty() { field.name.to_owned() } else { format!("{prefix}.{}", field.name) };
        if path == "spec.nodeSelector" {
            continue;
        }
        *seen += 1;
        for absent in [None, Some(Node::null())] {
            let told = problems(steps, field.name, absent, &path);
            assert_eq!(!told.is_empty(), field.required, "{path} is missing: {told:?}");
        }
        for (text, fits) in values(&field.ty) {
            let told = problems(steps, field.name, Some(yaml(&text)), &path);
            assert_eq!(told.is_empty(), fits, "{path}: {text}: {told:?}");
        }
        let (step, inner, path): (&[Step], _, _) = match &field.ty {
            Type::Fields(inner) => (&[], inner, path),
            Type::ListOf(inner) => (&[Step::First], inner, format!("{path}[0]")),
            Type::MapOf(inner) => (&[Step::Key("k")], inner, format!("{path}[\"k\"]")),
            _ => continue,
        };
        let depth = steps.len();
        steps.push(Step::Key(field.name));
        steps.extend(step.iter().map(|step| match step {
            Step::Key(key) => Step::Key(key),
            Step::First => Step::First,
        }));
        walk(&path, steps, inner, seen);
        steps.truncate(depth);
    }
}

#[test]
fn every_field_of_the_table_is_held_to_it() {
    assert_eq!(Manifest::from_node(whole()).unwrap().validate(), []);
    assert_eq!(Manifest::from_node(whole()).unwrap().likely_typos(), []);
    let mut seen = 0;
    walk("", &mut Vec::new(), schema::ROOT, &mut seen);
    assert!(seen > 180, "{seen}");
}
