use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::config::{ConfigError, Finding, Kind, Overrides, Pipeline, PipelineErrors, PipelineFile, Span, StageDecl, Value, plain};
use crate::fingerprint::{ActionBase, Preimage};
use crate::graph::{Dag, NodeId, Outputs, StageGraph};
use crate::stage::{Action, Compiler, Input, LANGUAGE, Source, StageError, compile as compile_stage, scheduling};

use super::compiled::{Compiled, variable};
use super::{ActionNode, NodeInput, Recipe, StageNode, Works};

/// A file compiled whole.
pub struct Whole {
    pub compiled: Compiled,
    /// The actions of each stage, with their settings and their work.
    pub works: Works,
    /// The text, with that of the files that it includes.
    pub file: PipelineFile,
}

/// Decodes a whole file and compiles every stage of it.
pub fn compile(file: PipelineFile, overrides: &Overrides) -> Result<Whole, PipelineErrors> {
    let (file, pipeline, mut errors) = Pipeline::decode(file, LANGUAGE, overrides);
    let Some(mut pipeline) = pipeline else {
        return Err(PipelineErrors::new(&file, &errors));
    };
    let mut outputs = Outputs::gather(&pipeline, &mut errors);
    let own = file.parts.iter().filter_map(|part| within(&pipeline.root, &part.path));
    for (path, span) in own.filter_map(|path| Some((path.clone(), outputs.declared_over(&path)?))) {
        errors.push(ConfigError::ReservedPath { path, at: span.into() });
    }
    for (path, span) in pipeline.seen.files.keys().filter_map(|path| Some((path, outputs.declared_over(&plain(path))?))) {
        errors.push(ConfigError::Contradiction {
            problem: format!("a stage writes `{path}`, and its content is a value of this file"),
            label: "written when it is read already".into(),
            at: span.into(),
            help: "name it as an `input`, or write another file".into(),
        });
    }
    for stage in &pipeline.stages {
        errors.extend(reaching(stage, &mut outputs));
    }
    let graph = StageGraph::build(&pipeline, &outputs, &mut errors);
    let mut compiler = Compiler { pipeline: &pipeline, outputs: &outputs, warnings: Vec::new() };
    let mut compiled: Vec<(usize, usize, Action)> = Vec::new();
    for (stage, declared) in pipeline.stages.iter().enumerate() {
        match compile_stage(declared, &mut compiler) {
            Ok(actions) => compiled.extend(actions.into_iter().enumerate().map(|(place, action)| (stage, place, action))),
            Err(error) => errors.push(error),
        }
    }
    let mut schedules = Vec::with_capacity(pipeline.stages.len());
    for declared in &pipeline.stages {
        match scheduling(declared) {
            Ok(schedule) => schedules.push(schedule),
            Err(error) => errors.push(error),
        }
    }
    let mut warnings = compiler.warnings;
    warnings.append(&mut pipeline.warnings);
    if errors.is_empty() {
        // What is wrong may be the very reference that is missing.
        warnings.extend(super::lint::unused(&pipeline));
    } else {
        errors.append(&mut warnings);
        return Err(PipelineErrors::new(&file, &errors));
    }
    warnings.sort_by_key(ConfigError::offset);
    let warnings = PipelineErrors::of(&file, warnings.iter().map(Finding::from).collect()).found;
    let actions = linked(&pipeline, &compiled);
    let mut references = vec![Vec::new(); pipeline.stages.len()];
    for reference in &pipeline.references {
        references[reference.from].push(reference.to);
    }
    let stages = pipeline.stages.iter().zip(references).zip(schedules).enumerate().map(|(index, ((stage, references), scheduling))| {
        let mut needs: Vec<usize> = graph.needs(index).collect();
        needs.sort_unstable();
        let values = stage.values.iter().map(|(axis, value)| (axis.clone(), value.value.clone())).collect();
        StageNode { name: stage.name.clone(), kind: stage.kind.to_owned(), needs, scheduling, span: stage.block.span, references, values }
    });
    let stages = stages.collect();
    let order = order(&actions);
    // The address of the built-in `openai` comes from it.
    let variables = pipeline.seen.variables.iter().map(String::as_str).chain(["OPENAI_BASE_URL"]).map(|name| (name.to_owned(), variable(name))).collect();
    let mut works: BTreeMap<usize, Vec<Action>> = BTreeMap::new();
    for (stage, _, action) in compiled {
        works.entry(stage).or_default().push(action);
    }
    let works = works.into_iter().map(|(stage, actions)| (stage, Arc::new(actions))).collect();
    let files = pipeline.seen.files.iter().map(|(path, digest)| (path.clone(), Some((*digest).into()))).collect();
    let (name, budget, shared) = (pipeline.name, pipeline.budget, pipeline.shared);
    let compiled = Compiled { name, budget, shared, parts: file.parts.to_vec(), variables, files, warnings, stages, actions, order, outputs };
    Ok(Whole { compiled, works, file })
}

/// Globs of a stage that reach into a folder that a stage writes: what lies in it is not known before it is made.
fn reaching(stage: &StageDecl, outputs: &mut Outputs) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    stage.block.each_slot(|slot, value| {
        if let (Kind::Input, Value::Text(pattern)) = (slot.kind, &value.value)
            && let Some(folder) = outputs.note_reach(pattern)
        {
            errors.push(ConfigError::Contradiction {
                problem: format!("the glob `{pattern}` reaches into `{folder}`, which a stage writes"),
                label: "what it means there shows only once that is made".into(),
                at: value.span.into(),
                help: format!("name `{folder}` by itself, and let the glob mean other folders"),
            });
        }
    });
    errors
}

/// The path of a file in its workspace, where it lies there.
fn within(root: &Path, path: &Path) -> Option<String> {
    let absolute = std::path::absolute(path).ok()?;
    absolute.strip_prefix(root).ok()?.to_str().map(str::to_owned)
}

/// Compiles one stage of a text that has been compiled whole before; in a pipeline with matrices all stages at once, since the
/// instances of one are found by those of others.
pub fn stage(recipe: &Recipe, stage: usize) -> Result<Vec<(usize, Vec<Action>)>, StageError> {
    let broken = |problem: String| StageError::Unreadable { what: "its own settings", problem };
    let is_instance = |stage: &StageNode| stage.name.as_str().contains('[');
    let asked: Vec<usize> = if recipe.stages.iter().any(is_instance) { (0..recipe.stages.len()).collect() } else { vec![stage] };
    let mut meant: BTreeSet<usize> = asked.iter().copied().collect();
    let mut open = asked.clone();
    while let Some(stage) = open.pop() {
        open.extend(recipe.stages[stage].references.iter().copied().filter(|&named| meant.insert(named)));
    }
    // Instances of one stage have one text.
    let texts: BTreeSet<Span> = meant.iter().map(|&stage| recipe.stages[stage].span).collect();
    let spans: Vec<Span> = recipe.shared.iter().copied().chain(texts).collect();
    let (pipeline, errors) = Pipeline::decode_part(recipe.file.clone(), &spans, LANGUAGE, &recipe.overrides);
    let problem = |error: Option<&ConfigError>| error.map_or_else(|| "the stage is not there".to_owned(), ToString::to_string);
    let pipeline = pipeline.filter(|_| errors.is_empty()).ok_or_else(|| broken(problem(errors.first())))?;
    let mut compiler = Compiler { pipeline: &pipeline, outputs: &recipe.outputs, warnings: Vec::new() };
    let compiled = asked.into_iter().map(|stage| {
        let declared = pipeline.stage(recipe.stages[stage].name.as_str()).ok_or_else(|| broken(problem(None)))?;
        Ok((stage, compile_stage(declared, &mut compiler).map_err(|error| broken(error.to_string()))?))
    });
    compiled.collect()
}

/// The actions with the maker of each input found.
fn linked(pipeline: &Pipeline, compiled: &[(usize, usize, Action)]) -> Vec<ActionNode> {
    let mut makers: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for ((stage, _, action), id) in compiled.iter().zip(0..) {
        let stage = pipeline.stages[*stage].name.as_str();
        makers.extend(action.outputs.iter().map(|output| ((stage, output.as_str()), id)));
    }
    let input = |input: &Input| match &input.source {
        Source::Output { stage, output, part } => {
            let maker = makers.get(&(stage.as_str(), output.as_str()))?;
            Some(NodeInput::Made { role: input.name.clone(), maker: *maker, output: output.clone(), part: part.clone() })
        }
        Source::Files(files) => Some(NodeInput::Files(files.clone())),
    };
    let node = |(stage, place, action): &(usize, usize, Action)| ActionNode {
        stage: *stage,
        place: *place,
        name: action.name.clone(),
        base: base(pipeline.stages[*stage].kind, action),
        inputs: action.inputs.iter().filter_map(input).collect(),
        outputs: action.outputs.clone(),
        appears: action.appears,
        refresh: action.refresh,
        effect: action.effect,
    };
    compiled.iter().map(node).collect()
}

fn base(kind: &str, action: &Action) -> ActionBase {
    preimage(kind, action).base()
}

/// The preimage of an action's key, without its inputs.
pub fn preimage(kind: &str, action: &Action) -> Preimage {
    Preimage {
        kind: format!("{kind}/{}", action.name),
        version: action.version,
        settings: action.settings.clone(),
        context: action.context.clone(),
        inputs: BTreeMap::new(),
    }
}

fn order(actions: &[ActionNode]) -> Vec<u32> {
    let mut graph: Dag<()> = Dag::new();
    let ids: Vec<NodeId> = actions.iter().map(|_| graph.add(())).collect();
    for (node, &id) in actions.iter().zip(&ids) {
        for maker in super::makers(node) {
            graph.link(maker, id);
        }
    }
    // Cycles of stages were refused before, and there are none within a stage.
    graph.order().unwrap_or_default().into_iter().map(|id| u32::try_from(id.index()).unwrap_or_default()).collect()
}
