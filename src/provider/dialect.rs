//! In what the speakers of OpenAI's protocol differ. A dialect is one entry here.

/// How a provider is told who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer KEY`.
    Bearer,
    /// A header of its own.
    Header(&'static str),
}

/// Where the sizes of a training go in the request, and which of them there are names for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// In `method.TYPE.hyperparameters`, as OpenAI has it.
    Method,
    /// In `hyperparameters`, with the names that trainers of open weights use: `learning_rate`, `warmup_ratio`, `lora_r`.
    Open,
}

/// A way of speaking OpenAI's protocol.
#[derive(Debug, PartialEq, Eq)]
pub struct Dialect {
    /// Its name in the pipeline.
    pub name: &'static str,
    /// Its address, where it has one for everybody.
    pub base_url: Option<&'static str>,
    /// The environment variable that its key usually stands in.
    pub variable: &'static str,
    /// How it is told the key.
    pub auth: Auth,
    /// Where sizes go.
    pub sizes: Sizes,
    /// The methods that it trains by.
    pub methods: &'static [&'static str],
    /// Whether jobs can carry metadata.
    pub metadata: bool,
    /// Whether our key stands in the suffix too: where there is no metadata, or nobody can be sure that it is kept.
    pub marked: bool,
    /// Fields of a new job that it refuses.
    pub refuses: &'static [&'static str],
    /// The longest suffix, in characters.
    pub suffix: usize,
    /// Examples that it takes at least.
    pub fewest: usize,
    /// Bytes that one request may upload; more goes in parts where it can.
    pub largest_file: u64,
    /// Whether it has uploads in parts.
    pub parts: bool,
    /// Whether it has moderation.
    pub moderates: bool,
    /// What it calls the limit of an answer.
    pub answer_limit: &'static str,
    /// The last day on which it takes new jobs, where that is known.
    pub ends: Option<&'static str>,
}

/// How much of a key stands in a suffix, in characters.
pub const MARK: usize = 16;

impl Dialect {
    /// Whether our key stands in the suffix at an address: also at one that speaks as OpenAI does and is not its own.
    #[must_use]
    pub fn marks(&self, base_url: &str) -> bool {
        self.marked || Some(base_url) != self.base_url
    }

    /// The longest suffix that comes to an address whole, in characters.
    #[must_use]
    pub fn longest_suffix(&self, base_url: &str) -> usize {
        if self.marks(base_url) { self.suffix - MARK - 1 } else { self.suffix }
    }
}

const OPENAI: Dialect = Dialect {
    name: "openai",
    base_url: Some("https://api.openai.com/v1"),
    variable: "OPENAI_API_KEY",
    auth: Auth::Bearer,
    sizes: Sizes::Method,
    methods: &["supervised", "dpo", "reinforcement"],
    metadata: true,
    marked: false,
    refuses: &[],
    suffix: 64,
    fewest: 10,
    largest_file: 512 << 20,
    parts: true,
    moderates: true,
    answer_limit: "max_completion_tokens",
    ends: Some("2027-01-05"),
};

/// All dialects; the first is OpenAI itself.
pub static DIALECTS: &[Dialect] = &[
    OPENAI,
    // Azure's v1 address takes no `api-version`; its older one does, by `query`. What it calls a model when asked is a deployment.
    Dialect {
        name: "azure",
        base_url: None,
        variable: "AZURE_OPENAI_API_KEY",
        auth: Auth::Header("api-key"),
        metadata: false,
        marked: true,
        refuses: &["metadata", "integrations"],
        moderates: false,
        suffix: 40,
        methods: &["supervised", "dpo", "reinforcement"],
        ends: None,
        ..OPENAI
    },
    Dialect {
        name: "nebius",
        base_url: Some("https://api.studio.nebius.com/v1"),
        variable: "NEBIUS_API_KEY",
        sizes: Sizes::Open,
        methods: &["supervised"],
        metadata: false,
        marked: true,
        refuses: &["metadata", "method"],
        moderates: false,
        parts: false,
        largest_file: 5 << 30,
        answer_limit: "max_tokens",
        ends: None,
        ..OPENAI
    },
    Dialect {
        name: "bedrock",
        base_url: None,
        variable: "AWS_BEARER_TOKEN_BEDROCK",
        methods: &["supervised", "reinforcement"],
        marked: true,
        refuses: &["integrations"],
        moderates: false,
        parts: false,
        ends: None,
        ..OPENAI
    },
    Dialect { name: "litellm", base_url: None, variable: "LITELLM_API_KEY", marked: true, parts: false, ends: None, ..OPENAI },
    Dialect { name: "openai-compatible", base_url: None, variable: "OPENAI_API_KEY", marked: true, parts: false, ends: None, ..OPENAI },
];

/// The dialect of this name.
#[must_use]
pub fn dialect(name: &str) -> Option<&'static Dialect> {
    DIALECTS.iter().find(|dialect| dialect.name == name)
}
