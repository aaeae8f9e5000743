//! Files that tell programs what an alias stands for: written with the alias, and again whenever it changes.

use serde_json::json;

use super::aliases::{Alias, Served, Version};
use super::kdl_text::quoted;

/// How a manifest is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manifest {
    /// Variables, as shells and `.env` files have them.
    Env,
    /// A JSON object.
    Json,
    /// KDL nodes.
    Kdl,
    /// A list of models for LiteLLM's proxy.
    Litellm,
    /// A config file for `vllm serve --config`.
    Vllm,
    /// A Modelfile of Ollama.
    Ollama,
}

/// A file that tells of an alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its path in the workspace.
    pub path: String,
    /// How it is written.
    pub manifest: Manifest,
    /// The copy of the model that it names, where it needs one.
    pub copy: Option<String>,
    /// The address of the gateway that it names, where that is not the usual one.
    pub gateway: Option<String>,
}

impl Manifest {
    /// Their names in pipelines.
    pub const NAMES: &[&str] = &["env", "json", "kdl", "litellm", "vllm", "ollama"];

    /// The way of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "env" => Some(Self::Env),
            "json" => Some(Self::Json),
            "kdl" => Some(Self::Kdl),
            "litellm" => Some(Self::Litellm),
            "vllm" => Some(Self::Vllm),
            "ollama" => Some(Self::Ollama),
            _ => None,
        }
    }

    /// The way that the ending of a path asks for.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        let ending = path.rsplit_once('.')?.1;
        Self::named(ending).filter(|manifest| matches!(manifest, Self::Env | Self::Json | Self::Kdl))
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|name| Self::named(name) == Some(self)).copied().unwrap_or_default()
    }

    /// Whether it names a copy of the model.
    #[must_use]
    pub const fn needs_copy(self) -> bool {
        matches!(self, Self::Vllm | Self::Ollama)
    }
}

impl Target {
    /// What the version that an alias stands for looks like; nothing where it stands for none.
    #[must_use]
    pub fn render(&self, alias: &Alias) -> Option<String> {
        let version = alias.now()?;
        let number = alias.current.to_string();
        let fields = || fields(alias, version, &number);
        Some(match self.manifest {
            Manifest::Env => fields().iter().map(|(name, value)| format!("RETUNE_{}={}\n", name.to_uppercase(), shell(value))).collect(),
            Manifest::Kdl => fields().iter().map(|(name, value)| format!("{name} {}\n", quoted(value))).collect(),
            Manifest::Json => {
                let object: serde_json::Map<String, serde_json::Value> = fields().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
                format!("{:#}\n", serde_json::Value::Object(object))
            }
            Manifest::Litellm => litellm(alias, version, self.gateway.as_deref()),
            Manifest::Vllm => format!(
                "# Written by retune: version {number} of {}. From the folder of the workspace: vllm serve --config {}\nmodel: {}\nserved-model-name: {}\n",
                alias.name,
                self.path,
                yaml(self.copy.as_deref().unwrap_or_default()),
                yaml(&alias.name)
            ),
            Manifest::Ollama => format!(
                "# Written by retune: version {number} of {name}. ollama create {name} -f {}\nFROM {}\nTEMPLATE \"\"\"{OLLAMA}\"\"\"\nPARAMETER stop \"<|end|>\"\nPARAMETER temperature 0\n",
                self.path,
                beside(&self.path, self.copy.as_deref().unwrap_or_default()),
                name = alias.name
            ),
        })
    }
}

/// The chat template of the local engine's models, in the language of Ollama.
const OLLAMA: &str = "{{ range .Messages }}<|{{ if eq .Role \"tool\" }}user{{ else }}{{ .Role }}{{ end }}|>{{ .Content }}<|end|>{{ end }}<|assistant|>";

/// A path of the workspace as seen from the folder of another.
fn beside(from: &str, path: &str) -> String {
    let mut above: Vec<&str> = from.split('/').collect();
    above.pop();
    let mut path: Vec<&str> = path.split('/').collect();
    while above.first().is_some_and(|first| path.first() == Some(first)) {
        above.remove(0);
        path.remove(0);
    }
    let up = if above.is_empty() { "./".to_owned() } else { "../".repeat(above.len()) };
    up + &path.join("/")
}

/// What LiteLLM calls a provider, by the protocol that it speaks.
fn prefix(api: &str) -> &'static str {
    match api {
        "together" => "together_ai",
        "fireworks" => "fireworks_ai",
        "bedrock" => "bedrock",
        "nebius" => "nebius",
        _ => "openai",
    }
}

fn litellm(alias: &Alias, version: &Version, gateway: Option<&str>) -> String {
    let mut out =
        format!("# Written by retune: version {} of {}.\nmodel_list:\n  - model_name: {}\n    litellm_params:\n", alias.current, alias.name, yaml(&alias.name));
    let mut line = |name: &str, value: &str| out.push_str(&format!("      {name}: {}\n", yaml(value)));
    match version.served.as_ref().and_then(|served| served.at.as_ref()) {
        Some(at) => {
            line("model", &format!("{}/{}", prefix(&at.api), at.asked_as));
            line("api_base", &at.url);
            if let Some(key) = &at.key {
                line("api_key", &format!("os.environ/{key}"));
            }
        }
        // A model of the local engine is asked by the gateway.
        None => {
            line("model", &format!("openai/{}", alias.name));
            line("api_base", gateway.unwrap_or("http://127.0.0.1:8790/v1"));
            line("api_key", "os.environ/RETUNE_KEY");
        }
    }
    out
}

/// A text as YAML reads it whatever is in it: JSON is YAML.
fn yaml(text: &str) -> String {
    json!(text).to_string()
}

fn fields(alias: &Alias, version: &Version, number: &str) -> Vec<(&'static str, String)> {
    let mut fields = vec![("alias", alias.name.clone()), ("version", number.to_owned())];
    if let Some(Served { provider, base, name, .. }) = &version.served {
        fields.extend([("provider", provider.clone()), ("model", name.clone()), ("base", base.clone())]);
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
        assert_eq!((Manifest::of("a/b.env"), Manifest::of("x.JSON"), Manifest::of("env"), Manifest::of("x.vllm")), (Some(Manifest::Env), None, None, None));
        let target = Target { path: "x".into(), manifest: Manifest::Env, copy: None, gateway: None };
        assert_eq!(target.render(&Alias::default()), None);
        assert!(Manifest::NAMES.iter().all(|name| Manifest::named(name).is_some_and(|manifest| manifest.name() == *name)));
    }

    #[test]
    fn a_path_is_seen_from_another() {
        for (from, path, seen) in
            [("deploy/Modelfile", "deploy/m.gguf", "./m.gguf"), ("Modelfile", "a/m.gguf", "./a/m.gguf"), ("a/b/Modelfile", "c/m.gguf", "../../c/m.gguf")]
        {
            assert_eq!(beside(from, path), seen);
        }
    }
}
