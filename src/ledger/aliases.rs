use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::fingerprint::{ActionKey, Digest};
use crate::store::{Lock, Store, write_atomically};

use super::LedgerError;
use super::kdl_text::{self, child_text, inside, property, quoted, text};
use super::manifest::{Manifest, Target};
use super::outward::Outward;
use super::trial::Trial;

/// A name that users of a model know, and the versions that it has stood for. Kept in
/// `deployments/ALIAS.kdl` of the workspace, to be committed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alias {
    /// The alias.
    pub name: String,
    /// The number of the version that it stands for now.
    pub current: u32,
    /// All versions, oldest first, numbered from 1.
    pub versions: Vec<Version>,
    /// Files of the workspace that tell programs what it stands for.
    pub targets: Vec<Target>,
    /// Whoever outside is brought to what it stands for.
    pub outward: Vec<Outward>,
    /// The version that is tried beside the one that it stands for.
    pub trial: Option<Trial>,
}

/// Where a model is, and what it is called there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The provider.
    pub provider: String,
    /// The model that it was made from.
    pub base: String,
    /// Its name at the provider, or the kind of its files.
    pub name: String,
    /// Where it is asked, where that is a server.
    pub at: Option<ServedAt>,
}

/// A server, for programs that ask it without us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedAt {
    /// The protocol.
    pub api: String,
    /// The address.
    pub url: String,
    /// What the model is called when it is asked.
    pub asked_as: String,
    /// The environment variable with the key, where it stands in one.
    pub key: Option<String>,
}

/// One version of an alias. It never changes once it is written, but for being marked as rolled back.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    /// The deploy stage's fingerprint: the same fingerprint is the same version.
    pub fingerprint: ActionKey,
    /// The model in words: provider and name.
    pub model: String,
    /// Where it is; versions of earlier releases do not tell.
    pub served: Option<Served>,
    /// The model's files in the store.
    pub artifact: Digest,
    /// The verdict of each stage that was required, by content.
    pub verdicts: BTreeMap<String, Digest>,
    /// The metrics that it was deployed on.
    pub metrics: BTreeMap<String, f64>,
    /// When.
    pub deployed: Timestamp,
    /// When it was rolled back, if it was.
    pub rolled_back: Option<Timestamp>,
    /// Why it went back, where nobody asked for it.
    pub why: Option<String>,
    /// When its model was deleted at the provider, if it was.
    pub deleted: Option<Timestamp>,
    /// What came of a look at what it answers, where one is made.
    pub live: Option<LiveCheck>,
}

/// How a look at what an alias answers stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveCheck {
    /// It was not made yet.
    Open,
    /// It answers as the model that was judged.
    Passed,
    /// It does not, and the alias went back.
    Failed,
}

impl LiveCheck {
    const WORDS: [(Self, &'static str); 3] = [(Self::Open, "open"), (Self::Passed, "passed"), (Self::Failed, "failed")];
}

impl Version {
    /// Whether an alias may go back to it: nobody went back from it, its model is there, and it is not left unlooked at.
    fn is_there(&self) -> bool {
        self.rolled_back.is_none() && self.deleted.is_none() && self.live != Some(LiveCheck::Open)
    }
}

impl Alias {
    fn folder(workspace: &Path) -> PathBuf {
        workspace.join("deployments")
    }

    /// The file of an alias.
    #[must_use]
    pub fn path(workspace: &Path, name: &str) -> PathBuf {
        Self::folder(workspace).join(format!("{name}.kdl"))
    }

    /// The model card of one of its versions.
    #[must_use]
    pub fn card(workspace: &Path, name: &str, version: u32) -> PathBuf {
        Self::folder(workspace).join(format!("{name}-{version}.md"))
    }

    /// Reads an alias; one that was never deployed has no versions.
    ///
    /// # Errors
    /// When its file cannot be read, or is not what retune writes.
    pub fn read(workspace: &Path, name: &str) -> Result<Self, LedgerError> {
        let path = Self::path(workspace, name);
        let empty = Self { name: name.to_owned(), ..Self::default() };
        let Some(document) = kdl_text::read(&path)? else {
            return Ok(empty);
        };
        let broken = |problem: &str| LedgerError::Unreadable { path: path.clone(), problem: problem.to_owned() };
        let mut alias = empty;
        for node in document.nodes() {
            match node.name().value() {
                "current" => {
                    let number = node.get(0).and_then(|value| value.as_integer()).and_then(|number| u32::try_from(number).ok());
                    alias.current = number.ok_or_else(|| broken("`current` is no version number"))?;
                }
                "canary" | "shadow" => alias.trial = Some(Trial::parse(node).ok_or_else(|| broken("the trial lacks something"))?),
                "target" => alias.targets.push(target(node).ok_or_else(|| broken("how a target is written is not known"))?),
                "webhook" | "azure" | "export" => alias.outward.push(Outward::parse(node).ok_or_else(|| broken("a target lacks something"))?),
                "version" => alias.versions.push(version(node).ok_or_else(|| broken("a version lacks something"))?),
                _ => {}
            }
        }
        let tried = alias.trial.as_ref().map_or(1, |trial| trial.version as usize);
        if alias.current as usize > alias.versions.len() || !(1..=alias.versions.len().max(1)).contains(&tried) {
            return Err(broken("the current version is not among the versions"));
        }
        Ok(alias)
    }

    /// The names of all aliases of a workspace.
    #[must_use]
    pub fn names(workspace: &Path) -> Vec<String> {
        let entries = fs::read_dir(Self::folder(workspace)).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".kdl").map(str::to_owned));
        let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        names
    }

    /// All aliases of a workspace, by name.
    ///
    /// # Errors
    /// When one of the files cannot be read.
    pub fn all(workspace: &Path) -> Result<Vec<Self>, LedgerError> {
        Self::names(workspace).iter().map(|name| Self::read(workspace, name)).collect()
    }

    /// Changes an alias, while no other process does.
    ///
    /// # Errors
    /// When the file cannot be read or written, or the change fails.
    pub fn change(store: &Store, workspace: &Path, name: &str, change: impl FnOnce(&mut Self) -> Result<(), LedgerError>) -> Result<Self, LedgerError> {
        let _lock = Lock::wait(store, &format!("deployments/{name}"))?;
        let mut alias = Self::read(workspace, name)?;
        change(&mut alias)?;
        let folder = Self::folder(workspace);
        fs::create_dir_all(&folder).map_err(LedgerError::io("create", &folder))?;
        write_atomically(&Self::path(workspace, name), alias.render().as_bytes())?;
        for (path, text) in alias.told() {
            let place = workspace.join(path);
            let Some(text) = text else {
                // It stands for nothing, and a file of ours must not say otherwise.
                match fs::remove_file(&place) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(LedgerError::io("remove", &place)(error)),
                    _ => continue,
                }
            };
            place.parent().map_or(Ok(()), fs::create_dir_all).map_err(LedgerError::io("create", &place))?;
            write_atomically(&place, text.as_bytes())?;
        }
        Ok(alias)
    }

    /// What its targets hold.
    fn told(&self) -> impl Iterator<Item = (&str, Option<String>)> {
        self.targets.iter().map(|target| (target.path.as_str(), target.render(self)))
    }

    /// Whether its targets hold what they should.
    #[must_use]
    pub fn is_told(&self, workspace: &Path) -> bool {
        self.told().all(|(path, text)| fs::read_to_string(workspace.join(path)).ok() == text)
    }

    fn render(&self) -> String {
        let mut out = String::from("// Written by retune, to be committed: which versions this alias has stood for.\n");
        let _ = writeln!(out, "alias {}\ncurrent {}", quoted(&self.name), self.current);
        if let Some(trial) = &self.trial {
            let _ = writeln!(out, "{}", trial.render());
        }
        for target in &self.targets {
            let _ = write!(out, "target {}", quoted(&target.path));
            if Manifest::of(&target.path) != Some(target.manifest) {
                let _ = write!(out, " format={}", quoted(target.manifest.name()));
            }
            if let Some(copy) = &target.copy {
                let _ = write!(out, " copy={}", quoted(copy));
            }
            if let Some(gateway) = &target.gateway {
                let _ = write!(out, " gateway={}", quoted(gateway));
            }
            out.push('\n');
        }
        for outward in &self.outward {
            let _ = writeln!(out, "{}", outward.render());
        }
        for (index, version) in self.versions.iter().enumerate() {
            let _ = writeln!(out, "\nversion {} {{", index + 1);
            let _ = writeln!(out, "    deployed \"{}\"", version.deployed);
            if let Some(time) = version.rolled_back {
                let _ = writeln!(out, "    rolled-back \"{time}\"");
            }
            if let Some(why) = &version.why {
                let _ = writeln!(out, "    why {}", quoted(why));
            }
            if let Some((_, word)) = LiveCheck::WORDS.iter().find(|(live, _)| Some(*live) == version.live) {
                let _ = writeln!(out, "    live-check \"{word}\"");
            }
            if let Some(time) = version.deleted {
                let _ = writeln!(out, "    deleted \"{time}\"");
            }
            let _ = writeln!(out, "    model {} blake3=\"{}\"", quoted(&version.model), version.artifact);
            if let Some(Served { provider, base, name, at }) = &version.served {
                let _ = write!(out, "    served provider={} base={} name={}", quoted(provider), quoted(base), quoted(name));
                if let Some(ServedAt { api, url, asked_as, key }) = at {
                    let _ = write!(out, " api={} url={} asked-as={}", quoted(api), quoted(url), quoted(asked_as));
                    key.iter().for_each(|key| {
                        let _ = write!(out, " key={}", quoted(key));
                    });
                }
                out.push('\n');
            }
            let _ = writeln!(out, "    fingerprint \"{}\"", version.fingerprint);
            for (stage, verdict) in &version.verdicts {
                let _ = writeln!(out, "    verdict {} blake3=\"{verdict}\"", quoted(stage));
            }
            for (metric, value) in &version.metrics {
                let _ = writeln!(out, "    metric {} {value:?}", quoted(metric));
            }
            out.push_str("}\n");
        }
        out
    }

    /// The version that holds now.
    #[must_use]
    pub fn now(&self) -> Option<&Version> {
        self.version(self.current)
    }

    /// The number of the version that was deployed last and holds: the one that is tried, or else the current one.
    #[must_use]
    pub fn latest(&self) -> u32 {
        self.trial.as_ref().map_or(self.current, |trial| trial.version)
    }

    /// The name of the trial that there is: another one for each version, and for each way of trying it.
    #[must_use]
    pub fn trial_name(&self) -> Option<String> {
        let trial = self.trial.as_ref()?;
        let version = self.version(trial.version)?;
        let of = format!("{}\0{}\0{}\0{}", version.fingerprint, version.artifact, version.deployed, trial.render());
        Some(format!("{}-{}-{}", self.name, trial.version, Digest::of(of.as_bytes()).short()))
    }

    /// A version by its number.
    #[must_use]
    pub fn version(&self, number: u32) -> Option<&Version> {
        self.versions.get((number as usize).checked_sub(1)?)
    }

    /// The numbers of the versions that stand for a model, in words.
    pub fn of_model<'a>(&'a self, model: &'a str) -> impl Iterator<Item = u32> + 'a {
        (1..).zip(&self.versions).filter(move |(_, version)| version.model == model).map(|(number, _)| number)
    }

    /// Adds a version and makes it the current one, or the one that is tried. One that was tried before is no more.
    pub fn deploy(&mut self, version: Version, trial: Option<Trial>) {
        self.end_trial(version.deployed, Some("another one was deployed".to_owned()));
        self.versions.push(version);
        let number = u32::try_from(self.versions.len()).unwrap_or(u32::MAX);
        match trial {
            Some(trial) => self.trial = Some(Trial { version: number, ..trial }),
            None => self.current = number,
        }
    }

    /// Makes the version that is tried the current one.
    pub fn promote(&mut self) {
        if let Some(trial) = self.trial.take() {
            self.current = trial.version;
        }
    }

    /// Ends a trial without success. Returns the version that was tried, if one was.
    pub fn end_trial(&mut self, now: Timestamp, why: Option<String>) -> Option<u32> {
        let trial = self.trial.take()?;
        if let Some(version) = self.versions.get_mut(trial.version as usize - 1) {
            (version.rolled_back, version.why) = (Some(now), why);
        }
        Some(trial.version)
    }

    /// Takes what came of a look at what the latest version answers: where that is not what was judged, it goes back, or stands for nothing.
    pub fn looked(&mut self, passed: bool, now: Timestamp) {
        let Some(version) = (self.latest() as usize).checked_sub(1).and_then(|index| self.versions.get_mut(index)) else {
            return;
        };
        version.live = Some(if passed { LiveCheck::Passed } else { LiveCheck::Failed });
        if !passed && self.roll_back(now).is_err() {
            self.versions[self.current as usize - 1].rolled_back = Some(now);
            self.current = 0;
        }
    }

    /// Ends the trial, if there is one. Else goes back to the nearest earlier version that was not itself rolled back, and whose model is
    /// still there. Returns the number of the version that holds then.
    ///
    /// # Errors
    /// When there is none, or nothing was ever deployed.
    pub fn roll_back(&mut self, now: Timestamp) -> Result<u32, LedgerError> {
        if self.end_trial(now, None).is_some() {
            return Ok(self.current);
        }
        let Some(earlier) = self.earlier() else {
            return Err(LedgerError::NoEarlierVersion { alias: self.name.clone(), current: self.current });
        };
        self.versions[self.current as usize - 1].rolled_back = Some(now);
        self.current = earlier;
        Ok(self.current)
    }

    /// The version that holds once the current one goes back.
    #[must_use]
    pub fn earlier(&self) -> Option<u32> {
        (1..self.current).rev().find(|&number| self.versions[number as usize - 1].is_there())
    }
}

fn served(node: &kdl::KdlNode) -> Option<Served> {
    let part = |name| property(node, name).map(str::to_owned);
    let at = || Some(ServedAt { api: part("api")?, url: part("url")?, asked_as: part("asked-as")?, key: part("key") });
    Some(Served { provider: part("provider")?, base: part("base")?, name: part("name")?, at: at() })
}

fn target(node: &kdl::KdlNode) -> Option<Target> {
    let path = text(node)?.to_owned();
    let manifest = property(node, "format").map_or_else(|| Manifest::of(&path), Manifest::named)?;
    Some(Target { path, manifest, copy: property(node, "copy").map(str::to_owned), gateway: property(node, "gateway").map(str::to_owned) })
}

fn version(node: &kdl::KdlNode) -> Option<Version> {
    let model = inside(node).iter().find(|child| child.name().value() == "model")?;
    let named = |name: &'static str| inside(node).iter().filter(move |child| child.name().value() == name);
    let verdicts = named("verdict").filter_map(|child| Some((text(child)?.to_owned(), property(child, "blake3")?.parse().ok()?)));
    let metrics = named("metric").filter_map(|child| Some((text(child)?.to_owned(), child.get(1)?.as_float()?)));
    Some(Version {
        fingerprint: ActionKey(child_text(node, "fingerprint")?.parse().ok()?),
        model: text(model)?.to_owned(),
        served: named("served").next().and_then(served),
        artifact: property(model, "blake3")?.parse().ok()?,
        verdicts: verdicts.collect(),
        metrics: metrics.collect(),
        deployed: child_text(node, "deployed")?.parse().ok()?,
        rolled_back: child_text(node, "rolled-back").and_then(|time| time.parse().ok()),
        why: child_text(node, "why").map(str::to_owned),
        deleted: child_text(node, "deleted").and_then(|time| time.parse().ok()),
        live: child_text(node, "live-check").and_then(|text| LiveCheck::WORDS.iter().find(|(_, word)| *word == text)).map(|(live, _)| *live),
    })
}
