use super::summary::StageSummary;

/// Something that a run tells while it goes on.
#[derive(Clone, Debug)]
pub enum Notice {
    /// An action of a stage began.
    Started {
        /// The stage.
        stage: String,
        /// The action.
        action: String,
        /// Why it is done.
        reasons: Vec<String>,
        /// How long it took when it was last done, in seconds.
        took: Option<f64>,
    },
    /// It is so far.
    Progress {
        /// The stage.
        stage: String,
        /// Done so far.
        done: u64,
        /// Of so many; 0 where that is not known.
        total: u64,
        /// What is counted.
        unit: String,
        /// What else there is to say.
        detail: String,
    },
    /// Something worth telling.
    Note {
        /// The stage.
        stage: String,
        /// What.
        message: String,
    },
    /// Another process is doing the same, and its result will serve.
    Waiting {
        /// The stage.
        stage: String,
    },
    /// A stage is over.
    Finished(StageSummary),
}

/// Somebody who wants to know how a run goes.
pub trait Observer: Send + Sync {
    /// Takes a notice.
    fn notice(&self, notice: Notice);
}
