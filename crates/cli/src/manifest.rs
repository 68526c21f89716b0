//! `mlp manifest`: reads and validates manifests, without a platform.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use mlplatform_protocol::{manifest::Manifest, yaml::MAX_BYTES};

use crate::{
    args,
    context::Context,
    failure::{Code, Failure},
};

pub(crate) fn run(context: &Context, command: args::Manifest) -> Result<(), Failure> {
    let output = context.output;
    match command {
        args::Manifest::Default { name } => output.text("manifest", &default_for(name)?.to_yaml()),
        args::Manifest::Show { file } => {
            let manifest = read(&file)?;
            if output.is_json() {
                output.json(&to_json(&manifest))
            } else {
                output.text("manifest", &manifest.to_yaml())
            }
        }
        args::Manifest::Validate { file } => {
            check(&read(&file)?, context)?;
            output.say("the manifest is valid")
        }
    }
}

/// The default manifest.
pub(crate) fn default_for(name: Option<String>) -> Result<Manifest, Failure> {
    let name = match name {
        Some(name) => name,
        None => Manifest::new_job_name().map_err(|error| Failure::failed(error.to_string()))?,
    };
    Ok(Manifest::default_for(&name))
}

/// Reads a file; `-` is standard input.
pub(crate) fn read(path: &Path) -> Result<Manifest, Failure> {
    let mut bytes = Vec::new();
    let most = MAX_BYTES as u64 + 1;
    let read = if path.as_os_str() == "-" {
        io::stdin().lock().take(most).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes))
    };
    let shown = path.display();
    let missing = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Failure::new(Code::NotFound, format!("'{shown}': there is no such file")),
        _ => Failure::usage(format!("'{shown}': {error}")),
    };
    read.map_err(missing)?;
    Manifest::read_bytes(&bytes).map_err(|error| Failure::usage(format!("'{shown}': {error}")))
}

/// Validates a manifest; warns about fields that are probably misspelled.
pub(crate) fn check(manifest: &Manifest, context: &Context) -> Result<(), Failure> {
    let (harmless, bad): (Vec<_>, Vec<_>) = manifest.validate().into_iter().partition(|problem| problem.is_harmless);
    for problem in harmless {
        context.output.warn(&problem.to_string())?;
    }
    for slip in manifest.likely_typos() {
        let nearest = slip.nearest.map(|nearest| format!("; did you mean '{nearest}'?")).unwrap_or_default();
        context.output.warn(&format!("{}: the operator does not know this field{nearest}", slip.path))?;
    }
    if bad.is_empty() {
        return Ok(());
    }
    let all: Vec<String> = bad.iter().map(ToString::to_string).collect();
    Err(Failure::failed(format!("the operator would refuse the manifest:\n{}", all.join("\n"))))
}

/// The manifest as JSON, for a request.
pub(crate) fn to_json(manifest: &Manifest) -> serde_json::Value {
    let root = manifest.root().iter();
    serde_json::Value::Object(root.map(|entry| (entry.key.as_str().to_owned(), entry.value.to_json())).collect())
}
