//! Versions that are tried beside others: what came of their answers, and what follows from that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;

use crate::config::StageDecl;
use crate::grade::grader::{Graded, Grader};
use crate::ledger::{Alias, Trial};
use crate::stage::{Decision, Tallies, inform, live_graders};
use crate::store::Store;

use super::arm::Arm;
use super::recent::Recent;

/// What came of a request.
#[derive(Debug)]
pub struct Outcome {
    pub arm: Arm,
    /// Whether there was no answer, or half of one.
    pub is_error: bool,
    /// Until all of it was there, where it came to its end.
    pub took: Option<Duration>,
    /// What was said, all of it.
    pub text: Option<String>,
    /// Of a shadow: whether it said the same.
    pub is_same: Option<bool>,
}

#[derive(Debug)]
enum Note {
    Answered(Outcome),
    Graded(Arm, f64),
}

/// All trials of a gateway.
#[derive(Debug)]
pub struct Trials {
    notes: Mutex<Option<SyncSender<Note>>>,
    keeper: Mutex<Option<JoinHandle<()>>>,
    /// Requests whose answers somebody may grade yet.
    pub recent: Mutex<Recent>,
    /// Shadows that are asked at a time.
    pub shadows: Arc<Semaphore>,
}

/// So many shadows are asked at a time; what comes meanwhile is not copied.
const SHADOWS: usize = 16;

/// So many observations may wait to be taken in.
const WAITING: usize = 10_000;

/// How often what was observed is written down.
const PUBLISH: Duration = Duration::from_secs(1);

impl Trials {
    /// Begins to keep account of the trials of a workspace; what is decided is told.
    pub fn new(store: Store, root: PathBuf, stages: Vec<StageDecl>, tell: UnboundedSender<String>) -> std::io::Result<Self> {
        let (notes, taken) = sync_channel(WAITING);
        let runtime = Handle::current();
        let keeper = Keeper { store, root, runtime, stages, tell, graders: BTreeMap::new(), books: BTreeMap::new(), told: BTreeSet::new() };
        let keeper = std::thread::Builder::new().name("trials".into()).spawn(move || keeper.keep(&taken))?;
        Ok(Self { notes: Mutex::new(Some(notes)), keeper: Mutex::new(Some(keeper)), recent: Mutex::default(), shadows: Arc::new(Semaphore::new(SHADOWS)) })
    }

    fn note(&self, note: Note) {
        if let Some(notes) = &*self.notes.lock().unwrap_or_else(PoisonError::into_inner) {
            // What cannot be taken in now says as much of one version as of the other.
            let _ = notes.try_send(note);
        }
    }

    /// Takes in what came of a request.
    pub fn observe(&self, outcome: Outcome) {
        self.note(Note::Answered(outcome));
    }

    /// Takes in how good somebody found the answer to a request, from 0 to 1. Whether there is such a request.
    pub fn grade(&self, request: &str, score: f64) -> bool {
        let arm = self.recent.lock().unwrap_or_else(PoisonError::into_inner).take(request);
        let is_known = arm.is_some();
        arm.into_iter().for_each(|arm| self.note(Note::Graded(arm, score)));
        is_known
    }

    /// Writes down what was observed, and ends.
    pub fn end(&self) {
        drop(self.notes.lock().unwrap_or_else(PoisonError::into_inner).take());
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A thread that panicked has nothing more to write.
        keeper.map(JoinHandle::join);
    }
}

/// The graders of an alias, with their digest.
type Known = (String, Vec<Box<dyn Grader>>);

/// The thread that keeps account.
#[derive(Debug)]
struct Keeper {
    store: Store,
    /// The folder of the workspace.
    root: PathBuf,
    runtime: Handle,
    stages: Vec<StageDecl>,
    tell: UnboundedSender<String>,
    graders: BTreeMap<Arc<str>, Option<Known>>,
    /// By the names of the trials.
    books: BTreeMap<Arc<str>, Book>,
    /// What was told already, so that it is not told for each answer.
    told: BTreeSet<String>,
}

/// The account of one trial.
#[derive(Debug)]
struct Book {
    trial: Trial,
    /// What all gateways had observed when it was last written down, and what was observed here since.
    published: Tallies,
    fresh: Tallies,
    /// Since when there is something to write down.
    since: Option<Instant>,
    is_over: bool,
}

impl Keeper {
    fn keep(mut self, notes: &Receiver<Note>) {
        loop {
            match notes.recv_timeout(PUBLISH) {
                Ok(Note::Answered(outcome)) => self.answered(outcome),
                Ok(Note::Graded(arm, score)) => self.graded(&arm, score),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.publish(false);
        }
        self.publish(true);
    }

    fn answered(&mut self, outcome: Outcome) {
        let Outcome { arm, is_error, took, text, is_same } = outcome;
        let known = self.graders.entry(Arc::clone(&arm.alias)).or_insert_with(|| live_graders(&self.stages, &arm.alias));
        let graders = known.as_ref().filter(|(digest, _)| Some(digest) == arm.trial.graders.as_ref()).map(|(_, graders)| graders);
        let grade = text.zip(graders).filter(|_| !is_error).map(|(text, graders)| {
            let scores = graders.iter().map(|grader| grader.score(Graded::new("", &text)));
            scores.sum::<f64>() / crate::grade::count(graders.len())
        });
        if arm.trial.graders.is_some() && graders.is_none() {
            let text = format!("`{}` is tried with graders that this gateway does not know: start it again, with the pipeline that deploys it", arm.alias);
            self.tell_once(text);
        }
        let Some(book) = self.book(&arm) else {
            return;
        };
        let observed = if arm.is_tried { &mut book.fresh.tried } else { &mut book.fresh.current };
        observed.errors.push(f64::from(u8::from(is_error)));
        took.filter(|_| !is_error).into_iter().for_each(|took| observed.seconds.push(took.as_secs_f64().max(1e-6).ln()));
        grade.into_iter().for_each(|grade| observed.grades.push(grade));
        is_same.into_iter().for_each(|is_same| book.fresh.same.push(f64::from(u8::from(is_same))));
        self.decide(&arm);
    }

    fn graded(&mut self, arm: &Arm, score: f64) {
        let Some(book) = self.book(arm) else {
            return;
        };
        let observed = if arm.is_tried { &mut book.fresh.tried } else { &mut book.fresh.current };
        observed.scores.push(score);
        self.decide(arm);
    }

    fn tell_once(&mut self, text: String) {
        if self.told.insert(text.clone()) {
            let _ = self.tell.send(text);
        }
    }

    /// The account of a trial, with what all gateways had observed before. What that is must be known.
    fn book(&mut self, arm: &Arm) -> Option<&mut Book> {
        if !self.books.contains_key(&arm.name) {
            match Tallies::read(&self.store, &arm.name) {
                Ok(published) => {
                    let book = Book { trial: arm.trial.clone(), published, fresh: Tallies::default(), since: None, is_over: false };
                    self.books.insert(Arc::clone(&arm.name), book);
                }
                Err(error) => {
                    self.tell_once(format!("what was observed of `{}` cannot be read: {error}", arm.alias));
                    return None;
                }
            }
        }
        let book = self.books.get_mut(&arm.name)?;
        book.since.get_or_insert_with(Instant::now);
        Some(book)
    }

    /// Does what follows from the observations, once all gateways' are put together.
    fn decide(&mut self, arm: &Arm) {
        let Some(book) = self.books.get_mut(&arm.name).filter(|book| !book.is_over) else {
            return;
        };
        let mut sum = book.published;
        sum.add(&book.fresh);
        if sum.decide(&book.trial) == Decision::Open {
            return;
        }
        let store = &self.store;
        let decided = book.fresh.publish(store, &arm.name).map(|sum| {
            (book.published, book.fresh, book.since) = (sum, Tallies::default(), None);
            sum.decide(&book.trial)
        });
        let version = book.trial.version;
        let (is_good, why) = match decided {
            Ok(Decision::Open) => return,
            Ok(Decision::Promote) => (true, String::new()),
            Ok(Decision::Return(why)) => (false, why),
            Err(error) => {
                self.tell_once(format!("what was observed of `{}` cannot be written down: {error}", arm.alias));
                return;
            }
        };
        let mut is_changed = false;
        let changed = Alias::change(store, &self.root, &arm.alias, |alias| {
            // Somebody else may have ended it meanwhile.
            if alias.trial_name().is_some_and(|name| *name == *arm.name) {
                is_changed = true;
                if is_good {
                    alias.promote();
                } else {
                    alias.end_trial(Timestamp::now(), Some(why.clone()));
                }
            }
            Ok(())
        });
        book.is_over = changed.is_ok();
        if is_changed && changed.is_ok() {
            // Those who know the version by other ways than this gateway.
            let (store, root, alias, tell) = (store.clone(), self.root.clone(), Arc::clone(&arm.alias), self.tell.clone());
            self.runtime.spawn(async move {
                let untold = inform(&store, &root, &alias).await.unwrap_or_else(|error| vec![error.to_string()]);
                untold.into_iter().for_each(|problem| drop(tell.send(problem)));
            });
        }
        let text = match changed {
            Ok(_) if !is_changed => return,
            Ok(alias) if is_good => format!("`{}` is version {} now: it is shown to be good enough", alias.name, alias.current),
            Ok(alias) => format!("`{}` stays version {}, and version {version} goes back: {why}", alias.name, alias.current),
            Err(error) => format!("`{}` cannot be changed: {error}", arm.alias),
        };
        self.tell_once(text);
    }

    /// Writes down what was observed for a while, or all of it.
    fn publish(&mut self, all: bool) {
        for (name, book) in &mut self.books {
            if !book.since.is_some_and(|since| all || since.elapsed() >= PUBLISH) {
                continue;
            }
            match book.fresh.publish(&self.store, name) {
                Ok(sum) => (book.published, book.fresh, book.since) = (sum, Tallies::default(), None),
                // It is tried again after a while.
                Err(_) => book.since = Some(Instant::now()),
            }
        }
    }
}
