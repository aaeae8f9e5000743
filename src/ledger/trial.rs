//! A version that is tried beside the one that an alias stands for.

use kdl::{KdlNode, KdlValue};

use super::kdl_text::property;

/// Which version is tried, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// Its number.
    pub version: u32,
    /// The share of the requests that it gets, from 0 to 1.
    pub share: f64,
    /// What becomes of it.
    pub way: TrialWay,
    /// What grades its answers while they are given, by a digest; nothing where nothing does.
    pub graders: Option<String>,
}

/// What a trial is for.
#[derive(Clone, Debug, PartialEq)]
pub enum TrialWay {
    /// It answers its share of the requests, until it is shown that it may answer all or none.
    Canary(Limits),
    /// It is asked what the current version is asked, and nobody hears its answers.
    Shadow,
}

/// How far a canary may be worse than the current version.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// How much more of its answers may be errors, as a share.
    pub errors: f64,
    /// How many times as long its answers may take.
    pub slower: f64,
    /// How much lower the mean of its grades may be.
    pub worse: f64,
    /// How sure it must be, whichever way it is decided.
    pub confidence: f64,
    /// After so many of its answers it goes back where nothing is decided.
    pub answers: u64,
}

impl Trial {
    /// What it is, in words.
    #[must_use]
    pub fn told(&self) -> String {
        let percent = self.share * 100.0;
        match self.way {
            TrialWay::Canary(_) => format!("canary {percent} %"),
            TrialWay::Shadow => format!("shadow {percent} %"),
        }
    }

    /// Its line in the file of an alias.
    pub(super) fn render(&self) -> String {
        let percent = self.share * 100.0;
        let mut line = match self.way {
            TrialWay::Shadow => format!("shadow {} percent={percent:?}", self.version),
            TrialWay::Canary(Limits { errors, slower, worse, confidence, answers }) => format!(
                "canary {} percent={percent:?} errors={errors:?} slower={slower:?} worse={worse:?} confidence={confidence:?} answers={answers}",
                self.version
            ),
        };
        if let Some(graders) = &self.graders {
            line += &format!(" graders=\"{graders}\"");
        }
        line
    }

    /// What a line of an alias says.
    pub(super) fn parse(node: &KdlNode) -> Option<Self> {
        let number = |name: &str| node.get(name).and_then(KdlValue::as_float);
        let whole = |value: Option<&KdlValue>| value.and_then(KdlValue::as_integer);
        let way = match node.name().value() {
            "shadow" => TrialWay::Shadow,
            _ => TrialWay::Canary(Limits {
                errors: number("errors")?,
                slower: number("slower")?,
                worse: number("worse")?,
                confidence: number("confidence")?,
                answers: whole(node.get("answers"))?.try_into().ok()?,
            }),
        };
        Some(Self {
            version: whole(node.get(0))?.try_into().ok()?,
            share: number("percent")? / 100.0,
            way,
            graders: property(node, "graders").map(str::to_owned),
        })
    }
}
