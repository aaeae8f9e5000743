//! A local model that answers: one thread goes on with all conversations together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::model::{Fitted, Model, Session, Spoken, Wish};

use super::chat::ANSWERS;
use super::refusal::Refusal;

/// Conversations that go on together.
const WIDEST: usize = 16;

/// A model that is loaded.
#[derive(Debug)]
pub struct Engine {
    asks: mpsc::Sender<Ask>,
    next: AtomicU64,
    pub model: Arc<Model>,
    /// The most tokens of a prompt and its answer.
    pub context: usize,
}

#[derive(Debug)]
struct Ask {
    number: u64,
    wish: Wish,
    tell: mpsc::UnboundedSender<Spoken>,
}

impl Engine {
    /// Begins to answer with a model; `queue` answers may wait, and at least those of one request. It ends when this is dropped and all is said.
    ///
    /// # Errors
    /// When there can be no thread for it.
    pub fn start(model: Model, queue: usize) -> std::io::Result<Self> {
        let (asks, asked) = mpsc::channel(queue.max(ANSWERS));
        let model = Arc::new(model);
        let context = model.parameters().architecture.context;
        let asked_of = Arc::clone(&model);
        std::thread::Builder::new().name("model".into()).spawn(move || answer(&asked_of, asked))?;
        Ok(Self { asks, next: AtomicU64::new(0), model, context })
    }

    /// Whether it has stopped.
    pub fn is_over(&self) -> bool {
        self.asks.is_closed()
    }

    /// Asks for answers, each of which comes token by token. Who is not there any more is not answered further.
    ///
    /// # Errors
    /// When the prompt is too long, or too many wait.
    pub fn ask(&self, wishes: Vec<Wish>) -> Result<Vec<mpsc::UnboundedReceiver<Spoken>>, Refusal> {
        if wishes.iter().any(|wish| wish.prompt.len() >= self.context) {
            return Err(Refusal::TooLong { most: self.context });
        }
        // All of them or none: one that waits for the others to be answered would take their place.
        let places = self.asks.try_reserve_many(wishes.len()).map_err(|error| match error {
            TrySendError::Full(()) => Refusal::Busy { what: "too many requests wait for this model".into(), seconds: 1 },
            TrySendError::Closed(()) => Refusal::Broken { problem: "the model has stopped".into() },
        })?;
        let asked = places.zip(wishes).map(|(place, wish)| {
            // An answer has at most as many parts as it has tokens.
            let (tell, told) = mpsc::unbounded_channel();
            place.send(Ask { number: self.next.fetch_add(1, Ordering::Relaxed), wish, tell });
            told
        });
        Ok(asked.collect())
    }
}

fn answer(model: &Model, mut asked: mpsc::Receiver<Ask>) {
    let fitted = model.adapter().map(|adapter| Fitted::new(adapter, model.parameters()));
    let mut session = Session::new(model.parameters(), fitted.as_ref(), model.chat());
    let mut tell: BTreeMap<u64, mpsc::UnboundedSender<Spoken>> = BTreeMap::new();
    loop {
        while session.len() < WIDEST {
            let ask = if session.is_empty() { asked.blocking_recv() } else { asked.try_recv().ok() };
            match ask {
                // Whoever waited until nobody was there any more is not answered.
                Some(ask) if ask.tell.is_closed() => {}
                Some(Ask { number, wish, tell: to }) => {
                    // That there is room was looked at before; who is told nothing is told so by the end of it.
                    if session.begin(number, wish).is_ok() {
                        tell.insert(number, to);
                    }
                }
                None if session.is_empty() => return,
                None => break,
            }
        }
        for spoken in session.step() {
            let (number, is_last) = (spoken.number, spoken.end.is_some());
            let is_gone = tell.get(&number).is_none_or(|tell| tell.send(spoken).is_err());
            if is_gone {
                session.forget(number);
            }
            if is_gone || is_last {
                tell.remove(&number);
            }
        }
    }
}
