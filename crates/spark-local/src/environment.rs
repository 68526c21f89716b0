//! The environment variables and arguments of a job's process, and `$(NAME)` as Kubernetes expands it.

use std::{collections::BTreeMap, env, path::Path};

use mlplatform_runner::{
    plan::{Object, Plan, Variable},
    values::{Value, Values},
};

use crate::mounts::VARIABLE;

/// What of the platform's own environment a job sees: where programs are, language, time zone, the way to the internet.
/// (Proxies apart: their addresses may hold a password.)
const INHERITED: [&str; 9] =
    ["PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "NO_PROXY", "no_proxy", "SSL_CERT_FILE"];

/// The longest argument, and the longest variable with its name, with the NUL at its end: Linux's `MAX_ARG_STRLEN`.
pub(crate) const LONGEST: usize = 128 * 1024;
/// All of them together: Linux takes a quarter of the stack's limit, 2 MiB unless it was changed; a part is Spark's.
const LARGEST: usize = 3 * 512 * 1024;

type Variables = BTreeMap<String, String>;

/// The variables and arguments that a manifest gives to a job's process.
pub(crate) struct Resolved {
    /// The executors' variables, then the driver's: what runs is first of all a driver.
    pub(crate) variables: Variables,
    pub(crate) arguments: Vec<String>,
}

/// What jobs, and programs that are asked for them, see of the platform's own environment.
pub(crate) fn inherited() -> impl Iterator<Item = (&'static str, String)> {
    INHERITED.iter().filter_map(|name| Some((*name, env::var(name).ok()?)))
}

/// The variables and arguments of a plan; the text says which one cannot be given.
pub(crate) fn resolve(plan: &Plan, mounts: &Path, values: &Values) -> Result<Resolved, String> {
    let mut variables = of_pod(&plan.executor.environment, mounts, values)?;
    let driver = of_pod(&plan.driver.environment, mounts, values)?;
    let mut arguments = Vec::with_capacity(plan.arguments.len());
    for (index, argument) in plan.arguments.iter().enumerate() {
        let argument = expand(argument, &driver).filter(|argument| argument.len() < LONGEST).ok_or_else(|| {
            format!(
                "spec.arguments[{index}]: it has more than {} bytes, the most that Linux takes: put it into a file of the \
                 cluster's bucket, and give the file's address",
                LONGEST - 1
            )
        })?;
        if argument.contains('\0') {
            return Err(format!("spec.arguments[{index}]: it has a NUL in it, which ends an argument: remove it"));
        }
        arguments.push(argument);
    }
    variables.extend(driver);
    if !plan.driver.mounts.is_empty() || !plan.executor.mounts.is_empty() {
        variables.insert(VARIABLE.to_owned(), mounts.display().to_string());
    }
    let size = |texts: &mut dyn Iterator<Item = usize>| texts.map(|size| size + size_of::<usize>() + 2).sum::<usize>();
    let all = size(&mut variables.iter().map(|(name, value)| name.len() + value.len()))
        + size(&mut arguments.iter().map(String::len));
    if all > LARGEST {
        return Err(format!(
            "the job's arguments and variables have {all} bytes together, and {LARGEST} can be given to a process: mount \
             large values as files, or put them into the cluster's bucket"
        ));
    }
    Ok(Resolved { variables, arguments })
}

fn of_pod(all: &[Variable], mounts: &Path, values: &Values) -> Result<Variables, String> {
    let find = |object: &Object| match values.get(object) {
        None if !object.optional => Err(object.missing()),
        data => Ok(data.cloned().unwrap_or_default()),
    };
    let mut found = Variables::new();
    for variable in all {
        let (name, value) = match variable {
            Variable::All { prefix, object } => {
                for (key, value) in find(object)? {
                    // No system takes them, and one bad key of a config map must not hide the others.
                    if let Some(value) = text(value) {
                        add(&mut found, format!("{prefix}{key}"), Some(value))?;
                    }
                }
                continue;
            }
            Variable::NeedsContainer { problem, .. } => return Err(problem.clone()),
            Variable::Plain { name, value } => (name, expand(value, &found)),
            Variable::Literal { name, value } => (name, Some(value.clone())),
            Variable::Mounted { name, path } => (name, Some(format!("{}{path}", mounts.display()))),
            Variable::Key { name, object, key } => match find(object)?.remove(key) {
                Some(value) => {
                    let value = text(value).ok_or_else(|| {
                        let (kind, object) = (object.kind.name(), &object.name);
                        format!("the key '{key}' of the {kind} '{object}' is no text, and '{name}' needs one: mount it")
                    })?;
                    (name, Some(value))
                }
                None if object.optional => continue,
                None => return Err(format!("the {} '{}' has no key '{key}'", object.kind.name(), object.name)),
            },
        };
        add(&mut found, name.clone(), value)?;
    }
    Ok(found)
}

/// What a variable can hold: as in Kubernetes, not what stands under `binaryData`.
fn text(value: Value) -> Option<String> {
    String::from_utf8(value.bytes).ok().filter(|_| !value.is_binary)
}

/// Adds a variable; what no system takes is left out. `None`: it became too long.
fn add(found: &mut Variables, name: String, value: Option<String>) -> Result<(), String> {
    let Some(value) = value.filter(|value| name.len() + value.len() + 2 <= LONGEST) else {
        let name: String = name.chars().take(100).collect();
        return Err(format!(
            "the variable '{name}' has more than {} bytes with its name, the most that Linux takes: mount it as a file, or \
             put it into the cluster's bucket",
            LONGEST - 2
        ));
    };
    if !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0') {
        found.insert(name, value);
    }
    Ok(())
}

/// `$(NAME)` becomes the variable's value, `$$` a dollar; a name that is not there stays as it is. `None`: longer than any
/// text that can be given, whatever is left of it.
fn expand(text: &str, variables: &Variables) -> Option<String> {
    let mut out = String::with_capacity(text.len().min(LONGEST));
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            after
        } else if let Some((name, behind)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match variables.get(name) {
                Some(value) => out.push_str(value),
                None => out.extend(["$(", name, ")"]),
            }
            behind
        } else {
            out.push('$');
            after
        };
        if out.len() > LONGEST {
            return None;
        }
    }
    out.push_str(rest);
    (out.len() <= LONGEST).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expansion_as_kubernetes_does_it() {
        let variables = Variables::from([("A", "1"), ("B.c", "$(A)")].map(|(k, v)| (k.to_owned(), v.to_owned())));
        for (text, expanded) in [
            ("$(A)", "1"),
            ("x$(A)$(A)y", "x11y"),
            ("$(B.c)", "$(A)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$$$$(A)", "$$(A)"),
            ("$(NONE)", "$(NONE)"),
            ("$(A", "$(A"),
            ("$(", "$("),
            ("$()", "$()"),
            ("$", "$"),
            ("$$", "$"),
            ("a$A ${A} $ (A)", "a$A ${A} $ (A)"),
            ("$(two); *", "$(two); *"),
            ("ключ $(A)", "ключ 1"),
        ] {
            assert_eq!(expand(text, &variables).as_deref(), Some(expanded), "{text}");
        }
    }

    #[test]
    fn nothing_grows_beyond_what_can_be_given() {
        let mut variables = vec![Variable::Plain { name: "A0".to_owned(), value: "x".repeat(1000) }];
        for n in 1..60 {
            let value = format!("$(A{0})$(A{0})", n - 1);
            variables.push(Variable::Plain { name: format!("A{n}"), value });
        }
        let error = of_pod(&variables, Path::new("/m"), &Values::default()).unwrap_err();
        assert!(error.contains("the variable 'A8' has more than 131070 bytes"), "{error}");
    }
}
