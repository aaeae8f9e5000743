use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::config::{ConfigError, Finding, Overrides, PipelineErrors};
use crate::engine::{EngineError, Recipe, discover};

use super::problem::{Problem, print_finding};

/// Which pipeline is meant, and what the command line changes of it.
#[derive(Clone, Debug, Args)]
pub struct Changes {
    /// Take the values of this profile
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<String>,
    /// Set a parameter: NAME=VALUE
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Take warnings about the pipeline file for errors
    #[arg(long, value_enum, value_name = "WHAT")]
    deny: Vec<Deny>,
}

/// A word as a shell takes it for one.
pub fn quoted(text: &str) -> String {
    if text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=:@+,".contains(c)) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// What is taken for an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Deny {
    Warnings,
}

impl Changes {
    /// Takes the pipeline compiled, from the workspace or anew. What is worth a warning is said by who plans, runs or checks it.
    pub fn load(&self, pipeline: Option<&PathBuf>) -> Result<Recipe, Problem> {
        let recipe = self.compiled(pipeline, Recipe::load)?;
        self.denied(recipe)
    }

    /// The same, and prints what is worth a warning.
    pub fn load_aloud(&self, pipeline: Option<&PathBuf>) -> Result<Recipe, Problem> {
        self.aloud(self.compiled(pipeline, Recipe::load)?)
    }

    /// Compiles the pipeline anew, looks for what retires soon, and prints what is worth a warning.
    pub fn check(&self, pipeline: Option<&PathBuf>) -> Result<Recipe, Problem> {
        self.aloud(self.compiled(pipeline, checked)?)
    }

    /// The words by which another command means the same pipeline in the same way: ` p.kdl --profile ci`, with a blank before each.
    pub fn again(&self, pipeline: Option<&Path>) -> String {
        let pipeline = pipeline.map(|path| format!(" {}", quoted(&path.display().to_string())));
        let profile = self.profile.iter().map(|profile| format!(" --profile {}", quoted(profile)));
        pipeline.into_iter().chain(profile).chain(self.set.iter().map(|set| format!(" --set {}", quoted(set)))).collect()
    }

    /// Whether warnings are errors.
    pub fn denies(&self) -> bool {
        self.deny.contains(&Deny::Warnings)
    }

    /// What is changed, as the pipeline takes it.
    pub fn overrides(&self) -> Overrides {
        Overrides { profile: self.profile.clone(), set: self.set.clone() }
    }

    fn compiled(&self, pipeline: Option<&PathBuf>, by: impl Fn(&Path, &Overrides) -> Result<Recipe, PipelineErrors>) -> Result<Recipe, Problem> {
        let path = discover(pipeline.map(PathBuf::as_path))?;
        Ok(by(&path, &self.overrides())?)
    }

    fn aloud(&self, recipe: Recipe) -> Result<Recipe, Problem> {
        let recipe = self.denied(recipe)?;
        for warning in &recipe.warnings {
            print_finding(warning, &recipe.file);
        }
        Ok(recipe)
    }

    fn denied(&self, recipe: Recipe) -> Result<Recipe, Problem> {
        if self.denies() && !recipe.warnings.is_empty() {
            return Err(PipelineErrors::of(&recipe.file, recipe.warnings).into());
        }
        Ok(recipe)
    }
}

/// A pipeline compiled anew, with all that is worth a warning.
pub fn checked(path: &Path, overrides: &Overrides) -> Result<Recipe, PipelineErrors> {
    let mut recipe = Recipe::check(path, overrides)?;
    // It was right a moment ago; who changes it meanwhile hears of it the next time.
    recipe.warnings.extend(recipe.retiring().unwrap_or_default());
    recipe.warnings.sort_by_key(Finding::place);
    Ok(recipe)
}

/// Words of the command line that name stages, and perhaps the pipeline among them.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// The pipeline, where one is named.
    pub pipeline: Option<PathBuf>,
    /// The stages.
    pub stages: Vec<String>,
}

impl Target {
    /// Sorts words: one that ends in `.kdl` is the pipeline, all others are stages.
    pub fn of(words: &[String]) -> Result<Self, Problem> {
        let mut target = Self::default();
        for word in words {
            if !word.ends_with(".kdl") {
                target.stages.push(word.clone());
            } else if let Some(first) = target.pipeline.replace(PathBuf::from(word)) {
                let both = format!("{} and {word}", first.display());
                return Err(EngineError::Usage(ConfigError::NoPipeline { found: format!("two are named: {both}"), help: "name one pipeline".into() }).into());
            }
        }
        Ok(target)
    }

    /// The only stage that is named.
    pub fn stage(&self) -> Result<&str, Problem> {
        match self.stages.as_slice() {
            [only] => Ok(only),
            several => Err(EngineError::Usage(ConfigError::UnknownStage {
                name: several.join(" "),
                help: "name one stage, and the pipeline's file where there are several".into(),
            })
            .into()),
        }
    }
}
