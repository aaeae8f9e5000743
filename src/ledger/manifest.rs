//! Files that tell programs what an alias stands for: written with the alias, and again whenever it changes.

use serde_json::json;

use super::aliases::{Alias, Version};
use super::kdl_text::quoted;

/// How a manifest is written, by the ending of its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manifest {
    /// Variables, as shells and `.env` files have them.
    Env,
    /// A JSON object.
    Json,
    /// KDL nodes.
    Kdl,
}

impl Manifest {
    /// The way that a path asks for.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        match path.rsplit_once('.')?.1 {
            "env" => Some(Self::Env),
            "json" => Some(Self::Json),
            "kdl" => Some(Self::Kdl),
            _ => None,
        }
    }

    /// What the version that an alias stands for looks like; nothing where it stands for none.
    #[must_use]
    pub fn render(self, alias: &Alias) -> Option<String> {
        let version = alias.now()?;
        let number = alias.current.to_string();
        let fields = fields(alias, version, &number);
        Some(match self {
            Self::Env => fields.iter().map(|(name, value)| format!("RETUNE_{}={}\n", name.to_uppercase(), shell(value))).collect(),
            Self::Kdl => fields.iter().map(|(name, value)| format!("{name} {}\n", quoted(value))).collect(),
            Self::Json => {
                let object: serde_json::Map<String, serde_json::Value> = fields.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
                format!("{:#}\n", serde_json::Value::Object(object))
            }
        })
    }
}

fn fields(alias: &Alias, version: &Version, number: &str) -> Vec<(&'static str, String)> {
    let mut fields = vec![("alias", alias.name.clone()), ("version", number.to_owned())];
    if let Some(served) = &version.served {
        fields.extend([("provider", served.provider.clone()), ("model", served.name.clone()), ("base", served.base.clone())]);
    }
    fields.extend([("artifact", version.artifact.to_string()), ("fingerprint", version.fingerprint.to_string()), ("deployed", version.deployed.to_string())]);
    fields
}

/// A value within double quotes, as shells read it.
fn shell(value: &str) -> String {
    let mut out = String::from("\"");
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            out.push('\\');
        }
        out.push(if c.is_control() { ' ' } else { c });
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_so_that_a_shell_reads_them_as_they_are() {
        assert_eq!(shell("ft:gpt $x `y` \"z\" \\"), "\"ft:gpt \\$x \\`y\\` \\\"z\\\" \\\\\"");
        assert_eq!((Manifest::of("a/b.env"), Manifest::of("x.JSON"), Manifest::of("env")), (Some(Manifest::Env), None, None));
        assert_eq!(Manifest::Env.render(&Alias::default()), None);
    }
}
