use miette::{Diagnostic, SourceSpan};
use thiserror::Error;

/// Something that is allowed, and most likely not meant. `--deny warnings` makes it an error.
#[derive(Clone, Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the fields are the parts of the messages beside them")]
pub enum Lint {
    /// A parameter that nothing takes.
    #[error("nothing uses the parameter `{name}`")]
    #[diagnostic(code(config::unused_param), severity(Warning), help("take it by `(param)\"{name}\"` or `\"${{param.{name}}}\"`, or take it out"))]
    UnusedParam {
        name: String,
        #[label("declared here")]
        at: SourceSpan,
    },

    /// An axis that nothing takes.
    #[error("nothing uses the axis `{name}`")]
    #[diagnostic(
        code(config::unused_axis),
        severity(Warning),
        help("its instances do the same: take it by `(param)\"{name}\"` or `\"${{param.{name}}}\"`, or take it out")
    )]
    UnusedAxis {
        name: String,
        #[label("makes no difference")]
        at: SourceSpan,
    },

    /// A stage whose result nothing takes.
    #[error("nothing uses what `{name}` makes")]
    #[diagnostic(code(config::unused_stage), severity(Warning), help("refer to it from another stage, or take it out: it is made all the same"))]
    UnusedStage {
        name: String,
        #[label("made for nobody")]
        at: SourceSpan,
    },

    /// A gate that lets everything pass.
    #[error("this gate can never fail: {why}")]
    #[diagnostic(code(config::idle_gate), severity(Warning), help("choose a bound that a bad model would not hold, or take the gate out"))]
    IdleGate {
        why: String,
        #[label("lets everything pass")]
        at: SourceSpan,
    },

    /// A secret that stands in the file.
    #[error("this looks like {what}, in plain text")]
    #[diagnostic(
        code(config::plain_secret),
        severity(Warning),
        help("whoever reads the file has it: withdraw it, and write `(secret)\"NAME_OF_A_VARIABLE\"` where a secret is wanted")
    )]
    PlainSecret {
        what: String,
        #[label("readable for everybody")]
        at: SourceSpan,
    },

    /// A provider that soon takes no more jobs.
    #[error("`{provider}` takes new fine-tuning jobs up to {date}")]
    #[diagnostic(
        code(config::ending_provider),
        severity(Warning),
        help("another provider takes the same recipe: `provider` is one line, and `local` is this machine")
    )]
    EndingProvider {
        provider: String,
        date: String,
        #[label("soon takes no more")]
        at: SourceSpan,
    },

    /// A model that goes away.
    #[error("`{model}` {word} on {date}")]
    #[diagnostic(code(config::retiring_model), severity(Warning), help("what is tuned from it goes with it, most likely; start from a newer model"))]
    RetiringModel {
        model: String,
        word: String,
        date: String,
        #[label("retires")]
        at: SourceSpan,
    },
}
