/// Where the Hugging Face hub is, unless `HF_ENDPOINT` says otherwise.
const HUB: &str = "https://huggingface.co";

/// The address of the hub of models and datasets, without a slash at its end.
#[must_use]
pub fn hub() -> String {
    let elsewhere = std::env::var("HF_ENDPOINT").ok().filter(|hub| !hub.is_empty());
    elsewhere.as_deref().unwrap_or(HUB).trim_end_matches('/').to_owned()
}
