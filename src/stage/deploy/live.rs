//! A few questions to what an alias stands for, which must be answered as the model was when it was judged.

use std::collections::BTreeMap;

use crate::config::{Block, ConfigError, Fallback, Kind, Setting, Slot, StageDecl};
use crate::data::{Example, parse_examples};
use crate::fingerprint::Tree;
use crate::provider::{Api, Declared, Generation, ModelCard, ModelHandle, Question};

use super::super::evaluate::{self, Judged};
use super::super::made::{MadeBy, made_by};
use super::super::{Compiler, Context, Input, StageError, providers, train};

pub static SETTING: Setting =
    Setting::new("live-check", "Asks what the alias stands for a few questions of the first verdict, and goes back where it answers in another way.")
        .properties(&[
            Slot::new("questions", Kind::Integer(1, 1000), "How many.").or(Fallback::Integer(5)),
            Slot::new("agreement", Kind::Share, "The share of answers that must be the same.").or(Fallback::Number(0.8)),
            Slot::new("provider", Kind::Provider, "Who answers by the alias, such as a gateway; where it is not said, the model is asked where it is.")
                .or(Fallback::Absent),
        ]);

/// How an alias is looked at after a switch.
#[derive(Debug)]
pub struct LiveCheck {
    questions: usize,
    agreement: f64,
    /// Who is asked by the alias.
    gateway: Option<Declared>,
    declarations: Vec<Block>,
    judged: Judged,
}

/// What came of it.
pub struct Looked {
    pub asked: usize,
    pub same: usize,
    /// A question that was answered in another way: what was asked, what the judged model said, and what is said now.
    pub other: Option<[String; 3]>,
}

/// What is asked, and who has the model.
#[derive(Debug)]
pub struct Prepared {
    card: ModelCard,
    declared: Declared,
    chosen: Vec<Chosen>,
}

/// A question, its last message, and what the model said when it was judged.
#[derive(Debug)]
struct Chosen {
    question: Question,
    asked: String,
    before: String,
}

/// The inputs with the questions and with the rows that were judged.
const DATA: &str = "live-data";
const SCORES: &str = "live-scores";

/// The check of a stage, and what it needs.
pub fn live_check(stage: &StageDecl, judge: Option<&StageDecl>, compiler: &Compiler<'_>) -> Result<Option<(LiveCheck, Vec<Input>)>, ConfigError> {
    let Some(block) = stage.block.child(SETTING.name) else {
        return Ok(None);
    };
    let contradiction = |problem: String, help: &str| {
        Err(ConfigError::Contradiction { problem, label: "cannot be checked".into(), at: block.name_span.into(), help: help.into() })
    };
    let Some(judge) = judge else {
        return contradiction("there are no answers that could be compared".into(), "require an evaluate stage: `requires \"quality\"`");
    };
    let judged = evaluate::asked(judge, compiler, [DATA, SCORES]);
    if judged.is_drawn {
        return contradiction(format!("`{}` draws its answers, so that others are no sign", judge.name), "require one without `temperature` first");
    }
    let gateway = block.find_text("provider").map(|name| providers::find(name, &compiler.pipeline.providers, block.span_of("provider"))).transpose()?;
    if gateway.as_ref().is_some_and(|gateway| !matches!(gateway.api, Api::Hosted(_))) {
        return contradiction("aliases are known to servers only".into(), "name a provider with a `base-url`");
    }
    let mut inputs = judged.inputs.clone();
    let made_by = made_by(stage.block.child_text("model").unwrap_or_default(), compiler);
    if let Some(made_by) = made_by.as_ref().and_then(MadeBy::block).filter(|_| gateway.is_none()) {
        // A program that answers is made of files.
        let name = train::provider_name(made_by);
        inputs.extend(providers::files(&providers::find(name, &compiler.pipeline.providers, block.name_span)?, compiler));
    }
    let questions = usize::try_from(block.integer("questions")).unwrap_or(usize::MAX);
    let declarations = compiler.pipeline.providers.clone();
    Ok(Some((LiveCheck { questions, agreement: block.number("agreement"), gateway, declarations, judged }, inputs)))
}

impl LiveCheck {
    /// Who is asked by the alias, for the key.
    pub fn context(&self) -> Option<(String, Tree)> {
        let gateway = self.gateway.as_ref()?;
        Some(("live-check provider".to_owned(), providers::provider_tree(gateway, providers::Purpose::Asking)))
    }

    /// What will be asked, about which rows, and what is spent on it at most: all that can fail before the switch.
    pub fn prepare(&self, context: &Context<'_>) -> Result<Prepared, StageError> {
        let examples = parse_examples(&context.read(DATA)?)?;
        let rows = evaluate::judged_rows(&context.read(SCORES)?)?;
        let last = |example: &Example| example.prompt().last().map_or_else(String::new, |message| message.content.clone());
        let all: Vec<Chosen> = examples
            .iter()
            .zip(rows)
            .map(|(example, row)| (row.asked == last(example), Chosen { question: example.into(), asked: row.asked, before: row.answer }))
            .filter_map(|(is_same, chosen)| is_same.then_some(chosen))
            .collect();
        if all.is_empty() {
            return Err(StageError::Unreadable { what: "the scores", problem: "they are of other questions than there are now".into() });
        }
        // The same ones each time, from all over the rows.
        let step = (all.len() / self.questions.max(1)).max(1);
        let chosen: Vec<Chosen> = all.into_iter().step_by(step).take(self.questions).collect();
        let card = train::card(context.store, context.artifact("model")?)?;
        let declared = providers::of_card(&card, &self.declarations)?;
        if matches!(declared.api, Api::Hosted(_)) {
            let questions: Vec<Question> = chosen.iter().map(|chosen| chosen.question.clone()).collect();
            let expected = evaluate::expected_cost(&declared, &card, context.workspace, &questions, self.judged.max_tokens)?;
            context.watch.spend(&declared.name, expected)?;
        }
        Ok(Prepared { card, declared, chosen })
    }

    /// Asks what an alias stands for.
    pub async fn look(&self, alias: &str, prepared: Prepared, context: &Context<'_>) -> Result<Looked, StageError> {
        let Prepared { card, declared, chosen } = prepared;
        let questions: Vec<Question> = chosen.iter().map(|chosen| chosen.question.clone()).collect();
        let how = Generation { max_tokens: self.judged.max_tokens, temperature: 0.0, kept: None, batch: None };
        let said = if let Some(gateway) = &self.gateway {
            let named = ModelCard { provider: gateway.name.clone(), base: alias.to_owned(), name: String::new(), digest: None };
            let model = ModelHandle { card: named, files: BTreeMap::new() };
            providers::answerer(gateway, context).answer(&model, questions, how, context.watch).await?
        } else {
            // A program finds the files in a folder.
            let is_local = declared.api == Api::Local;
            let model =
                if is_local { train::load(context.store, context.artifact("model")?)? } else { ModelHandle { card: card.clone(), files: BTreeMap::new() } };
            match &declared.api {
                Api::Command(program) => train::answer(program, &declared.name, &model, &questions, how, context).await?,
                Api::Local | Api::Hosted(_) => providers::answerer(&declared, context).answer(&model, questions, how, context.watch).await?,
            }
        };
        context.watch.billed(evaluate::cost_of(&declared, &card, context.workspace, &said)?);
        let mut looked = Looked { asked: said.len(), same: 0, other: None };
        for (Chosen { asked, before, .. }, now) in chosen.into_iter().zip(said) {
            if before.trim() == now.text.trim() {
                looked.same += 1;
            } else if looked.other.is_none() {
                looked.other = Some([asked, before, now.text]);
            }
        }
        Ok(looked)
    }

    /// Whether so many answers were the same that the alias stands for the model.
    #[expect(clippy::cast_precision_loss, reason = "counts of questions are far below 2^52")]
    pub fn holds(&self, looked: &Looked) -> bool {
        looked.same as f64 >= self.agreement * looked.asked as f64
    }
}
