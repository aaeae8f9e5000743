use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::{ConfigError, Overrides, PipelineErrors};
use crate::engine::{EngineError, Recipe, discover};

use super::problem::{Problem, print_diagnostic};

/// Which pipeline is meant, and what the command line changes of it.
#[derive(Clone, Debug, Args)]
pub struct Changes {
    /// Take the values of this profile
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<String>,
    /// Set a parameter: NAME=VALUE
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
}

impl Changes {
    /// Takes the pipeline compiled, from the workspace or anew, and prints what is worth a warning.
    pub fn load(&self, pipeline: Option<&PathBuf>) -> Result<Recipe, Problem> {
        self.compiled(pipeline, Recipe::load)
    }

    /// Compiles the pipeline anew, and prints what is worth a warning.
    pub fn check(&self, pipeline: Option<&PathBuf>) -> Result<Recipe, Problem> {
        self.compiled(pipeline, Recipe::check)
    }

    fn compiled(&self, pipeline: Option<&PathBuf>, by: impl Fn(&Path, &Overrides) -> Result<Recipe, PipelineErrors>) -> Result<Recipe, Problem> {
        let path = discover(pipeline.map(PathBuf::as_path))?;
        let overrides = Overrides { profile: self.profile.clone(), set: self.set.clone() };
        let recipe = by(&path, &overrides)?;
        for warning in &recipe.warnings {
            print_diagnostic(&Located { source: recipe.file.named_source(), warning });
        }
        Ok(recipe)
    }
}

/// A warning with the text that it points into.
#[derive(Debug)]
struct Located<'a> {
    source: miette::NamedSource<String>,
    warning: &'a ConfigError,
}

impl std::fmt::Display for Located<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.warning.fmt(f)
    }
}

impl std::error::Error for Located<'_> {}

impl miette::Diagnostic for Located<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.warning.code()
    }

    fn severity(&self) -> Option<miette::Severity> {
        self.warning.severity()
    }

    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.warning.help()
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = miette::LabeledSpan> + '_>> {
        self.warning.labels()
    }
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
