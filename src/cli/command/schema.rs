use std::path::PathBuf;

use clap::Args;

use crate::stage::LANGUAGE;

use super::super::exit::Exit;
use super::super::problem::Problem;
use super::super::schemas;
use super::super::speak::result;

#[derive(Debug, Args)]
pub struct Arguments {
    /// What to print: `pipeline.kdl`, the language in the KDL Schema Language; `completion`, the same for editors; or the name of a
    /// JSON that a command prints or the store keeps
    #[arg(default_value = PIPELINE)]
    name: String,
    /// List all names
    #[arg(long)]
    list: bool,
}

/// The schema of the language.
const PIPELINE: &str = "pipeline.kdl";
const COMPLETION: &str = "completion";

pub fn schema(arguments: &Arguments) -> Result<Exit, Problem> {
    let known = schemas::all();
    if arguments.list {
        let names = [PIPELINE, COMPLETION].into_iter().chain(known.iter().map(|(name, _)| *name));
        names.for_each(|name| result(format_args!("{name}\n")));
        return Ok(Exit::Done);
    }
    match arguments.name.as_str() {
        PIPELINE => result(format_args!("{}", LANGUAGE.kdl_schema())),
        COMPLETION => result(format_args!("{}", LANGUAGE.completion())),
        name => match known.iter().find(|(known, _)| *known == name) {
            Some((_, schema)) => result(format_args!("{schema}")),
            None => return Err(schemas::unknown(name, &known)),
        },
    }
    Ok(Exit::Done)
}

/// All files that are made from the tables and types, by their paths in the project: for `just generate`.
#[must_use]
pub fn generated() -> Vec<(PathBuf, String)> {
    let schemas = PathBuf::from("schemas");
    let mut files = vec![(schemas.join(PIPELINE), LANGUAGE.kdl_schema()), (schemas.join("completion.json"), LANGUAGE.completion())];
    files.extend(schemas::all().into_iter().map(|(name, schema)| (schemas.join(format!("{name}.schema.json")), schema)));
    files.extend(LANGUAGE.reference().into_iter().map(|(name, page)| (PathBuf::from("docs/reference").join(name), page)));
    files
}
