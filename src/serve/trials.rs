//! Versions that are tried beside others: what came of their answers, and what follows from that.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
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
    /// Until the answer began.
    pub took: Duration,
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
    notes: Mutex<Option<Sender<Note>>>,
    keeper: Mutex<Option<JoinHandle<()>>>,
    /// Requests whose answers somebody may grade yet.
    pub recent: Mutex<Recent>,
    /// Shadows that are asked at a time.
    pub shadows: Arc<Semaphore>,
}

/// So many shadows are asked at a time; what comes meanwhile is not copied.
const SHADOWS: usize = 16;

/// How often what was observed is written down.
const PUBLISH: Duration = Duration::from_secs(1);

impl Trials {
    /// Begins to keep account of the trials of a workspace; what is decided is told.
    pub fn new(store: Store, root: PathBuf, stages: Vec<StageDecl>, tell: UnboundedSender<String>) -> std::io::Result<Self> {
        let (notes, taken) = channel();
        let runtime = Handle::current();
        let keeper = Keeper { store, root, runtime, stages, tell, graders: BTreeMap::new(), books: BTreeMap::new() };
        let keeper = std::thread::Builder::new().name("trials".into()).spawn(move || keeper.keep(&taken))?;
        Ok(Self { notes: Mutex::new(Some(notes)), keeper: Mutex::new(Some(keeper)), recent: Mutex::default(), shadows: Arc::new(Semaphore::new(SHADOWS)) })
    }

    fn note(&self, note: Note) {
        if let Some(notes) = &*self.notes.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = notes.send(note);
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

/// The thread that keeps account.
#[derive(Debug)]
struct Keeper {
    store: Store,
    /// The folder of the workspace.
    root: PathBuf,
    runtime: Handle,
    stages: Vec<StageDecl>,
    tell: UnboundedSender<String>,
    graders: BTreeMap<Arc<str>, Vec<Box<dyn Grader>>>,
    books: BTreeMap<(Arc<str>, u32), Book>,
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
        let graders = self.graders.entry(Arc::clone(&arm.alias)).or_insert_with(|| live_graders(&self.stages, &arm.alias));
        let grade = text.filter(|_| !graders.is_empty() && !is_error).map(|text| {
            let scores = graders.iter().map(|grader| grader.score(Graded::new("", &text)));
            scores.sum::<f64>() / crate::grade::count(graders.len())
        });
        let is_graded = !graders.is_empty();
        let book = self.book(&arm);
        let observed = if arm.is_tried { &mut book.fresh.tried } else { &mut book.fresh.current };
        observed.errors.push(f64::from(u8::from(is_error)));
        if !is_error {
            observed.seconds.push(took.as_secs_f64().max(1e-6).ln());
        }
        grade.into_iter().for_each(|grade| observed.grades.push(grade));
        is_same.into_iter().for_each(|is_same| book.fresh.same.push(f64::from(u8::from(is_same))));
        self.decide(&arm, is_graded);
    }

    fn graded(&mut self, arm: &Arm, score: f64) {
        let book = self.book(arm);
        let observed = if arm.is_tried { &mut book.fresh.tried } else { &mut book.fresh.current };
        observed.grades.push(score);
        self.decide(arm, true);
    }

    fn book(&mut self, arm: &Arm) -> &mut Book {
        let key = (Arc::clone(&arm.alias), arm.trial.version);
        let store = &self.store;
        let book = self.books.entry(key).or_insert_with(|| Book {
            trial: arm.trial.clone(),
            published: Tallies::read(store, &arm.alias, arm.trial.version),
            fresh: Tallies::default(),
            since: None,
            is_over: false,
        });
        book.trial.clone_from(&arm.trial);
        book.since.get_or_insert_with(Instant::now);
        book
    }

    /// Does what follows from the observations, once all gateways' are put together.
    fn decide(&mut self, arm: &Arm, is_graded: bool) {
        let Some(book) = self.books.get_mut(&(Arc::clone(&arm.alias), arm.trial.version)).filter(|book| !book.is_over) else {
            return;
        };
        let mut sum = book.published;
        sum.add(&book.fresh);
        if sum.decide(&book.trial, is_graded) == Decision::Open {
            return;
        }
        let store = &self.store;
        let decided = book.fresh.publish(store, &arm.alias, book.trial.version).map(|sum| {
            (book.published, book.fresh, book.since) = (sum, Tallies::default(), None);
            sum.decide(&book.trial, is_graded)
        });
        let version = book.trial.version;
        let (is_good, why) = match decided {
            Ok(Decision::Open) => return,
            Ok(Decision::Promote) => (true, String::new()),
            Ok(Decision::Return(why)) => (false, why),
            Err(error) => {
                let _ = self.tell.send(format!("what was observed of `{}` cannot be written down: {error}", arm.alias));
                return;
            }
        };
        let changed = Alias::change(store, &self.root, &arm.alias, |alias| {
            // Somebody else may have ended it meanwhile.
            if alias.trial.as_ref().is_some_and(|trial| trial.version == version) {
                if is_good {
                    alias.promote();
                } else {
                    alias.end_trial(Timestamp::now(), Some(why.clone()));
                }
            }
            Ok(())
        });
        book.is_over = changed.is_ok();
        if changed.is_ok() {
            // Those who know the version by other ways than this gateway.
            let (store, root, alias, tell) = (store.clone(), self.root.clone(), Arc::clone(&arm.alias), self.tell.clone());
            self.runtime.spawn(async move {
                let untold = inform(&store, &root, &alias).await.unwrap_or_else(|error| vec![error.to_string()]);
                untold.into_iter().for_each(|problem| drop(tell.send(problem)));
            });
        }
        let _ = self.tell.send(match changed {
            Ok(alias) if is_good => format!("`{}` is version {} now: it is shown to be good enough", alias.name, alias.current),
            Ok(alias) => format!("`{}` stays version {}, and version {version} goes back: {why}", alias.name, alias.current),
            Err(error) => format!("`{}` cannot be changed: {error}", arm.alias),
        });
    }

    /// Writes down what was observed for a while, or all of it.
    fn publish(&mut self, all: bool) {
        for ((alias, version), book) in &mut self.books {
            if !book.since.is_some_and(|since| all || since.elapsed() >= PUBLISH) {
                continue;
            }
            match book.fresh.publish(&self.store, alias, *version) {
                Ok(sum) => (book.published, book.fresh, book.since) = (sum, Tallies::default(), None),
                // It is tried again after a while.
                Err(_) => book.since = Some(Instant::now()),
            }
        }
    }
}
