//! Configs of other tools as pipelines. Each tool is one file here and one line in [`IMPORTERS`].
//!
//! What a config says is read through [`Reading`], which knows what has been asked for. All that nobody asked for stands in the
//! pipeline as a comment: nothing is dropped in silence.

mod axolotl;
mod draft;
mod dvc;
mod llama_factory;
mod openai_grader;
mod openai_job;
mod promptfoo;
mod reading;
mod training;

use serde_json::Value;

use crate::config::format;

use draft::Draft;
use reading::Reading;

/// How the configs of a tool are read.
struct Importer {
    /// What the config is, in words.
    name: &'static str,
    /// Whether this is one.
    fits: fn(&Value) -> bool,
    /// Writes what it says as a pipeline.
    write: fn(&Reading, &mut Draft),
}

const IMPORTERS: &[Importer] =
    &[openai_job::IMPORTER, openai_grader::EVAL, openai_grader::GRADER, promptfoo::IMPORTER, llama_factory::IMPORTER, axolotl::IMPORTER, dvc::IMPORTER];

/// A pipeline that was made of another tool's config.
#[derive(Debug)]
pub struct Imported {
    /// What it was made of.
    pub of: &'static str,
    /// Its text.
    pub pipeline: String,
    /// What of the config has no counterpart, and stands in comments.
    pub left: usize,
}

/// Makes a pipeline of a config. `name` is what it is called.
///
/// # Errors
/// What is wrong with the config, in words.
pub fn import(text: &str, name: &str) -> Result<Imported, String> {
    let config: Value = serde_saphyr::from_str(text).map_err(|error| format!("it is neither JSON nor YAML: {error}"))?;
    if !config.is_object() {
        return Err("it holds no settings by name".into());
    }
    let importer = IMPORTERS.iter().find(|importer| (importer.fits)(&config));
    let known = || IMPORTERS.iter().map(|importer| importer.name).collect::<Vec<_>>().join(", ");
    let importer = importer.ok_or_else(|| format!("it is none of these: {}", known()))?;
    let reading = Reading::of(config);
    let mut draft = Draft::new(name, importer.name);
    (importer.write)(&reading, &mut draft);
    let left = reading.left();
    draft.left(&left);
    let pipeline = format(&draft.done()).map_err(|errors| format!("what was made of it is no KDL: {errors:?}"))?;
    Ok(Imported { of: importer.name, pipeline, left: left.len() })
}
