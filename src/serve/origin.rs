//! Whether a request comes from a program of this machine. A page in a browser may send requests to it as well: such a request says
//! so by `origin`, or by a `host` that is the page's own and leads here.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{HOST, ORIGIN};

use super::refusal::Refusal;

/// Refuses what a page from elsewhere sent.
pub fn from_here(headers: &HeaderMap) -> Result<(), Refusal> {
    let named = [HOST, ORIGIN].into_iter().filter_map(|name| headers.get(name));
    for value in named {
        let text = value.to_str().unwrap_or_default();
        if !is_here(text) {
            return Err(Refusal::Foreign { from: text.to_owned() });
        }
    }
    Ok(())
}

/// Whether an address, with or without scheme and port, is this machine's own.
fn is_here(address: &str) -> bool {
    let place = address.split_once("://").map_or(address, |(_, place)| place);
    let host = match place.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => place.rsplit_once(':').map_or(place, |(host, _)| host),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_here() {
        for here in ["localhost", "LOCALHOST:8790", "127.0.0.1:1", "127.1.2.3", "[::1]:8790", "http://localhost:3000", "http://127.0.0.1"] {
            assert!(is_here(here), "{here}");
        }
        for elsewhere in ["example.com", "localhost.example.com", "http://evil.example:8790", "10.0.0.1:8790", "null", "", "[::2]:1", "127.0.0.1.example.com"] {
            assert!(!is_here(elsewhere), "{elsewhere}");
        }
    }
}
