use reqwest::Response;

/// A header of a reply, where it is there and is text.
pub fn header(reply: &Response, name: &str) -> Option<String> {
    reply.headers().get(name)?.to_str().ok().map(str::to_owned)
}
