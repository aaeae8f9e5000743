use std::collections::BTreeMap;

use crate::data::{Form, rules};
use crate::provider::Api;

use super::super::{DataAsked, DataCheck, Given, StageError};
use super::files::open;
use super::work::{Examples, Train};
use super::{method, tokens};

/// What a provider would say to the examples of a training.
pub fn check(train: &Train, asked: &DataAsked<'_>, inputs: &BTreeMap<String, Given>) -> Result<Option<Vec<DataCheck>>, StageError> {
    let own = match &train.declared.api {
        Api::Hosted(endpoint) => Some(endpoint.api()),
        Api::Local | Api::Command(_) => None,
    };
    let Some(rules) = asked.provider.or(own).map(rules::of) else {
        return Ok(None);
    };
    let form = match method::name(&train.block) {
        "dpo" => Form::Preference,
        "reinforcement" => Form::Reinforcement,
        _ => Form::Chat,
    };
    let files = match &train.examples {
        Examples::Prepared => vec!["train".to_owned(), "validation".to_owned()],
        Examples::Files { train, validation } => std::iter::once(train).chain(validation).cloned().collect(),
    };
    let counter = tokens::counter(&train.declared, train.base());
    let mut checks = Vec::new();
    for (number, file) in files.into_iter().enumerate() {
        let content = open((asked.workspace, asked.store), inputs, &file)?;
        let failed = |source| StageError::Io { doing: "read", path: file.clone().into(), source };
        let mut checked = rules.check(form, content, Some((&counter, train.base())), asked.shown).map_err(failed)?;
        if number > 0 {
            // How many rows there must be is said of those that are trained on, and no validation is none.
            checked.whole.clear();
        }
        if number == 0 || checked.rows > 0 {
            checks.push(DataCheck { file, provider: rules.name, checked });
        }
    }
    Ok(Some(checks))
}
