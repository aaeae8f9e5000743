use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ActionKey, Digest};

/// A typed value that a key covers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Leaf {
    /// A string.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Number(f64),
    /// A boolean.
    Flag(bool),
    /// Content, by its digest.
    Content(Digest),
}

/// A tree of what a key covers. Names are sorted, lists keep their order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Tree {
    /// One value, with the place that it came from. The place is for people and no part of the key.
    Leaf {
        /// The value.
        value: Leaf,
        /// `file:line` in the pipeline, or the stage that made it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        origin: Option<String>,
    },
    /// Named parts.
    Map(BTreeMap<String, Tree>),
    /// Parts whose order counts.
    List(Vec<Tree>),
}

impl Tree {
    /// A leaf that comes from nowhere in particular.
    #[must_use]
    pub const fn leaf(value: Leaf) -> Self {
        Self::Leaf { value, origin: None }
    }

    /// A text leaf.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::leaf(Leaf::Text(text.into()))
    }

    /// A leaf for content, with where it came from.
    #[must_use]
    pub fn content(digest: Digest, origin: impl Into<String>) -> Self {
        Self::Leaf { value: Leaf::Content(digest), origin: Some(origin.into()) }
    }

    /// A map of named parts.
    #[must_use]
    pub fn map<N: Into<String>>(parts: impl IntoIterator<Item = (N, Self)>) -> Self {
        Self::Map(parts.into_iter().map(|(name, part)| (name.into(), part)).collect())
    }

    /// Writes the canonical form: a tag for the type, then every length before what it measures, so
    /// that no two trees have the same bytes.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let sized = |out: &mut Vec<u8>, bytes: &[u8]| {
            out.extend((bytes.len() as u64).to_le_bytes());
            out.extend(bytes);
        };
        match self {
            Self::Map(parts) => {
                out.push(b'm');
                out.extend((parts.len() as u64).to_le_bytes());
                for (name, part) in parts {
                    sized(out, name.as_bytes());
                    part.encode(out);
                }
            }
            Self::List(parts) => {
                out.push(b'l');
                out.extend((parts.len() as u64).to_le_bytes());
                for part in parts {
                    part.encode(out);
                }
            }
            Self::Leaf { value, .. } => match value {
                Leaf::Text(text) => {
                    out.push(b't');
                    sized(out, text.as_bytes());
                }
                Leaf::Integer(number) => {
                    out.push(b'i');
                    out.extend(number.to_le_bytes());
                }
                Leaf::Number(number) => {
                    out.push(b'n');
                    // Adding zero makes -0 and 0 one number.
                    out.extend((number + 0.0).to_bits().to_le_bytes());
                }
                Leaf::Flag(flag) => out.extend([b'b', u8::from(*flag)]),
                Leaf::Content(digest) => {
                    out.push(b'd');
                    out.extend(digest.as_bytes());
                }
            },
        }
    }
}

/// Content that goes into an action, and where it came from. The place is for people and no part of the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Content {
    /// The digest of the content.
    pub digest: Digest,
    /// The stage that made it, or that it is a file of the workspace.
    pub origin: String,
    /// For a folder of the workspace: the list of its files in the store, for explanations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listing: Option<Digest>,
}

/// The part of a key that is known before any input is: kind, version, settings and context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActionBase(Digest);

impl ActionBase {
    /// The action key of these inputs, which must come sorted by name: BLAKE3 of the canonical form, under a context of its
    /// own so that no other hash can collide with it.
    #[must_use]
    pub fn key<'a>(self, inputs: impl ExactSizeIterator<Item = (&'a str, Digest)>) -> ActionKey {
        let mut bytes = Vec::with_capacity(512);
        bytes.extend(self.0.as_bytes());
        bytes.extend((inputs.len() as u64).to_le_bytes());
        for (name, digest) in inputs {
            bytes.extend((name.len() as u64).to_le_bytes());
            bytes.extend(name.as_bytes());
            bytes.extend(digest.as_bytes());
        }
        ActionKey(Digest::from(blake3::Hash::from_bytes(blake3::derive_key("retune action v1", &bytes))))
    }
}

/// Everything that an action's result depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Preimage {
    /// The stage kind and the step of it, for example `evaluate/grade`.
    pub kind: String,
    /// The version of the code that does the work.
    pub version: u32,
    /// Settings after parameters and defaults.
    pub settings: Tree,
    /// Environment, provider and model, each by name.
    pub context: BTreeMap<String, Tree>,
    /// What goes in, by the name of its role.
    pub inputs: BTreeMap<String, Content>,
}

impl Preimage {
    /// The whole as one tree: `kind`, `version`, `settings`, `inputs`, and the context's names.
    #[must_use]
    pub fn tree(&self) -> Tree {
        let inputs = self.inputs.iter().map(|(name, content)| (name, Tree::content(content.digest, &content.origin)));
        let mut parts = self.known();
        parts.insert("inputs".to_owned(), Tree::map(inputs));
        Tree::Map(parts)
    }

    fn known(&self) -> BTreeMap<String, Tree> {
        let mut parts = BTreeMap::from([
            ("kind".to_owned(), Tree::text(&self.kind)),
            ("version".to_owned(), Tree::leaf(Leaf::Integer(self.version.into()))),
            ("settings".to_owned(), self.settings.clone()),
        ]);
        if !self.context.is_empty() {
            parts.insert("context".to_owned(), Tree::Map(self.context.clone()));
        }
        parts
    }

    /// The part of the key that needs no inputs.
    #[must_use]
    pub fn base(&self) -> ActionBase {
        let mut bytes = Vec::with_capacity(1024);
        Tree::Map(self.known()).encode(&mut bytes);
        ActionBase(Digest::from(blake3::Hash::from_bytes(blake3::derive_key("retune action base v1", &bytes))))
    }

    /// The action key.
    #[must_use]
    pub fn key(&self) -> ActionKey {
        self.base().key(self.inputs.iter().map(|(name, content)| (name.as_str(), content.digest)))
    }
}
