mod guard;
mod process;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use async_trait::async_trait;

use crate::config::{Block, ConfigError, Kind, Setting, Slot, StageDecl};
use crate::fingerprint::{Digest, Tree, settings};
use crate::store::{Artifact, Reading, RecordOutcome};

pub use guard::{Guard, guard};

use super::{Action, Compiler, Context, Given, StageError, StageKind, Work};

static SETTING: Setting = Setting::new("exec", "Runs any command as a stage.")
    .many()
    .arguments(&[Slot::new("name", Kind::Text, "The stage's name.").without_effect()])
    .children(|| vec![&RUN, &INPUT, &OUTPUT, &ENV]);
static RUN: Setting = Setting::new("run", "The command, for `sh -c`.").once().arguments(&[Slot::new(
    "command",
    Kind::Text,
    "It begins in a folder with only the declared inputs.",
)]);
static INPUT: Setting =
    Setting::new("input", "What the command reads.").many().arguments(&[Slot::new("path", Kind::Input, "A file, folder or glob of the workspace.")]);
static OUTPUT: Setting =
    Setting::new("output", "What the command writes.").many().arguments(&[Slot::new("path", Kind::Output, "A file or folder of the workspace.")]);
static ENV: Setting = Setting::new("env", "An environment variable that the command sees. Its value is part of the fingerprint.")
    .many()
    .arguments(&[Slot::new("name", Kind::Variable, "Its name.")]);

pub const KIND: StageKind = StageKind { setting: &SETTING, compile };

const VERSION: u32 = 1;

fn compile(stage: &StageDecl, compiler: &mut Compiler<'_>) -> Result<Vec<Action>, ConfigError> {
    let block = &stage.block;
    let inputs = block.all("input").flat_map(|input| compiler.files(input.text("path"), Reading::Program, None)).collect();
    let outputs: Vec<String> = block.all("output").map(|output| output.text("path").trim_end_matches('/').to_owned()).collect();
    let environment = environment(block);
    let seen = environment.iter().map(|(name, value)| (name.clone(), Tree::text(value)));
    let context = if environment.is_empty() { BTreeMap::new() } else { BTreeMap::from([("env".to_owned(), Tree::map(seen))]) };
    let action = Action {
        name: "exec",
        version: VERSION,
        settings: settings(block, &compiler.pipeline.file),
        context,
        inputs,
        outputs: outputs.clone(),
        appears: true,
        effect: false,
        work: Box::new(Exec { command: block.child_text("run").unwrap_or_default().to_owned(), outputs, environment }),
    };
    Ok(vec![action])
}

/// The declared variables that are set, with their values.
fn environment(block: &Block) -> BTreeMap<String, String> {
    let names = block.all("env").map(|env| env.text("name"));
    names.filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?))).collect()
}

#[derive(Debug)]
struct Exec {
    command: String,
    outputs: Vec<String>,
    environment: BTreeMap<String, String>,
}

#[async_trait]
impl Work for Exec {
    async fn run(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        let folder = context.folder;
        self.lay_out(context, folder)?;
        process::run(&self.command, folder, &self.environment, context).await?;
        untouched(context, folder)?;
        let mut outputs = BTreeMap::new();
        for path in &self.outputs {
            let made = folder.join(path);
            if !made.exists() {
                return Err(StageError::MissingOutput { path: path.clone() });
            }
            outputs.insert(path.clone(), context.store.take_path(&made)?);
        }
        Ok(RecordOutcome { outputs, ..RecordOutcome::default() })
    }
}

impl Exec {
    /// Puts copies of the inputs into the folder, each at its own path, and makes the folders of the outputs.
    fn lay_out(&self, context: &Context<'_>, folder: &Path) -> Result<(), StageError> {
        for given in context.inputs.values() {
            match given {
                Given::Artifact { name, artifact } => link(context, *artifact, &folder.join(name))?,
                Given::Files(files) => {
                    for (path, digest) in files {
                        let target = folder.join(path);
                        target.parent().map_or(Ok(()), make_folder)?;
                        copy(context, path, *digest, &target)?;
                    }
                }
            }
        }
        for path in &self.outputs {
            folder.join(path).parent().map_or(Ok(()), make_folder)?;
        }
        Ok(())
    }
}

/// Links an artifact into the folder, at a path that may lie deep in it.
fn link(context: &Context<'_>, artifact: Artifact, target: &Path) -> Result<(), StageError> {
    target.parent().map_or(Ok(()), make_folder)?;
    Ok(context.store.link(artifact, target)?)
}

/// Makes sure that the command did not write into its inputs: they are links to the objects of the store.
fn untouched(context: &Context<'_>, folder: &Path) -> Result<(), StageError> {
    for given in context.inputs.values() {
        let Given::Artifact { name, artifact: Artifact::File { digest, size } } = given else {
            continue;
        };
        let place = folder.join(name);
        let written = std::fs::symlink_metadata(&place).is_ok_and(|now| now.is_file() && (now.len() != *size || now.permissions().mode() & 0o222 != 0));
        if written && context.store.verify(*digest, *size).is_err() {
            return Err(StageError::InputWritten { path: name.clone() });
        }
    }
    Ok(())
}

fn make_folder(path: &Path) -> Result<(), StageError> {
    std::fs::create_dir_all(path).map_err(|source| StageError::Io { doing: "create", path: path.to_owned(), source })
}

/// A copy keeps the command from writing to the user's file, and shows what was copied to be what the key covers.
fn copy(context: &Context<'_>, path: &str, digest: Digest, target: &Path) -> Result<(), StageError> {
    let source = context.workspace.join(path);
    std::fs::copy(&source, target).map_err(|error| StageError::Io { doing: "copy", path: source, source: error })?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_mmap(target).map_err(|error| StageError::Io { doing: "read", path: target.to_owned(), source: error })?;
    let (found, program) = (Digest::from(hasher.finalize()), std::fs::metadata(target).is_ok_and(|target| target.permissions().mode() & 0o111 != 0));
    if digest == if program { found.of_program() } else { found } { Ok(()) } else { Err(StageError::InputChanged { path: path.to_owned() }) }
}
