//! Whoever is told what an alias stands for: files of the workspace, and others outside.

use std::path::Path;

use crate::config::plain;
use crate::config::{Block, ConfigError, Fallback, Kind, Setting, Slot, StageDecl};
use crate::ledger::{Manifest, Outward, Target, Way};
use crate::model::ExportFormat;

use super::super::Compiler;

pub static TARGET: Setting = Setting::new("target", "A file that tells programs what the alias stands for: written with it, and when it goes back.")
    .many()
    .arguments(&[Slot::new("path", Kind::Manifest, "A file of the workspace; its ending says how it is written: `.env`, `.json` or `.kdl`.")])
    .properties(&[
        Slot::new("format", Kind::Choice(Manifest::NAMES), "How it is written, where the ending does not say.").or(Fallback::Absent),
        Slot::new("gateway", Kind::Text, "The address of the gateway, for `litellm` and a model of the local engine.").or(Fallback::Absent),
        Slot::new("copy", Kind::Manifest, "The `export` of this stage that it names, for `vllm` and `ollama`.").or(Fallback::Absent),
    ]);

pub static EXPORT: Setting = Setting::new("export", "The model as files of the workspace, for programs that run it themselves.")
    .many()
    .arguments(&[Slot::new("path", Kind::Manifest, "A folder, or a file for `gguf` (half precision) and `gguf-q8_0` (eight bits).")])
    .properties(&[Slot::new("format", Kind::Choice(ExportFormat::NAMES), "A PEFT adapter, all weights for `transformers` and vLLM, or a file for llama.cpp.")]);

pub static WEBHOOK: Setting = Setting::new("webhook", "An address that is sent a signed message whenever the alias stands for another version.")
    .many()
    .arguments(&[Slot::new("url", Kind::Text, "The address.")])
    .properties(&[Slot::new("secret", Kind::Secret, "`(secret)\"NAME\"`: the environment variable with the secret that signs.")]);

pub static AZURE: Setting = Setting::new("azure", "A deployment at Azure that stands for the model.")
    .many()
    .arguments(&[Slot::new("deployment", Kind::Text, "Its name.")])
    .properties(&[
        Slot::new("subscription", Kind::Text, "The id of the subscription."),
        Slot::new("resource-group", Kind::Text, "The resource group."),
        Slot::new("account", Kind::Text, "The resource that has the model."),
        Slot::new("token", Kind::Secret, "`(secret)\"NAME\"`: the environment variable with a token for Azure's management API."),
        Slot::new("sku", Kind::Text, "How it is billed, in Azure's words.").or(Fallback::Text("Standard")),
        Slot::new("capacity", Kind::Integer(1, 100_000), "Thousands of tokens a minute.").or(Fallback::Integer(1)),
        Slot::new("management", Kind::Text, "The address of the management API, where it is another cloud's.")
            .or(Fallback::Text("https://management.azure.com")),
    ]);

/// The targets of a stage.
#[derive(Debug)]
pub struct Targets {
    /// Files that are written with the alias.
    pub files: Vec<Target>,
    /// Those outside.
    pub outward: Vec<Way>,
}

impl Targets {
    /// What an alias says of its targets: those outside as they were told already.
    pub fn outward(&self, known: &[Outward], workspace: &Path) -> Vec<Outward> {
        let is_gone = |way: &Way| matches!(way, Way::Export { path, .. } if !workspace.join(path).exists());
        let told = |way: &Way| known.iter().find(|known| known.way == *way && !is_gone(way)).and_then(|known| known.told);
        self.outward.iter().map(|way| Outward { way: way.clone(), told: told(way) }).collect()
    }

    /// Those outside when all of them were told of a version.
    pub fn told(&self, version: u32) -> Vec<Outward> {
        self.outward.iter().map(|way| Outward { way: way.clone(), told: Some(version) }).collect()
    }

    /// The paths of the workspace that are written.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let copies = self.outward.iter().filter_map(|way| if let Way::Export { path, .. } = way { Some(path.as_str()) } else { None });
        self.files.iter().map(|target| target.path.as_str()).chain(copies)
    }
}

fn contradiction(block: &Block, slot: &str, problem: String, help: &str) -> ConfigError {
    ConfigError::Contradiction { problem, label: "cannot be written".into(), at: block.span_of(slot).into(), help: help.into() }
}

/// Reads the targets of a stage.
///
/// # Errors
/// When one cannot be written, or is written by somebody else.
pub fn targets(stage: &StageDecl, compiler: &Compiler<'_>) -> Result<Targets, ConfigError> {
    let block = &stage.block;
    let mut targets = Targets { files: Vec::new(), outward: Vec::new() };
    let free = |targets: &Targets, child: &Block, path: &str| {
        let below = |a: &str, b: &str| a == b || a.strip_prefix(b).is_some_and(|rest| rest.starts_with('/'));
        if targets.paths().any(|other| below(other, path) || below(path, other)) || compiler.outputs.covers(path) {
            return Err(contradiction(child, "path", format!("`{path}` is written by somebody else already"), "take another path"));
        }
        Ok(())
    };
    for child in block.all(EXPORT.name) {
        let (path, format) = (plain(child.text("path")), child.text("format").to_owned());
        if format.starts_with("gguf") != path.ends_with(".gguf") {
            return Err(contradiction(
                child,
                "path",
                format!("`{path}` is no place for `{format}`"),
                "a GGUF file ends with `.gguf`, and the others are folders",
            ));
        }
        free(&targets, child, &path)?;
        targets.outward.push(Way::Export { path, format });
    }
    for child in block.all(TARGET.name) {
        let path = plain(child.text("path"));
        let manifest = child.find_text("format").map_or_else(|| Manifest::of(&path), Manifest::named);
        let manifest = manifest.ok_or_else(|| {
            contradiction(
                child,
                "path",
                format!("how `{path}` is to be written is not known"),
                "let it end with `.env`, `.json` or `.kdl`, or give it a `format=`",
            )
        })?;
        let copy = child.find_text("copy").map(plain);
        let wanted = if manifest == Manifest::Ollama { "gguf" } else { "safetensors" };
        let is_wanted = |format: &str| format == wanted || (wanted == "gguf" && format.starts_with(wanted));
        let is_copy = |way: &Way, copy: &String| matches!(way, Way::Export { path, format } if path == copy && is_wanted(format));
        let is_there = copy.as_ref().is_some_and(|copy| targets.outward.iter().any(|way| is_copy(way, copy)));
        if manifest.needs_copy() && !is_there {
            let help = format!("write `export \"...\" format=\"{wanted}\"`, and name its path here with `copy=`");
            return Err(contradiction(child, "copy", format!("`{}` runs the model from a copy of its own", manifest.name()), &help));
        }
        if let Some(copy) = copy.as_ref().filter(|_| !manifest.needs_copy()) {
            return Err(contradiction(child, "copy", format!("`{copy}` would not be named in it"), "take `copy=` out"));
        }
        let gateway = child.slot("gateway").map(|_| address(child, "gateway")).transpose()?;
        if gateway.is_some() && manifest != Manifest::Litellm {
            return Err(contradiction(child, "gateway", format!("`{}` names no gateway", manifest.name()), "take `gateway=` out"));
        }
        free(&targets, child, &path)?;
        targets.files.push(Target { path, manifest, copy, gateway });
    }
    for child in block.all(WEBHOOK.name) {
        let url = address(child, "url")?;
        targets.outward.push(Way::Webhook { url, secret: child.text("secret").to_owned() });
    }
    for child in block.all(AZURE.name) {
        let part = |name: &str| {
            let text = child.text(name);
            let is_part = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
            if is_part { Ok(text) } else { Err(contradiction(child, name, format!("`{text}` is no name of Azure's"), "use the name as the portal shows it")) }
        };
        let url = format!(
            "{}/subscriptions/{}/resourceGroups/{}/providers/Microsoft.CognitiveServices/accounts/{}/deployments/{}",
            address(child, "management")?.trim_end_matches('/'),
            part("subscription")?,
            part("resource-group")?,
            part("account")?,
            part("deployment")?
        );
        let capacity = u32::try_from(child.integer("capacity")).unwrap_or(u32::MAX);
        targets.outward.push(Way::Azure { url, token: child.text("token").to_owned(), sku: child.text("sku").to_owned(), capacity });
    }
    let mut twice = targets.outward.iter().enumerate().filter(|(place, way)| targets.outward[..*place].contains(way));
    if let Some((_, way)) = twice.next() {
        return Err(contradiction(block, "name", format!("{} stands there twice", way.told()), "take one out"));
    }
    Ok(targets)
}

fn address(block: &Block, slot: &str) -> Result<String, ConfigError> {
    let url = block.text(slot);
    let rest =
        ["https://", "http://"].iter().find_map(|scheme| url.strip_prefix(scheme)).filter(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace));
    match rest.map(|rest| rest.split('/').next().unwrap_or_default().contains('@')) {
        Some(false) => Ok(url.to_owned()),
        Some(true) => {
            Err(contradiction(block, slot, "the address holds a name and a password, which would be stored".into(), "give the secret by its variable"))
        }
        None => Err(contradiction(block, slot, format!("`{url}` is no address"), "begin it with `https://`")),
    }
}
