use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};

use globset::GlobBuilder;

use crate::data::DataError;
use crate::fingerprint::{ActionKey, Content, Digest, Preimage, merkle};
use crate::graph::is_glob;
use crate::stage::{FileSource, Given, LARGE, StageError};
use crate::store::{Artifact, FileState, Reading, Store, TreeEntry, files_below};

use super::super::recipe::{ActionNode, NodeInput, Recipe};
use super::super::workspace::Workspace;

/// An action with all that its key covers looked at.
#[derive(Debug)]
pub struct Ready<'a> {
    /// Its key.
    pub key: ActionKey,
    recipe: &'a Recipe,
    node: &'a ActionNode,
    made: Vec<SeenArtifact<'a>>,
    files: Vec<SeenFile<'a>>,
    folders: Vec<Folder<'a>>,
    /// Files that stages made which are gone, and that are no input for that.
    left: Vec<String>,
}

/// What an action gets of an output of another.
#[derive(Debug)]
struct SeenArtifact<'a> {
    role: &'a str,
    maker: u32,
    what: Got,
}

#[derive(Debug)]
enum Got {
    Whole(Artifact),
    /// Some files of a folder, by path.
    Part(Vec<(String, Artifact)>),
}

impl SeenArtifact<'_> {
    /// Each as it goes into the key.
    fn contents(&self) -> Vec<(&str, Digest)> {
        match &self.what {
            Got::Whole(artifact) => vec![(self.role, artifact.identity())],
            Got::Part(files) => files.iter().map(|(path, artifact)| (path.as_str(), artifact.identity())).collect(),
        }
    }

    fn given(&self) -> Given {
        match &self.what {
            Got::Whole(artifact) => Given::Artifact { name: self.role.to_owned(), artifact: *artifact },
            Got::Part(files) => Given::Part(files.clone()),
        }
    }
}

/// Many files that one pattern means: they go into the key as one.
#[derive(Debug)]
struct Folder<'a> {
    pattern: &'a str,
    digest: Digest,
    /// Its files, as places in the list of all.
    files: Range<usize>,
}

/// A pattern that means more files than this is one input, with a digest over all of them.
const FOLDED: usize = 64;

/// A file of the workspace that goes into an action.
#[derive(Debug)]
struct SeenFile<'a> {
    /// The pattern that means it.
    pattern: &'a str,
    path: Cow<'a, str>,
    digest: Digest,
    state: FileState,
}

/// What was looked at already in this pass over the actions.
#[derive(Debug, Default)]
pub struct Seen<'a> {
    files: HashMap<(&'a str, Reading), (Digest, FileState)>,
    folders: HashMap<Digest, Vec<TreeEntry>>,
}

/// Looks at all inputs of an action. `made` holds the artifacts of the inputs that stages make, in their order.
pub fn ready<'a>(recipe: &'a Recipe, workspace: &Workspace, node: &'a ActionNode, made: &[Artifact], seen: &mut Seen<'a>) -> Result<Ready<'a>, StageError> {
    let (mut files, mut folders, mut left) = (Vec::new(), Vec::new(), Vec::new());
    for input in &node.inputs {
        let NodeInput::Files(FileSource { pattern, pinned, optional, reading }) = input else {
            continue;
        };
        if let Some((digest, state)) = single(recipe, workspace, pattern, *reading, seen).filter(|_| pinned.is_none()) {
            files.push(SeenFile { pattern, path: Cow::Borrowed(pattern), digest, state });
            continue;
        }
        let before = files.len();
        if let Some(pinned) = pinned {
            for (path, _) in &matches(recipe, workspace, pattern)?.files {
                let (found, _) = workspace.files.digest(path, Reading::Bytes)?;
                if found != *pinned {
                    return Err(StageError::PinMismatch { path: path.clone(), found: found.to_string() });
                }
            }
        }
        let look = || {
            let Matches { files, left } = matches(recipe, workspace, pattern)?;
            Ok::<_, StageError>((workspace.files.digests(files, *reading)?, left))
        };
        // A file may come and go while it is looked for: then it is looked once more.
        let (found, passed) = look().or_else(|error| if error.is_gone() { look() } else { Err(error) })?;
        files.extend(found.into_iter().map(|(path, digest, state)| SeenFile { pattern, path: Cow::Owned(path), digest, state }));
        if files.len() - before > FOLDED {
            let inside: Vec<(&str, Digest)> = files[before..].iter().map(|file: &SeenFile<'_>| (file.path.as_ref(), file.digest)).collect();
            folders.push(Folder { pattern, digest: merkle(&inside), files: before..files.len() });
        }
        if let Some(path) = passed.first().filter(|_| files.len() == before && !optional) {
            return Err(StageError::OnlyLeft { pattern: pattern.clone(), path: path.clone() });
        }
        left.extend(passed);
        if files.len() == before && !optional {
            return Err(DataError::NoSource { pattern: pattern.clone(), workspace: workspace.root.display().to_string() }.into());
        }
    }
    let made = roles(node).zip(made).map(|(made, artifact)| got(workspace, made, *artifact, seen)).collect::<Result<Vec<_>, _>>()?;
    let names = made.iter().flat_map(SeenArtifact::contents);
    let alone = alone(&files, &folders).map(|file| (file.path.as_ref(), file.digest));
    let folded = folders.iter().map(|folder| (folder.pattern, folder.digest));
    let mut inputs: Vec<(&str, Digest)> = names.chain(alone).chain(folded).collect();
    inputs.sort_unstable();
    inputs.dedup_by_key(|(name, _)| *name);
    let key = node.base.key(inputs.into_iter());
    Ok(Ready { key, recipe, node, made, files, folders, left })
}

/// The files that are inputs by themselves.
fn alone<'a, 'f>(files: &'f [SeenFile<'a>], folders: &'f [Folder<'a>]) -> impl Iterator<Item = &'f SeenFile<'a>> {
    files.iter().enumerate().filter(|(place, _)| !folders.iter().any(|folder| folder.files.contains(place))).map(|(_, file)| file)
}

/// The one file that most patterns mean, looked at once in a pass.
fn single<'a>(recipe: &Recipe, workspace: &Workspace, pattern: &'a str, reading: Reading, seen: &mut Seen<'a>) -> Option<(Digest, FileState)> {
    if let Some(known) = seen.files.get(&(pattern, reading)) {
        return Some(*known);
    }
    if matches!(plain(pattern), Cow::Owned(_)) || recipe.outputs.covers(pattern) {
        return None;
    }
    let found = workspace.files.digest(pattern, reading).ok()?;
    seen.files.insert((pattern, reading), found);
    Some(found)
}

/// An input that a stage makes: its role, its maker, and the output with what is wanted of it.
type Made<'a> = (&'a str, u32, &'a str, Option<&'a str>);

fn roles(node: &ActionNode) -> impl Iterator<Item = Made<'_>> {
    node.inputs.iter().filter_map(|input| match input {
        NodeInput::Made { role, maker, output, part } => Some((role.as_str(), *maker, output.as_str(), part.as_deref())),
        NodeInput::Files(_) => None,
    })
}

/// What an action gets of an output: all of it, or the files of it that it names.
fn got<'a>(workspace: &Workspace, (role, maker, output, part): Made<'a>, artifact: Artifact, seen: &mut Seen<'_>) -> Result<SeenArtifact<'a>, StageError> {
    let Some(part) = part else {
        return Ok(SeenArtifact { role, maker, what: Got::Whole(artifact) });
    };
    let missing = || StageError::NoPart { folder: output.to_owned(), part: part.to_owned() };
    if !matches!(artifact, Artifact::Tree { .. }) {
        return Err(missing());
    }
    let folder = match seen.folders.entry(artifact.digest()) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(place) => place.insert(workspace.store.tree(artifact)?),
    };
    let inside = format!("{part}/");
    let glob = GlobBuilder::new(part).literal_separator(true).build().ok().filter(|_| is_glob(part)).map(|glob| glob.compile_matcher());
    let meant = |path: &str| path == part || path.starts_with(&inside) || glob.as_ref().is_some_and(|glob| glob.is_match(path));
    let files = folder.iter().filter(|file| meant(&file.path)).map(|file| (format!("{output}/{}", file.path), file.artifact())).collect::<Vec<_>>();
    if files.is_empty() { Err(missing()) } else { Ok(SeenArtifact { role, maker, what: Got::Part(files) }) }
}

impl Ready<'_> {
    /// All that the key covers, to be kept and explained.
    pub fn preimage(&self) -> Result<Preimage, StageError> {
        let works = self.recipe.works(self.node.stage)?;
        let mut preimage = super::super::recipe::preimage(&self.recipe.stages[self.node.stage].kind, &works[self.node.place]);
        for made in &self.made {
            let maker = self.recipe.stage_name(self.recipe.actions.node(made.maker.into()));
            for (name, digest) in made.contents() {
                preimage.inputs.insert(name.to_owned(), Content { digest, origin: format!("made by `{maker}`"), listing: None });
            }
        }
        for file in alone(&self.files, &self.folders) {
            let content = Content { digest: file.digest, origin: "a file of the workspace".into(), listing: None };
            preimage.inputs.insert(file.path.clone().into_owned(), content);
        }
        for folder in &self.folders {
            let origin = format!("{} files of the workspace", folder.files.len());
            preimage.inputs.insert(folder.pattern.to_owned(), Content { digest: folder.digest, origin, listing: None });
        }
        Ok(preimage)
    }

    /// What there is to say of files that are no input, though a folder or glob means them.
    pub fn left_out(&self) -> Option<String> {
        let (first, more) = self.left.split_first()?;
        let others = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        Some(format!("not read: {first}{others}, made by a stage that the pipeline does not have like this any more; delete it, or name it by itself"))
    }

    /// Keeps the lists of files that stand behind a preimage, so that it can be explained later.
    pub fn keep_listings(&self, store: &Store, preimage: &mut Preimage) -> Result<(), StageError> {
        for folder in &self.folders {
            let files = self.files[folder.files.clone()].iter().map(|file| (file.path.as_ref(), file.digest));
            if let Some(content) = preimage.inputs.get_mut(folder.pattern) {
                content.listing = Some(store.put_listing(files)?);
            }
        }
        Ok(())
    }

    /// The files behind an input that is many of them, by path.
    pub fn inside(&self, input: &str) -> Option<BTreeMap<&str, Digest>> {
        let folder = self.folders.iter().find(|folder| folder.pattern == input)?;
        Some(self.files[folder.files.clone()].iter().map(|file| (file.path.as_ref(), file.digest)).collect())
    }

    /// The inputs as they are given to the work.
    pub fn given(&self) -> BTreeMap<String, Given> {
        let mut given: BTreeMap<String, Given> = self.made.iter().map(|made| (made.role.to_owned(), made.given())).collect();
        for input in &self.node.inputs {
            if let NodeInput::Files(FileSource { pattern, .. }) = input {
                let meant = self.files.iter().filter(|file| file.pattern == pattern);
                given.insert(pattern.clone(), Given::Files(meant.map(|file| (file.path.clone().into_owned(), file.digest)).collect()));
            }
        }
        given
    }

    /// A file that came under a folder or glob since it was looked at, or went from there.
    pub fn grew(&self, workspace: &Workspace) -> Option<String> {
        let files = self.node.inputs.iter().filter_map(|input| match input {
            NodeInput::Files(files) => Some(files),
            NodeInput::Made { .. } => None,
        });
        for FileSource { pattern, .. } in files {
            let before: BTreeSet<&str> = self.files.iter().filter(|file| file.pattern == pattern).map(|file| file.path.as_ref()).collect();
            let now: BTreeSet<String> = matches(self.recipe, workspace, pattern).ok()?.files.into_iter().map(|(path, _)| path).collect();
            let come = now.iter().find(|path| !before.contains(path.as_str())).cloned();
            let gone = || before.iter().find(|path| !now.contains(**path)).map(|path| (*path).to_owned());
            if let Some(path) = come.or_else(gone) {
                return Some(path);
            }
        }
        None
    }

    /// Makes sure that no file is reached through a link to what a stage writes: nobody would see that one needs the other.
    pub fn leads_nowhere_else(&self, workspace: &Workspace) -> Result<(), StageError> {
        let mut folders: HashMap<PathBuf, Option<PathBuf>> = HashMap::new();
        let root = workspace.root.canonicalize().unwrap_or_else(|_| workspace.root.clone());
        for file in &self.files {
            let place = root.join(file.path.as_ref());
            let Some((folder, name)) = place.parent().zip(place.file_name()) else {
                continue;
            };
            let real = if place.is_symlink() {
                place.canonicalize().ok()
            } else {
                let folder = folders.entry(folder.to_owned()).or_insert_with(|| folder.canonicalize().ok());
                folder.as_ref().filter(|real| *real != place.parent().unwrap_or(real)).map(|real| real.join(name))
            };
            let Some(target) = real.as_ref().and_then(|real| real.strip_prefix(&root).ok()?.to_str()) else {
                continue;
            };
            if self.recipe.outputs.covers(target) {
                return Err(StageError::LeadsInto { path: file.path.clone().into_owned(), target: target.to_owned() });
            }
        }
        Ok(())
    }

    /// Which of the files is not as it was when it was hashed. Work that is done in the workspace may have read anything that came
    /// and went meanwhile; other work has a copy, so that only what a file holds now counts, and a mere touch does not.
    pub fn touched(&self, workspace: &Workspace, in_place: bool) -> Option<&str> {
        let moved = |file: &&SeenFile<'_>| match workspace.files.state(&file.path) {
            Ok(state) if state == file.state => false,
            // From that size on the copy was not hashed.
            Ok(state) if !in_place && state.size() < LARGE => self.holds(file, workspace) != Some(file.digest),
            _ => true,
        };
        self.files.iter().find(moved).map(|file| file.path.as_ref())
    }

    fn holds(&self, file: &SeenFile<'_>, workspace: &Workspace) -> Option<Digest> {
        let reading = self.node.inputs.iter().find_map(|input| match input {
            NodeInput::Files(source) if source.pattern == file.pattern => Some(source.reading),
            _ => None,
        });
        workspace.files.digest(&file.path, reading?).ok().map(|(digest, _)| digest)
    }
}

/// The files that a path, folder or glob of the workspace means and no stage writes.
#[derive(Debug, Default)]
struct Matches {
    /// Sorted, with `/`, and their states.
    files: Vec<(String, FileState)>,
    /// Those that stages wrote which are gone.
    left: Vec<String>,
}

/// Looks for them.
fn matches(recipe: &Recipe, workspace: &Workspace, pattern: &str) -> Result<Matches, StageError> {
    let (root, plain) = (&workspace.root, plain(pattern));
    let kind = std::fs::metadata(root.join(plain.as_ref()));
    if kind.as_ref().is_ok_and(std::fs::Metadata::is_file) {
        let state = workspace.files.state(&plain)?;
        let files = if recipe.outputs.covers(&plain) { Vec::new() } else { vec![(plain.into_owned(), state)] };
        return Ok(Matches { files, left: Vec::new() });
    }
    let found = if kind.is_ok_and(|kind| kind.is_dir()) {
        files_below(root, &plain, &|_| true)?
    } else {
        let Ok(glob) = GlobBuilder::new(&plain).literal_separator(true).build() else {
            return Ok(Matches::default());
        };
        let fixed = plain.split('/').take_while(|part| !part.contains(['*', '?', '[', '{'])).collect::<Vec<_>>().join("/");
        if !root.join(&fixed).is_dir() {
            return Ok(Matches::default());
        }
        let matcher = glob.compile_matcher();
        let found = files_below(root, &fixed, &|path| matcher.is_match(path))?;
        if let Some(folder) = found.iter().find_map(|(path, _)| recipe.outputs.passed_over(&plain, path)) {
            return Err(StageError::ReachesInto { pattern: pattern.to_owned(), folder: folder.to_owned() });
        }
        found
    };
    // What retune writes itself is no input of a folder: it would change with every run.
    let own = |path: &str| path.starts_with("deployments/") || is_lock_file(root, path) || is_part(path);
    let mut matches = Matches::default();
    for (path, state) in found.into_iter().filter(|(path, _)| !recipe.outputs.covers(path) && !own(path)) {
        if workspace.is_left(&path) {
            matches.left.push(path);
        } else {
            matches.files.push((path, state));
        }
    }
    Ok(matches)
}

/// Whether a file is the lock file of a pipeline beside it, of the file alone or of one of its profiles. Other tools call theirs
/// so too.
fn is_lock_file(root: &Path, path: &str) -> bool {
    let Some(name) = path.strip_suffix(".lock.kdl") else {
        return false;
    };
    let is_pipeline = |stem: &str| root.join(format!("{stem}.kdl")).is_file();
    // Either may have dots in its name.
    is_pipeline(name) || name.match_indices('.').any(|(at, _)| is_pipeline(&name[..at]))
}

/// Whether a file is what a killed process left half written beside its place: `.NAME.PROCESS-NUMBER.part`.
fn is_part(path: &str) -> bool {
    let name = |part: &str| {
        let number = part.strip_prefix('.').and_then(|part| part.strip_suffix(".part")).and_then(|part| part.rsplit_once('.'));
        number.is_some_and(|(_, number)| number.split('-').count() == 2 && number.split('-').all(|digits| digits.parse::<u64>().is_ok()))
    };
    path.split('/').any(name)
}

/// A path in one spelling: no `./`, no `//`, no `/` at the end.
fn plain(pattern: &str) -> Cow<'_, str> {
    if pattern.split('/').all(|part| !part.is_empty() && part != ".") {
        return Cow::Borrowed(pattern);
    }
    Cow::Owned(pattern.split('/').filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>().join("/"))
}
