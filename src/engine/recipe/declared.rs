//! What a recipe declares besides its actions: read again from its text when somebody asks.

use crate::config::{Block, Finding, Pipeline, PipelineErrors, StageDecl};
use crate::provider::{Api, declared};
use crate::stage::{LANGUAGE, StageError, retiring};

use super::super::EngineError;
use super::Recipe;

/// A server that a recipe names.
#[derive(Debug)]
pub struct HostedProvider {
    /// Its name.
    pub name: String,
    /// Its address.
    pub base_url: String,
    /// Where its key is.
    pub key: String,
    /// Whether the key can be had, as far as that shows.
    pub has_key: bool,
}

impl Recipe {
    fn decoded(&self) -> Result<Pipeline, EngineError> {
        let (file, pipeline, errors) = Pipeline::decode(self.file.own(), LANGUAGE, &self.overrides);
        pipeline.filter(|_| errors.is_empty()).ok_or_else(|| PipelineErrors::new(&file, &errors).into())
    }

    /// What it counts on that soon goes away, as far as that is known here.
    ///
    /// # Errors
    /// As [`Recipe::providers`].
    pub fn retiring(&self) -> Result<Vec<Finding>, EngineError> {
        let pipeline = self.decoded()?;
        let told = pipeline.root.join(".retune").join("providers");
        Ok(PipelineErrors::new(&self.file, &retiring(&pipeline, &told)).found)
    }

    /// The declared providers.
    ///
    /// # Errors
    /// When the file has changed into something else meanwhile.
    pub fn providers(&self) -> Result<Vec<Block>, EngineError> {
        Ok(self.decoded()?.providers)
    }

    /// The train stages.
    ///
    /// # Errors
    /// As [`Recipe::providers`].
    pub fn train_stages(&self) -> Result<Vec<StageDecl>, EngineError> {
        Ok(self.decoded()?.stages.into_iter().filter(|stage| stage.kind == "train").collect())
    }

    /// The deploy stages.
    ///
    /// # Errors
    /// As [`Recipe::providers`].
    pub fn deploy_stages(&self) -> Result<Vec<StageDecl>, EngineError> {
        Ok(self.decoded()?.stages.into_iter().filter(|stage| stage.kind == "deploy").collect())
    }

    /// The servers that stages name, declared or built in.
    ///
    /// # Errors
    /// As [`Recipe::providers`].
    pub fn hosted(&self) -> Result<Vec<HostedProvider>, EngineError> {
        let pipeline = self.decoded()?;
        let named = pipeline.stages.iter().filter_map(|stage| stage.block.child_text("provider")).collect::<std::collections::BTreeSet<&str>>();
        let mut hosted = Vec::new();
        for name in named {
            let wrong = |error: crate::config::ConfigError| StageError::Unreadable { what: "a provider", problem: error.to_string() };
            let Some(declared) = declared(name, &pipeline.providers).map_err(wrong)? else {
                continue;
            };
            if let Api::Hosted(endpoint) = &declared.api {
                let key = declared.key.to_string();
                hosted.push(HostedProvider { name: name.to_owned(), base_url: endpoint.base_url.clone(), has_key: declared.key.is_set(), key });
            }
        }
        Ok(hosted)
    }
}
