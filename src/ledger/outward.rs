//! Whoever outside is brought to what an alias stands for: programs that are told, servers that are switched, copies of the model.

use std::fmt::Write as _;

use kdl::{KdlNode, KdlValue};

use super::kdl_text::{property, quoted, text};

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outward {
    /// Where, and how.
    pub way: Way,
    /// The version that it was brought to last.
    pub told: Option<u32>,
}

/// How it is brought there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// A signed message by HTTP.
    Webhook {
        /// The address.
        url: String,
        /// The environment variable with the secret that signs.
        secret: String,
    },
    /// A deployment at Azure.
    Azure {
        /// The address of the deployment at Azure's management API.
        url: String,
        /// The environment variable with the token.
        token: String,
        /// Azure's name for how it is billed.
        sku: String,
        /// In Azure's units, thousands of tokens a minute.
        capacity: u32,
    },
    /// The model as files of the workspace.
    Export {
        /// A folder, or a file.
        path: String,
        /// The form.
        format: String,
    },
}

impl Way {
    /// It in words.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::Webhook { url, .. } => format!("the webhook {url}"),
            Self::Azure { url, .. } => format!("the deployment `{}` at Azure", url.rsplit('/').next().unwrap_or_default()),
            Self::Export { path, .. } => format!("the copy {path}"),
        }
    }
}

impl Outward {
    /// Its line in the file of an alias.
    pub(super) fn render(&self) -> String {
        let mut line = match &self.way {
            Way::Webhook { url, secret } => format!("webhook {} secret={}", quoted(url), quoted(secret)),
            Way::Azure { url, token, sku, capacity } => {
                format!("azure {} token={} sku={} capacity={capacity}", quoted(url), quoted(token), quoted(sku))
            }
            Way::Export { path, format } => format!("export {} format={}", quoted(path), quoted(format)),
        };
        if let Some(told) = self.told {
            let _ = write!(line, " told={told}");
        }
        line
    }

    /// What a line of an alias says.
    pub(super) fn parse(node: &KdlNode) -> Option<Self> {
        let part = |name: &str| property(node, name).map(str::to_owned);
        let number = |name: &str| node.get(name).and_then(KdlValue::as_integer).and_then(|number| u32::try_from(number).ok());
        let place = text(node)?.to_owned();
        let way = match node.name().value() {
            "webhook" => Way::Webhook { url: place, secret: part("secret")? },
            "azure" => Way::Azure { url: place, token: part("token")?, sku: part("sku")?, capacity: number("capacity")? },
            _ => Way::Export { path: place, format: part("format")? },
        };
        Some(Self { way, told: number("told") })
    }
}
