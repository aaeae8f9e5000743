//! Whether a model lasts long enough to be deployed.

use jiff::SignedDuration;

use crate::config::{Block, Kind, Setting, Slot, StageDecl};
use crate::provider::{Api, ModelCard, last_day, today, wire};

use super::super::{Compiler, Context, StageError, providers};

pub static SETTING: Setting = Setting::new("outlives", "How long the provider must keep the model yet: one that it shuts down before is not deployed.")
    .arguments(&[Slot::new("time", Kind::Duration, "A time such as `90d`; the provider is asked for its dates.")]);

/// How long a model must last, and who is asked about it.
#[derive(Debug)]
pub struct Outlives {
    time: SignedDuration,
    declarations: Vec<Block>,
}

/// What a stage says of it.
pub fn outlives(stage: &StageDecl, compiler: &Compiler<'_>) -> Option<Outlives> {
    let time = SignedDuration::try_from(stage.block.child(SETTING.name)?.duration("time")).ok()?;
    Some(Outlives { time, declarations: compiler.pipeline.providers.clone() })
}

impl Outlives {
    /// Refuses a model that its provider shuts down too soon. One that is here, or whose provider tells no dates, lasts.
    pub async fn hold(&self, card: &ModelCard, context: &Context<'_>) -> Result<(), StageError> {
        let declared = providers::of_card(card, &self.declarations)?;
        let Api::Hosted(endpoint) = &declared.api else {
            return Ok(());
        };
        let models = wire(&declared, endpoint, context.network).models(context.watch).await?;
        let Some((day, which)) = last_day(&models, &card.name, &card.base) else {
            context.watch.note(&format!("`{}` tells no day on which it shuts `{}` down", card.provider, card.name));
            return Ok(());
        };
        let until = today().saturating_add(self.time);
        if day >= until {
            return Ok(());
        }
        let days = self.time.as_hours() / 24;
        Err(StageError::ShutDownSoon { model: card.name.clone(), which, provider: card.provider.clone(), day: day.to_string(), days })
    }
}
