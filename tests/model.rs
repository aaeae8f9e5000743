//! A small model of what a build should do, beside the real thing: random graphs, random edits, failures and interruptions.
//!
//! After each run, exactly those stages ran whose fingerprint was new, and every output is what the model says. At the end,
//! the lock file is that of a run from scratch. `RETUNE_CASES` sets the number of cases (`just model` runs 10,000).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use proptest::prelude::*;
use retune::config::Overrides;
use retune::engine::{Interrupt, Notice, Observer, Recipe, RunOptions, RunSummary, Start, Workspace};
use retune::ledger::StageStatus;

const FILES: usize = 3;
const STAGES: usize = 6;

/// What a stage reads: a file of the workspace, or the output of a stage before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    File(usize),
    Stage(usize),
}

#[derive(Clone, Debug)]
struct Stage {
    tag: u8,
    sources: BTreeSet<Source>,
}

/// Something that happens to a workspace.
#[derive(Clone, Debug)]
enum Step {
    Edit {
        file: usize,
        content: u8,
    },
    Touch {
        file: usize,
    },
    Retag {
        stage: usize,
        tag: u8,
    },
    Rewire {
        stage: usize,
        sources: Vec<usize>,
    },
    /// A comment, blank lines, and the stages in another order.
    Reformat,
    /// From now on the command of a stage fails, or it does not any more.
    Toggle {
        stage: usize,
    },
    /// Somebody deletes an output, or writes into it.
    Spoil {
        stage: usize,
        content: Option<u8>,
    },
    Run {
        target: Option<usize>,
        jobs: usize,
        keep_going: bool,
    },
    /// A run that is interrupted once so many stages have begun.
    Interrupted {
        after: usize,
        kill: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..FILES, 0..3_u8).prop_map(|(file, content)| Step::Edit { file, content }),
        1 => (0..FILES).prop_map(|file| Step::Touch { file }),
        2 => (0..STAGES, 0..3_u8).prop_map(|(stage, tag)| Step::Retag { stage, tag }),
        2 => (0..STAGES, prop::collection::vec(0..FILES + STAGES, 1..4)).prop_map(|(stage, sources)| Step::Rewire { stage, sources }),
        1 => Just(Step::Reformat),
        2 => (0..STAGES).prop_map(|stage| Step::Toggle { stage }),
        1 => (0..STAGES, prop::option::of(0..3_u8)).prop_map(|(stage, content)| Step::Spoil { stage, content }),
        6 => (prop::option::of(0..STAGES), 1..4_usize, any::<bool>()).prop_map(|(target, jobs, keep_going)| Step::Run { target, jobs, keep_going }),
        2 => (1..4_usize, any::<bool>()).prop_map(|(after, kill)| Step::Interrupted { after, kill }),
    ];
    prop::collection::vec(step, 3..14)
}

/// The pipeline as it should be, and all that was ever done.
struct Model {
    files: Vec<u8>,
    stages: Vec<Stage>,
    failing: BTreeSet<usize>,
    reformatted: usize,
    /// Every command with its inputs that ever came to its end.
    done: BTreeSet<(String, Vec<(String, String)>)>,
    flags: tempfile::TempDir,
}

impl Model {
    fn new(stages: Vec<Vec<usize>>) -> Self {
        let mut model = Self {
            files: vec![0; FILES],
            stages: Vec::new(),
            failing: BTreeSet::new(),
            reformatted: 0,
            done: BTreeSet::new(),
            flags: tempfile::tempdir().expect("a folder"),
        };
        for sources in stages {
            let number = model.stages.len();
            model.stages.push(Stage { tag: 0, sources: wired(number, &sources) });
        }
        model
    }

    fn name(source: Source) -> String {
        match source {
            Source::File(number) => format!("in{number}"),
            Source::Stage(number) => format!("o{number}"),
        }
    }

    fn command(&self, number: usize) -> String {
        let names: Vec<String> = self.stages[number].sources.iter().map(|source| Self::name(*source)).collect();
        let flag = self.flags.path().join(number.to_string());
        format!("test ! -e {} && cat {} > o{number} && echo {} >> o{number}", flag.display(), names.join(" "), self.stages[number].tag)
    }

    fn content(&self, source: Source) -> String {
        match source {
            Source::File(number) => format!("file {}\n", self.files[number]),
            Source::Stage(number) => {
                let inputs: String = self.stages[number].sources.iter().map(|source| self.content(*source)).collect();
                format!("{inputs}{}\n", self.stages[number].tag)
            }
        }
    }

    fn key(&self, number: usize) -> (String, Vec<(String, String)>) {
        let inputs = self.stages[number].sources.iter().map(|source| (Self::name(*source), self.content(*source)));
        (self.command(number), inputs.collect())
    }

    /// A stage and all that it needs.
    fn wanted(&self, target: Option<usize>) -> BTreeSet<usize> {
        let Some(target) = target else {
            return (0..self.stages.len()).collect();
        };
        let mut wanted = BTreeSet::new();
        let mut open = vec![target];
        while let Some(number) = open.pop() {
            if wanted.insert(number) {
                open.extend(self.stages[number].sources.iter().filter_map(|source| match source {
                    Source::Stage(number) => Some(*number),
                    Source::File(_) => None,
                }));
            }
        }
        wanted
    }

    /// What becomes of each stage in a run that goes on after failures.
    fn fate(&self, number: usize) -> StageStatus {
        let fates = self.stages[number].sources.iter().filter_map(|source| match source {
            Source::Stage(number) => Some(self.fate(*number)),
            Source::File(_) => None,
        });
        if fates.clone().any(|fate| matches!(fate, StageStatus::Failed | StageStatus::Skipped)) {
            StageStatus::Skipped
        } else if self.done.contains(&self.key(number)) {
            StageStatus::Cached
        } else if self.failing.contains(&number) {
            StageStatus::Failed
        } else {
            StageStatus::Ran
        }
    }

    fn text(&self) -> String {
        let mut text = String::from("pipeline \"model\"\n");
        let mut order: Vec<usize> = (0..self.stages.len()).collect();
        if self.reformatted % 2 == 1 {
            order.reverse();
        }
        for number in order {
            if self.reformatted > 0 {
                let _ = writeln!(text, "\n// {}", self.reformatted);
            }
            let _ = writeln!(text, "exec \"s{number}\" {{\n    run {:?}", self.command(number));
            for source in &self.stages[number].sources {
                let _ = writeln!(text, "    input {:?}", Self::name(*source));
            }
            let _ = writeln!(text, "    output \"o{number}\"\n}}");
        }
        text
    }

    fn write(&self, folder: &Path) {
        for (number, _) in self.files.iter().enumerate() {
            put(&folder.join(format!("in{number}")), &self.content(Source::File(number)));
        }
        put(&folder.join("p.kdl"), &self.text());
    }
}

/// Writes a file if that changes it: an edit, not a touch.
fn put(path: &Path, content: &str) {
    if std::fs::read_to_string(path).ok().as_deref() != Some(content) {
        std::fs::write(path, content).expect("it can be written");
    }
}

/// Sources of a stage: files, and stages before it. There is always one.
fn wired(stage: usize, sources: &[usize]) -> BTreeSet<Source> {
    let sources = sources.iter().map(|&source| if source < FILES { Source::File(source) } else { Source::Stage(source - FILES) });
    let mut wired: BTreeSet<Source> = sources.filter(|source| !matches!(source, Source::Stage(number) if *number >= stage)).collect();
    if wired.is_empty() {
        wired.insert(Source::File(stage % FILES));
    }
    wired
}

/// Interrupts a run once so many stages have begun.
struct Listener {
    interrupt: Interrupt,
    after: Option<usize>,
    kill: bool,
    begun: AtomicUsize,
}

impl Observer for Listener {
    fn notice(&self, notice: Notice) {
        if matches!(notice, Notice::Started { .. }) && Some(self.begun.fetch_add(1, Ordering::SeqCst) + 1) == self.after {
            if self.kill { self.interrupt.kill() } else { self.interrupt.again() }
        }
    }
}

fn run(folder: &Path, options: RunOptions, interrupted: Option<(usize, bool)>) -> RunSummary {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads"));
    let path = folder.join("p.kdl");
    let recipe = Arc::new(Recipe::load(&path, &Overrides::default()).unwrap_or_else(|error| panic!("{error:?}")));
    let workspace = Arc::new(Workspace::open(&path).expect("a workspace"));
    let start = Start::new(recipe, workspace, options).expect("it can begin");
    let interrupt = Interrupt::default();
    let listener = Listener {
        interrupt: interrupt.clone(),
        after: interrupted.map(|(after, _)| after),
        kill: interrupted.is_some_and(|(_, kill)| kill),
        begun: AtomicUsize::new(0),
    };
    let finished = if start.is_done() { start.finish(Arc::new(listener)) } else { runtime.block_on(start.run(Arc::new(listener), interrupt)) };
    finished.expect("it ends").summary
}

fn number(name: &str) -> usize {
    name[1..].parse().expect("a stage of ours")
}

/// Holds a run against the model, and notes what was done.
fn hold(model: &mut Model, folder: &Path, summary: &RunSummary, wanted: &BTreeSet<usize>, complete: bool) -> Result<(), TestCaseError> {
    let named: BTreeSet<usize> = summary.stages.iter().map(|stage| number(&stage.name)).collect();
    prop_assert_eq!(&named, wanted);
    let fates: BTreeMap<usize, StageStatus> = wanted.iter().map(|&stage| (stage, model.fate(stage))).collect();
    for stage in &summary.stages {
        let (number, fate) = (number(&stage.name), fates[&number(&stage.name)]);
        // Where a run stops early, stages are skipped that would have run or failed. Nothing else may differ.
        let early = !complete
            && stage.status == StageStatus::Skipped
            && matches!(fate, StageStatus::Ran | StageStatus::Failed | StageStatus::Skipped | StageStatus::Cached);
        prop_assert!(stage.status == fate || early, "{} is {} and should be {}: {:?}", stage.name, stage.status, fate, stage);
        if matches!(stage.status, StageStatus::Ran | StageStatus::Cached) {
            let output = std::fs::read_to_string(folder.join(format!("o{number}"))).unwrap_or_default();
            prop_assert_eq!(output, model.content(Source::Stage(number)), "the output of {}", stage.name);
        }
    }
    let ran: Vec<usize> = summary.stages.iter().filter(|stage| stage.status == StageStatus::Ran).map(|stage| number(&stage.name)).collect();
    for stage in ran {
        let key = model.key(stage);
        prop_assert!(model.done.insert(key), "s{} was done again", stage);
    }
    Ok(())
}

fn take(model: &mut Model, folder: &Path, step: Step) -> Result<(), TestCaseError> {
    let here = model.stages.len();
    match step {
        Step::Edit { file, content } => model.files[file] = content,
        Step::Touch { file } => {
            let place = std::fs::File::options().append(true).open(folder.join(format!("in{file}"))).expect("it is there");
            place.set_modified(std::time::SystemTime::now()).expect("it is ours");
        }
        Step::Retag { stage, tag } => model.stages[stage % here].tag = tag,
        Step::Rewire { stage, sources } => {
            let stage = stage % here;
            model.stages[stage].sources = wired(stage, &sources);
        }
        Step::Reformat => model.reformatted += 1,
        Step::Toggle { stage } => {
            let stage = stage % here;
            let flag = model.flags.path().join(stage.to_string());
            if model.failing.remove(&stage) {
                std::fs::remove_file(flag).expect("it is ours");
            } else {
                model.failing.insert(stage);
                std::fs::write(flag, "").expect("it is ours");
            }
        }
        Step::Spoil { stage, content } => {
            let place = folder.join(format!("o{}", stage % here));
            let _ = std::fs::remove_file(&place);
            if let Some(content) = content {
                std::fs::write(&place, format!("spoiled {content}\n")).expect("it is ours");
            }
        }
        Step::Run { target, jobs, keep_going } => {
            model.write(folder);
            let target = target.map(|target| target % here);
            let stages = target.map(|target| format!("s{target}")).into_iter().collect();
            let summary = run(folder, RunOptions { stages, jobs, keep_going, ..RunOptions::default() }, None);
            let wanted = model.wanted(target);
            let fails = wanted.iter().any(|&stage| model.fate(stage) == StageStatus::Failed);
            hold(model, folder, &summary, &wanted, keep_going || !fails)?;
        }
        Step::Interrupted { after, kill } => {
            model.write(folder);
            let summary = run(folder, RunOptions { jobs: 2, keep_going: true, ..RunOptions::default() }, Some((after, kill)));
            let wanted = model.wanted(None);
            hold(model, folder, &summary, &wanted, false)?;
        }
    }
    Ok(())
}

fn from_scratch(model: &Model) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    model.write(folder.path());
    run(folder.path(), RunOptions { jobs: 1, ..RunOptions::default() }, None);
    std::fs::read_to_string(folder.path().join("p.lock.kdl")).expect("there is a lock file")
}

fn cases() -> u32 {
    std::env::var("RETUNE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(48)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn exactly_what_must_run_runs_and_the_result_is_that_of_a_run_from_scratch(
        stages in prop::collection::vec(prop::collection::vec(0..FILES + STAGES, 1..4), 1..=STAGES),
        steps in steps(),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join(".retune")).expect("a folder");
        let mut model = Model::new(stages);
        model.write(folder.path());
        for step in steps {
            take(&mut model, folder.path(), step)?;
        }
        for stage in std::mem::take(&mut model.failing) {
            std::fs::remove_file(model.flags.path().join(stage.to_string())).expect("it is ours");
        }
        take(&mut model, folder.path(), Step::Run { target: None, jobs: 2, keep_going: false })?;
        take(&mut model, folder.path(), Step::Run { target: None, jobs: 2, keep_going: false })?;
        let lock = std::fs::read_to_string(folder.path().join("p.lock.kdl")).expect("there is a lock file");
        prop_assert_eq!(lock, from_scratch(&model));
    }
}
