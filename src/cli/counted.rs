use std::str::FromStr;

use crate::data::Counter;

/// A model of the command line whose tokens are known.
#[derive(Clone, Debug)]
pub struct CountedBy {
    /// As it was named.
    pub name: String,
    /// What knows its tokens.
    pub counter: Counter,
}

impl FromStr for CountedBy {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let of_file = || {
            let bytes = std::fs::read(name).map_err(|error| error.to_string())?;
            Counter::of_file(&bytes)
        };
        let known = Counter::exact(name).map_or_else(of_file, Ok::<_, String>);
        let counter = known.map_err(|problem| {
            format!("tokens are known for `builtin:tiny`, for models of OpenAI (`gpt-4.1`, `o200k_base`, ...) and by the path of a `tokenizer.json`, and it is none of these: {problem}")
        })?;
        Ok(Self { name: name.to_owned(), counter })
    }
}
