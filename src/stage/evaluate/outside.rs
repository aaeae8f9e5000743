//! The actions of graders that are not of this program: another model, a moderation, a command; and of what only the model itself can
//! tell. What each says is an output, so that it is asked for once.

use std::collections::BTreeMap;

use crate::config::{Block, ConfigError};
use crate::fingerprint::{Leaf, Tree};
use crate::grade::grader;
use crate::provider::{Api, Declared};
use crate::store::Reading;

use super::super::exec::environment;
use super::super::made::made_by;
use super::super::{Action, Compiler, Input, Work, providers, train};
use super::ask::{ANSWERS, QUESTIONS};
use super::asking::asked_at;
use super::generate::Asked;
use super::judge::{Judge, Judging};
use super::moderation::Moderation;
use super::openai_grader::Described;
use super::pairwise::Pairwise;
use super::part::Part;
use super::perplexity::{MODELS, Perplexity};
use super::program::Graders;
use super::rows::BASELINE_ANSWERS;

/// The version of asking graders that are not of this program.
const VERSION: u32 = 2;

/// What the output of such a grader is called.
pub fn output(part: Part<'_>, name: &str) -> String {
    part.named(&format!("judged {name}"))
}

/// All that such an action is made of.
struct Made<'a> {
    part: Part<'a>,
    declared: &'a Block,
    output: String,
    inputs: Vec<Input>,
    context: BTreeMap<String, Tree>,
    settings: BTreeMap<String, Tree>,
}

/// The action of such a grader.
pub fn outside(part: Part<'_>, declared: &Block, compiler: &mut Compiler<'_>) -> Result<Action, ConfigError> {
    let name = grader::metric(declared).to_owned();
    let mut settings = BTreeMap::from([("name".to_owned(), Tree::text(&name))]);
    settings.extend(part.setting());
    let inputs = part.questions(compiler).into_iter().collect();
    let mut made = Made { part, declared, output: output(part, &name), inputs, context: BTreeMap::new(), settings };
    let work: Box<dyn Work> = match declared.text("kind") {
        "command" => Box::new(made.command(compiler)?),
        "pairwise" => Box::new(made.pairwise(compiler)?),
        "moderation" => Box::new(made.moderation(compiler)?),
        "openai" => Box::new(made.described(compiler)?),
        "perplexity" => Box::new(made.perplexity(compiler)?),
        _ => Box::new(made.judge(compiler)?),
    };
    Ok(Action {
        name: part.named(&format!("judge {name}")),
        version: VERSION,
        settings: Tree::Map(made.settings),
        context: made.context,
        inputs: made.inputs,
        outputs: vec![made.output],
        appears: false,
        builds_on_last: false,
        refresh: None,
        effect: false,
        work,
    })
}

impl Made<'_> {
    fn has_baseline(&self) -> bool {
        self.part.stage.block.child("baseline").is_some()
    }

    fn answers(&mut self) {
        self.inputs.push(self.part.own(ANSWERS, ANSWERS));
        if self.has_baseline() {
            self.inputs.push(self.part.own(BASELINE_ANSWERS, BASELINE_ANSWERS));
        }
    }

    fn text(&self, slot: &str) -> String {
        self.declared.find_text(slot).unwrap_or_default().to_owned()
    }

    fn contradiction<T>(&self, slot: &str, problem: String, help: &str) -> Result<T, ConfigError> {
        let at = self.declared.span_of(slot).into();
        Err(ConfigError::Contradiction { problem, label: "cannot be judged".into(), at, help: help.into() })
    }

    /// The provider of the grader, in the key too.
    fn provider(&mut self, compiler: &mut Compiler<'_>) -> Result<Declared, ConfigError> {
        let declared = providers::find(&self.text("provider"), &compiler.pipeline.providers, self.declared.span_of("provider"))?;
        self.inputs.extend(providers::files(&declared, compiler));
        self.context.insert("provider".to_owned(), providers::provider_tree(&declared, providers::Purpose::Asking));
        Ok(declared)
    }

    fn judging(&mut self, compiler: &mut Compiler<'_>) -> Result<Judging, ConfigError> {
        self.answers();
        let (model, rubric) = (self.text("model"), self.text("rubric"));
        let declared = self.provider(compiler)?;
        if declared.api == Api::Local && train::untuned(&declared, &model).is_err() {
            let help = format!("the local engine has `{}`", crate::model::TINY);
            return self.contradiction("model", format!("there is no local model `{model}`"), &help);
        }
        self.context.insert("model".to_owned(), providers::model_tree(&declared, &model));
        self.inputs.extend(providers::model_files(&declared, &model, compiler));
        self.settings.insert("rubric".to_owned(), Tree::text(&rubric));
        Ok(Judging { declared, model, rubric })
    }

    fn judge(&mut self, compiler: &mut Compiler<'_>) -> Result<Judge, ConfigError> {
        let judging = self.judging(compiler)?;
        let votes = self.declared.find_integer("votes").unwrap_or(1);
        self.settings.insert("votes".to_owned(), Tree::leaf(Leaf::Integer(votes)));
        Ok(Judge { output: self.output.clone(), judging, votes: usize::try_from(votes).unwrap_or(1) })
    }

    fn pairwise(&mut self, compiler: &mut Compiler<'_>) -> Result<Pairwise, ConfigError> {
        if !self.has_baseline() {
            return self.contradiction("kind", "there is nothing to compare with".into(), "name a baseline: `baseline \"builtin:tiny\"`");
        }
        Ok(Pairwise { output: self.output.clone(), judging: self.judging(compiler)? })
    }

    fn moderation(&mut self, compiler: &mut Compiler<'_>) -> Result<Moderation, ConfigError> {
        self.answers();
        let declared = self.provider(compiler)?;
        if !matches!(declared.api, Api::Hosted(_)) {
            let help = "name one that has, such as `provider=\"openai\"`";
            return self.contradiction("provider", format!("`{}` has no moderation", declared.name), help);
        }
        let model = self.declared.find_text("model").map(str::to_owned);
        self.settings.extend(model.as_ref().map(|model| ("model".to_owned(), Tree::text(model))));
        Ok(Moderation { output: self.output.clone(), declared, model })
    }

    fn perplexity(&mut self, compiler: &mut Compiler<'_>) -> Result<Perplexity, ConfigError> {
        let model = self.local("model", MODELS[0], compiler)?;
        let baseline = if self.has_baseline() { Some(self.local("baseline", MODELS[1], compiler)?) } else { None };
        Ok(Perplexity { output: self.output.clone(), model, baseline })
    }

    /// The local model that stands in a node of the stage, as an input or in the key.
    fn local(&mut self, role: &str, input: &str, compiler: &Compiler<'_>) -> Result<Asked, ConfigError> {
        let stage = &self.part.stage.block;
        let declared = asked_at(stage, role, compiler)?;
        if declared.api != Api::Local {
            let problem = format!("`{}` does not tell how likely its models find an answer that they did not give", declared.name);
            return self.contradiction("kind", problem, "perplexity is for models of the local engine");
        }
        let written = stage.child_text(role).unwrap_or_default();
        self.context.insert(format!("{role} provider"), providers::provider_tree(&declared, providers::Purpose::Asking));
        if let Some(made_by) = made_by(written, compiler) {
            self.inputs.push(Input::output(input, &made_by.stage.name, train::MODEL_OUTPUT));
            return Ok(Asked::Made { declarations: compiler.pipeline.providers.clone() });
        }
        self.context.insert(role.to_owned(), providers::model_tree(&declared, written));
        self.inputs.extend(providers::model_files(&declared, written, compiler));
        Ok(Asked::Named { declared: Box::new(declared), name: written.to_owned() })
    }

    fn described(&mut self, compiler: &mut Compiler<'_>) -> Result<Described, ConfigError> {
        self.answers();
        let file = self.file("input")?;
        if file.contains(['*', '?', '[']) {
            return self.contradiction("input", format!("`{file}` may be several files"), "name the one with the grader");
        }
        let inputs = compiler.files(&file, Reading::Bytes, None);
        // A stage may write it, and call it by a plainer path.
        let file = inputs.first().map_or(file, |input| input.name.clone());
        self.inputs.extend(inputs);
        let declared = self.declared.find_text("provider").is_some().then(|| self.provider(compiler)).transpose()?;
        Ok(Described { output: self.output.clone(), file, declared })
    }

    /// A path that is an input, and not the name of another one.
    fn file(&self, slot: &str) -> Result<String, ConfigError> {
        let path = self.text(slot);
        if !QUESTIONS.contains(&path.as_str()) {
            return Ok(path);
        }
        Err(ConfigError::Contradiction {
            problem: format!("`{path}` is what the input with the rows is called"),
            label: "would hide them".into(),
            at: self.declared.span_of(slot).into(),
            help: format!("write it as `./{path}`"),
        })
    }

    fn command(&mut self, compiler: &mut Compiler<'_>) -> Result<Graders, ConfigError> {
        self.answers();
        let line = self.text("run");
        let path = self.declared.find_text("input").is_some().then(|| self.file("input")).transpose()?;
        self.inputs.extend(path.iter().flat_map(|path| compiler.files(path, Reading::Program, None)));
        self.context.insert("environment".to_owned(), environment());
        self.settings.insert("run".to_owned(), Tree::text(&line));
        Ok(Graders { output: self.output.clone(), line, inputs: path.into_iter().collect() })
    }
}
