//! A provider's moderation, which says whether answers may be shown to people.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::data::write_lines;
use crate::grade::{Reply, count};
use crate::provider::{Api, Declared, ProviderError, Wire, wire};
use crate::store::RecordOutcome;

use super::super::{Context, StageError, Work};
use super::rows::rows;
use super::said::Said;

/// Shows answers to a provider's moderation: 1 is what it does not flag.
#[derive(Debug)]
pub struct Moderation {
    /// What its output is called.
    pub output: String,
    pub declared: Declared,
    /// The model that moderates; the provider's usual one where it is not said.
    pub model: Option<String>,
}

/// So many answers are shown at once.
const TOGETHER: usize = 32;

#[async_trait]
impl Work for Moderation {
    async fn run(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        let Api::Hosted(endpoint) = &self.declared.api else {
            return Err(ProviderError::Cannot { provider: self.declared.name.clone(), lack: "has no moderation".into() }.into());
        };
        let rows = rows(context)?;
        let wire = wire(&self.declared, endpoint, context.network);
        let texts = |replies: &mut dyn Iterator<Item = &Reply>| replies.map(|reply| reply.text.clone()).collect::<Vec<_>>();
        let ours = self.flagged(wire.as_ref(), &texts(&mut rows.iter().flat_map(|row| &row.answers)), context).await?;
        let theirs = self.flagged(wire.as_ref(), &texts(&mut rows.iter().flat_map(|row| &row.baseline)), context).await?;
        let (mut ours, mut theirs) = (ours.into_iter(), theirs.into_iter());
        // Of several answers to one question each counts.
        let clean = |flags: &[Vec<String>]| flags.iter().filter(|why| why.is_empty()).count();
        let lines: Vec<Said> = rows
            .iter()
            .map(|row| {
                let said: Vec<Vec<String>> = ours.by_ref().take(row.answers.len()).collect();
                let other: Vec<Vec<String>> = theirs.by_ref().take(row.baseline.len()).collect();
                let reason = said.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(", ");
                let baseline = (!other.is_empty()).then(|| count(clean(&other)) / count(other.len()));
                Said { score: count(clean(&said)) / count(said.len().max(1)), reason, baseline, ..Said::default() }
            })
            .collect();
        let outputs = BTreeMap::from([(self.output.clone(), context.store.put_bytes(&write_lines(&lines))?)]);
        Ok(RecordOutcome { outputs, ..RecordOutcome::default() })
    }
}

impl Moderation {
    /// Why each text is flagged; nothing where it is not. What says nothing is not shown.
    async fn flagged(&self, wire: &dyn Wire, texts: &[String], context: &Context<'_>) -> Result<Vec<Vec<String>>, StageError> {
        let mut found = vec![Vec::new(); texts.len()];
        let shown: Vec<usize> = (0..texts.len()).filter(|&at| !texts[at].trim().is_empty()).collect();
        for (done, places) in shown.chunks(TOGETHER).enumerate() {
            let some: Vec<String> = places.iter().map(|&at| texts[at].clone()).collect();
            let flags = wire.moderate(self.model.as_deref(), &some, context.watch).await?;
            places.iter().zip(flags).for_each(|(&at, why)| found[at] = why);
            context.watch.progress((done * TOGETHER + places.len()) as u64, shown.len() as u64, "answers moderated", "");
        }
        Ok(found)
    }
}
