//! What a recipe declares besides its actions: read again from its text when somebody asks.

use crate::config::{Block, Finding, Pipeline, PipelineErrors, StageDecl};
use crate::stage::{LANGUAGE, retiring};

use super::super::EngineError;
use super::Recipe;

impl Recipe {
    pub(super) fn decoded(&self) -> Result<Pipeline, EngineError> {
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
}
