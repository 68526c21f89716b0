//! Validation of a manifest against the operator's rules.

use super::{
    document::Manifest,
    model::{API_VERSION, KIND},
    problem::Problem,
    quantity::{self, Cpu, Memory, NotAQuantity},
    schema::{self, Field, Type},
};
use crate::yaml::{Kind, Mapping, Node, Scalar, Value};

/// The most problems that are told at once: whoever has more than that has one, and it is another.
const MOST: usize = 50;

/// The credentials are the operator's own.
const CREDENTIALS: &str = "remove it: the operator has credentials of its own";

/// Keys of `sparkConf` that admission refuses, with what to do instead.
pub(super) const REFUSED: [(&str, &str); 13] = [
    ("spark.master", "remove it: the operator says where the job runs"),
    ("spark.kubernetes.driver.master", "remove it: the operator says where the job runs"),
    ("spark.kubernetes.container.image", "set spec.image"),
    ("spark.kubernetes.driver.container.image", "set spec.driver.image"),
    ("spark.kubernetes.executor.container.image", "set spec.executor.image"),
    ("spark.kubernetes.authenticate.driver.serviceAccountName", "set spec.driver.serviceAccount"),
    ("spark.kubernetes.authenticate.executor.serviceAccountName", "set spec.executor.serviceAccount"),
    ("spark.kubernetes.authenticate.oauthToken", CREDENTIALS),
    ("spark.kubernetes.authenticate.oauthTokenFile", CREDENTIALS),
    ("spark.kubernetes.authenticate.driver.oauthToken", CREDENTIALS),
    ("spark.kubernetes.authenticate.driver.oauthTokenFile", CREDENTIALS),
    ("spark.kubernetes.authenticate.executor.oauthToken", CREDENTIALS),
    ("spark.kubernetes.authenticate.executor.oauthTokenFile", CREDENTIALS),
];

impl Manifest {
    /// Every rule that the manifest breaks; none, or only [harmless](Problem::is_harmless) ones: the operator takes it.
    #[must_use]
    pub fn validate(&self) -> Vec<Problem> {
        let mut check = Check { manifest: self, problems: Vec::new() };
        check.fields("", self.root(), schema::ROOT, 0);
        check.cross_field_rules();
        check.problems.truncate(MOST);
        check.problems
    }

    /// Keys in places where all are known that look like a slip: the operator would ignore them without a word.
    #[must_use]
    pub fn likely_typos(&self) -> Vec<super::UnknownKey> {
        let mut slips = Vec::new();
        find_typos("", self.root(), schema::ROOT, &mut slips);
        slips
    }
}

fn find_typos(prefix: &str, mapping: &Mapping, known: &'static [&'static [Field]], slips: &mut Vec<super::UnknownKey>) {
    for entry in mapping {
        let key = entry.key.as_str();
        let path = join(prefix, key);
        match (known.iter().flat_map(|fields| fields.iter()).find(|field| field.name == key), entry.value.as_mapping())
        {
            (Some(Field { ty: Type::Fields(inner), .. }), Some(value)) => find_typos(&path, value, inner, slips),
            (Some(_), _) => {}
            (None, _) => {
                if let Some(nearest) = schema::nearest(key, known).filter(|nearest| mapping.get(nearest).is_none()) {
                    slips.push(super::UnknownKey { path, nearest: Some(nearest) });
                }
            }
        }
    }
}

fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}

pub(super) struct Check<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) problems: Vec<Problem>,
}

impl Check<'_> {
    pub(super) fn say(
        &mut self,
        path: &str,
        line: u32,
        found: impl Into<String>,
        rule: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let (path, found) = (path.to_owned(), found.into());
        let (rule, remedy) = (rule.into(), remedy.into());
        self.problems.push(Problem { path, line, found, rule, remedy, is_harmless: false });
    }

    /// The operator takes it all the same.
    pub(super) fn warn(&mut self, path: &str, node: &Node, rule: String, remedy: String) {
        let (path, line, found) = (path.to_owned(), node.line, found(node));
        self.problems.push(Problem { path, line, found, rule, remedy, is_harmless: true });
    }

    fn fields(&mut self, prefix: &str, mapping: &Mapping, known: &'static [&'static [Field]], line: u32) {
        for field in known.iter().flat_map(|fields| fields.iter()) {
            let path = join(prefix, field.name);
            match mapping.get(field.name).filter(|value| !value.is_null()) {
                Some(value) => self.value(&path, value, &field.ty),
                None if field.required => {
                    let (rule, remedy) = required(&path, field);
                    self.say(&path, line, "", rule, remedy);
                }
                None => {}
            }
        }
    }

    fn value(&mut self, path: &str, node: &Node, ty: &Type) {
        match ty {
            Type::Fields(known) => match node.as_mapping() {
                Some(mapping) => self.fields(path, mapping, known, node.line),
                None => self.shape(path, node, "it must be a mapping", "write its fields below it, indented"),
            },
            Type::ListOf(known) => self.each(path, node, |check, path, item| match item.as_mapping() {
                Some(mapping) => check.fields(path, mapping, known, item.line),
                None => check.shape(path, item, "it must be a mapping", "write its fields below the dash"),
            }),
            Type::MapOf(known) => match node.as_mapping() {
                Some(mapping) => {
                    for entry in mapping.iter().filter(|entry| !entry.value.is_null()) {
                        let path = format!("{path}[\"{}\"]", shorten(entry.key.as_str()));
                        self.value(&path, &entry.value, &Type::Fields(known));
                    }
                }
                None => self.shape(path, node, "it must be a mapping", "write its keys below it, indented"),
            },
            Type::Texts => self.each(path, node, |check, path, item| {
                check.text(path, item);
            }),
            Type::Coordinates(parts) => {
                self.each(path, node, |check, path, item| check.coordinates(path, item, *parts))
            }
            Type::Env => self.each(path, node, Self::variable),
            Type::EnvFrom => self.each(path, node, Self::source),
            Type::List => self.each(path, node, |check, path, item| {
                if item.as_mapping().is_none() {
                    check.shape(path, item, "it must be a mapping", "write its fields below the dash");
                }
            }),
            Type::Map if node.as_mapping().is_none() => {
                self.shape(path, node, "it must be a mapping", "write its fields below it, indented");
            }
            Type::Map => {}
            Type::TextMap | Type::Labels | Type::SparkConf => self.text_map(path, node, ty),
            _ => self.scalar(path, node, ty),
        }
    }

    fn shape(&mut self, path: &str, node: &Node, rule: &str, remedy: &str) {
        self.say(path, node.line, found(node), rule, remedy);
    }

    fn each(&mut self, path: &str, node: &Node, mut item: impl FnMut(&mut Self, &str, &Node)) {
        let Some(items) = node.as_sequence() else {
            return self.shape(path, node, "it must be a list", "write each item after a dash");
        };
        for (index, value) in items.iter().enumerate() {
            if self.problems.len() > MOST {
                return;
            }
            item(self, &format!("{path}[{index}]"), value);
        }
    }

    /// The text that must stand there; the empty one is a text.
    fn text<'n>(&mut self, path: &str, node: &'n Node) -> Option<&'n str> {
        let text = node.as_str();
        if text.is_none() {
            let remedy = match node.as_scalar() {
                Some(scalar) => format!("put it in quotes: \"{}\"", shorten(scalar.as_str())),
                None => "write a text".to_owned(),
            };
            self.say(path, node.line, found(node), "it must be a text", remedy);
        }
        text
    }

    fn filled<'n>(&mut self, path: &str, node: &'n Node) -> Option<&'n str> {
        let text = self.text(path, node)?;
        if text.is_empty() {
            self.say(path, node.line, "an empty text", "it must not be empty", "write it, or remove the key");
            return None;
        }
        Some(text)
    }

    fn scalar(&mut self, path: &str, node: &Node, ty: &Type) {
        match ty {
            Type::Int(least, most) => self.int(path, node, *least, *most),
            Type::Bool => self.bool(path, node),
            Type::Memory(least) => self.memory(path, node, *least),
            Type::Text => drop(self.text(path, node)),
            _ => {
                let Some(text) = self.filled(path, node) else { return };
                match ty {
                    Type::OneOf(names) => self.one_of(path, node, text, names),
                    Type::Cpu => self.cpu(path, node, text),
                    Type::MemoryLimit => self.memory_limit(path, node, text),
                    Type::Factor => self.factor(path, node, text),
                    Type::Name1035 => self.name(path, node, text, true),
                    Type::Name1123 => self.name(path, node, text, false),
                    Type::PodName if !text.contains(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()) => {
                        self.say(path, node.line, found(node), "it must have one of a-z and 0-9", "choose another");
                    }
                    _ => {}
                }
            }
        }
    }

    fn factor(&mut self, path: &str, node: &Node, text: &str) {
        if !text.parse::<f64>().is_ok_and(|factor| factor > 0.0 && factor.is_finite()) {
            let rule = "it must be a positive number, written as a text";
            self.say(path, node.line, found(node), rule, "write \"0.1\", for example");
        }
    }

    fn int(&mut self, path: &str, node: &Node, least: i64, most: i64) {
        let fits = |number: i128| number >= i128::from(least) && number <= i128::from(most);
        if node.as_scalar().and_then(Scalar::as_i128).is_some_and(fits) {
            return;
        }
        let plain = node.as_str().and_then(|text| text.parse::<i64>().ok()).filter(|number| fits(i128::from(*number)));
        let remedy = plain.map_or_else(
            || format!("write {}, for example", least.max(1)),
            |number| format!("write {number}, without quotes"),
        );
        let rule = match (least, most) {
            (i64::MIN, _) => "it must be a whole number of 64 bits".to_owned(),
            _ if least == i64::from(i32::MIN) => "it must be a whole number of 32 bits".to_owned(),
            _ if most >= i64::from(i32::MAX) => format!("it must be a whole number, at least {least}"),
            _ => format!("it must be a whole number from {least} to {most}"),
        };
        self.say(path, node.line, found(node), rule, remedy);
    }

    fn bool(&mut self, path: &str, node: &Node) {
        if matches!(node.as_scalar().map(Scalar::kind), Some(Kind::Bool(_))) {
            return;
        }
        let remedy = match node.as_str().map(str::to_ascii_lowercase).as_deref() {
            Some("yes" | "on" | "y" | "true") => "write true, without quotes: YAML's versions differ about other words",
            Some("no" | "off" | "n" | "false") => {
                "write false, without quotes: YAML's versions differ about other words"
            }
            _ => "write true or false",
        };
        self.say(path, node.line, found(node), "it must be true or false", remedy);
    }

    fn memory(&mut self, path: &str, node: &Node, least: u64) {
        const RULE: &str = "it must be a whole number with one of the letters k, m, g, t (times 1024)";
        if let Some(number) = node.as_scalar().filter(|scalar| scalar.kind() == Kind::Int) {
            let remedy = format!("say which unit, and write it as a text: \"{}m\" for MiB", shorten(number.as_str()));
            return self.say(path, node.line, found(node), RULE, remedy);
        }
        let Some(text) = self.filled(path, node) else { return };
        let suggestion = match text.parse::<Memory>() {
            Ok(memory) if memory.bytes >= least => return,
            Ok(_) => None,
            Err(NotAQuantity { suggestion }) => suggestion,
        };
        let remedy =
            suggestion.map_or_else(|| "write 512m or 2g, for example".to_owned(), |right| format!("write {right}"));
        self.say(path, node.line, found(node), RULE, remedy);
    }

    fn memory_limit(&mut self, path: &str, node: &Node, text: &str) {
        if !quantity::is_kubernetes_memory(text) && !text.parse::<Memory>().is_ok_and(|memory| memory.bytes > 0) {
            let rule = "it must be an amount of memory";
            self.say(path, node.line, found(node), rule, "write 2g or 2Gi, for example");
        }
    }

    fn cpu(&mut self, path: &str, node: &Node, text: &str) {
        if text.parse::<Cpu>().is_err() {
            let rule = "it must be an amount of CPU: cores, such as \"2\" or \"0.5\", or thousandths with an m";
            self.say(path, node.line, found(node), rule, "write 1200m for 1.2 cores, for example");
        }
    }

    fn one_of(&mut self, path: &str, node: &Node, text: &str, names: &[&str]) {
        if names.contains(&text) {
            return;
        }
        let rule = match names {
            [only] => format!("it must be {only}"),
            _ => format!("it must be one of {}", names.join(", ")),
        };
        let alike = |name: &&&str| name.eq_ignore_ascii_case(&text.replace(['-', '_', ' '], ""));
        let remedy = match names.iter().find(alike).or(if names.len() == 1 { names.first() } else { None }) {
            Some(_) if text == "ScheduledSparkApplication" => {
                "take what stands under its spec.template for a manifest of its own".to_owned()
            }
            Some(name) => format!("write {name}"),
            None => "choose one of them".to_owned(),
        };
        self.say(path, node.line, found(node), rule, remedy);
    }

    fn name(&mut self, path: &str, node: &Node, text: &str, letter_first: bool) {
        if is_name(text, letter_first) {
            return;
        }
        let rule = if letter_first {
            "it must have at most 63 of a-z, 0-9 and '-', begin with a letter and end with a letter or digit"
        } else {
            "it must have at most 63 of a-z, 0-9 and '-', and begin and end with a letter or digit"
        };
        let length = text.chars().count();
        let found = if length > 63 { format!("{} ({length} characters)", found(node)) } else { found(node) };
        let remedy = right_name(text, letter_first).map_or_else(
            || "choose another, such as spark-job-1".to_owned(),
            |name| format!("write {name}, for example"),
        );
        self.say(path, node.line, found, rule, remedy);
    }

    fn coordinates(&mut self, path: &str, node: &Node, parts: usize) {
        let Some(text) = self.filled(path, node) else { return };
        let split: Vec<&str> = text.split(':').collect();
        if split.len() != parts || split.iter().any(|part| part.is_empty() || part.contains(char::is_whitespace)) {
            let (rule, example) = if parts == 3 {
                ("it must be group:artifact:version", "write org.apache.spark:spark-avro_2.13:4.0.0, for example")
            } else {
                ("it must be group:artifact", "write org.slf4j:slf4j-api, for example")
            };
            self.say(path, node.line, found(node), rule, example);
        }
    }

    fn text_map(&mut self, path: &str, node: &Node, ty: &Type) {
        let Some(mapping) = node.as_mapping() else {
            return self.shape(path, node, "it must be a mapping of texts", "write its keys below it, indented");
        };
        for entry in mapping {
            if self.problems.len() > MOST {
                return;
            }
            let key = entry.key.as_str();
            let here = format!("{path}[\"{}\"]", shorten(key));
            if matches!(ty, Type::SparkConf)
                && let Some((_, instead)) = REFUSED.iter().find(|(refused, _)| *refused == key)
            {
                self.say(&here, entry.line, "this key", "the operator refuses it in sparkConf", *instead);
                continue;
            }
            if entry.value.is_null() {
                continue;
            }
            let text = self.text(&here, &entry.value);
            if matches!(ty, Type::Labels) && text.is_some_and(|text| !text.is_empty() && !is_label(text)) {
                let rule = "a label's value has at most 63 of letters, digits, '-', '_' and '.', a letter or digit first and last";
                self.say(&here, entry.value.line, found(&entry.value), rule, "shorten it, or make it an annotation");
            }
        }
    }

    /// A variable's value may be secret: no message shows it.
    fn variable(&mut self, path: &str, node: &Node) {
        const EXAMPLE: &str = "write - name: MODE and below it value: fast, for example";
        let Some(mapping) = node.as_mapping() else {
            return self.say(path, node.line, node.what(), "a variable is a mapping of name and value", EXAMPLE);
        };
        match mapping.get("name").and_then(Node::as_str) {
            None => self.say(path, node.line, "no name", "a variable needs a name, which is a text", EXAMPLE),
            Some(name) if !is_variable(name) => {
                let rule = "a variable's name has letters, digits, '_', '-' and '.', and does not begin with a digit";
                self.say(&format!("{path}.name"), node.line, format!("'{}'", shorten(name)), rule, "choose another");
            }
            Some(_) => {}
        }
        let value = mapping.get("value").filter(|value| !value.is_null());
        let from = mapping.get("valueFrom").filter(|from| !from.is_null());
        if value.is_some_and(|value| value.as_str() != Some("")) && from.is_some() {
            self.say(path, node.line, "both value and valueFrom", "a variable has one of them", "remove one");
        }
        if let Some(value) = value.filter(|value| value.as_str().is_none()) {
            let path = format!("{path}.value");
            self.say(&path, value.line, value.what(), "a variable's value must be a text", "put it in quotes");
        }
        if let Some(from) = from {
            self.value_from(&format!("{path}.valueFrom"), from);
        }
    }

    fn value_from(&mut self, path: &str, node: &Node) {
        const SOURCES: [(&str, &str); 4] = [
            ("secretKeyRef", "key"),
            ("configMapKeyRef", "key"),
            ("fieldRef", "fieldPath"),
            ("resourceFieldRef", "resource"),
        ];
        const EXAMPLE: &str = "write secretKeyRef: and below it name: my-secret and key: KEY, for example";
        let source = |name: &str| node.get(name).filter(|node| !node.is_null());
        let mut given = SOURCES.iter().filter_map(|(name, field)| Some((*name, *field, source(name)?)));
        let (Some((name, field, source)), None) = (given.next(), given.next()) else {
            let rule = "it names one source: secretKeyRef, configMapKeyRef, fieldRef or resourceFieldRef";
            return self.say(path, node.line, found(node), rule, EXAMPLE);
        };
        let needed = if name.ends_with("KeyRef") { ["name", field] } else { [field; 2] };
        if let Some(missing) =
            needed.iter().find(|key| source.get(key).and_then(Node::as_str).is_none_or(str::is_empty))
        {
            let path = format!("{path}.{name}.{missing}");
            self.say(&path, source.line, "", "it is required, and a text", EXAMPLE);
        }
    }

    fn source(&mut self, path: &str, node: &Node) {
        const EXAMPLE: &str = "write - secretRef: and below it name: my-secret, for example";
        let named = |key: &str| node.get(key).is_some_and(|node| !node.is_null());
        if named("secretRef") == named("configMapRef") {
            let what = if named("secretRef") {
                "both secretRef and configMapRef"
            } else {
                "neither secretRef nor configMapRef"
            };
            return self.say(path, node.line, what, "a source names one secret or one config map", EXAMPLE);
        }
        if let Some(prefix) = node.get("prefix").filter(|prefix| !prefix.is_null()) {
            self.text(&format!("{path}.prefix"), prefix);
        }
        let key = if named("secretRef") { "secretRef" } else { "configMapRef" };
        if node.at(&[key, "name"]).and_then(Node::as_str).is_none_or(str::is_empty) {
            self.say(&format!("{path}.{key}.name"), node.line, "", "the secret or config map has a name", EXAMPLE);
        }
    }
}

fn required(path: &str, field: &Field) -> (String, String) {
    let remedy = match path {
        "apiVersion" => format!("write apiVersion: {API_VERSION}"),
        "kind" => format!("write kind: {KIND}"),
        "metadata" | "metadata.name" => "give the job a name: metadata: {name: spark-job-1}".to_owned(),
        "spec.type" => "write type: Python, for example".to_owned(),
        "spec.sparkVersion" => format!("write sparkVersion: \"{}\", for example", super::SPARK_VERSION),
        "spec.mainApplicationFile" => {
            "pass the program's file as pycode_file_path, or name it: local:///opt/app/job.py or s3a://bucket/job.py"
                .to_owned()
        }
        "spec.driver" | "spec.executor" => "write its settings, such as cores: 1 and memory: 512m".to_owned(),
        _ => format!("add {}", field.name),
    };
    ("it is required".to_owned(), remedy)
}

/// What stands there, for a message.
pub(super) fn found(node: &Node) -> String {
    match &node.value {
        Value::Scalar(scalar) => match scalar.kind() {
            Kind::Str => format!("'{}'", shorten(scalar.as_str())),
            Kind::Null => "nothing".to_owned(),
            _ => format!("{} {}", node.what(), shorten(scalar.as_str())).replacen("a ", "the ", 1),
        },
        _ => node.what().to_owned(),
    }
}

pub(super) fn shorten(text: &str) -> String {
    const LONGEST: usize = 80;
    let short: String = text.chars().take(LONGEST).collect();
    let dots = if short.len() < text.len() { "…" } else { "" };
    format!("{}{dots}", short.escape_debug())
}

fn is_name(text: &str, letter_first: bool) -> bool {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let first =
        text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || (!letter_first && byte.is_ascii_digit()));
    first && text.len() <= 63 && text.bytes().all(good) && !text.ends_with('-')
}

/// The name that was probably meant.
fn right_name(text: &str, letter_first: bool) -> Option<String> {
    let replaced: String =
        text.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(63).collect();
    let name = replaced.trim_matches('-');
    let name = if letter_first { name.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-') } else { name };
    is_name(name, letter_first).then(|| name.to_owned())
}

fn is_label(text: &str) -> bool {
    let alphanumeric = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.len() <= 63
        && alphanumeric(text.bytes().next())
        && alphanumeric(text.bytes().last())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn is_variable(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    !text.is_empty() && text.bytes().all(good) && !text.starts_with(|c: char| c.is_ascii_digit())
}
