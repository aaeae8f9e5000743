//! When a request may be sent again, and after how long.

use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use reqwest::Response;
use serde::Deserialize;

use super::header::header;

/// Whether a request may be sent again when nobody knows if it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// It changes nothing, or nothing that matters.
    Freely,
    /// It makes something that is paid for: the caller looks whether it did.
    Never,
}

/// How often a request is sent at most.
const ATTEMPTS: u32 = 6;
/// The same for one that came too early: to wait costs nothing.
const PATIENT_ATTEMPTS: u32 = 20;
/// The longest wait of our own before the next attempt.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The longest that a server may make us wait: who asks for more is asked no more.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// What is to be done about a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    attempts: u32,
    asked: Option<Duration>,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next {
    /// The failure is final.
    GiveUp,
    /// Another attempt after a wait.
    After(Duration),
}

/// What a reply says about another attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Told {
    /// After how long, by `retry-after-ms` or `retry-after`.
    pub wait: Option<Duration>,
    /// Whether at all, by `x-should-retry`.
    pub again: Option<bool>,
}

/// What a provider says about a request that it refuses.
#[derive(Debug, Default)]
pub struct Complaint {
    pub message: String,
    pub code: String,
    /// What some write the kind of an error in, beside a code that is a number.
    pub kind: String,
}

impl Told {
    pub fn of(reply: &Response) -> Self {
        let number = |name: &str| header(reply, name)?.trim().parse::<f64>().ok();
        let date = |name: &str| Some(jiff::fmt::rfc2822::parse(&header(reply, name)?).ok()?.timestamp());
        // By the server's own clock, which may be wrong.
        let until = || Some(date("retry-after")?.duration_since(date("date").unwrap_or_else(jiff::Timestamp::now)).as_secs_f64());
        let seconds = number("retry-after-ms").map(|ms| ms / 1000.0).or_else(|| number("retry-after")).or_else(until);
        // At once is no time to wait.
        let seconds = seconds.filter(|seconds| *seconds > 0.0);
        let again = header(reply, "x-should-retry").and_then(|again| again.trim().parse().ok());
        Self { wait: seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()), again }
    }
}

impl Plan {
    /// No other attempt.
    pub const fn never() -> Self {
        Self { attempts: 1, asked: None }
    }

    /// Nothing came back. What was certainly not sent may be sent again.
    pub fn unreachable(repeat: Repeat, unsent: bool) -> Self {
        if repeat == Repeat::Freely || unsent { Self { attempts: ATTEMPTS, asked: None } } else { Self::never() }
    }

    /// It was refused.
    pub fn refused(repeat: Repeat, status: u16, complaint: &Complaint, told: Told) -> Self {
        // An empty account does not fill up by asking again.
        const BILLING: &[&str] = &["insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "account_deactivated", "insufficient_funds"];
        if status == 402 || BILLING.iter().any(|word| *word == complaint.code || *word == complaint.kind) || told.again == Some(false) {
            return Self::never();
        }
        let passing = matches!(status, 408 | 409 | 429) || (500..600).contains(&status) || told.again == Some(true);
        // Of these it says that nothing was done.
        let too_soon = status == 429;
        if !passing || !(repeat == Repeat::Freely || too_soon) {
            return Self::never();
        }
        Self { attempts: if too_soon { PATIENT_ATTEMPTS } else { ATTEMPTS }, asked: told.wait }
    }

    /// What comes after an attempt (from 1).
    pub fn at(self, attempt: u32) -> Next {
        if attempt >= self.attempts {
            return Next::GiveUp;
        }
        let doubled = Duration::from_millis(250).saturating_mul(2_u32.saturating_pow(attempt - 1));
        // Up to a quarter more, so that many that failed together do not come back together.
        if self.asked.is_some_and(|asked| asked > LONGEST_ASKED) {
            return Next::GiveUp;
        }
        Next::After(self.asked.unwrap_or(doubled.min(LONGEST_WAIT)).mul_f64(1.0 + chance() / 4.0))
    }
}

/// A number from 0 to 1 that differs each time.
fn chance() -> f64 {
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_u8(0);
    #[expect(clippy::cast_precision_loss, reason = "32 bits are exact")]
    let part = (hasher.finish() >> 32) as f64;
    part / f64::from(u32::MAX)
}

/// Reads what was complained of, in whatever shape.
pub fn complaint(body: &[u8]) -> Complaint {
    let found = read(body);
    Complaint { message: printable(&found.message), ..found }
}

/// Text of a server without what would move the cursor or clear the screen.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn read(body: &[u8]) -> Complaint {
    #[derive(Deserialize)]
    struct Outer {
        error: Option<serde_json::Value>,
        message: Option<String>,
        detail: Option<serde_json::Value>,
    }
    let text = String::from_utf8_lossy(body);
    let plain = || Complaint { message: text.chars().take(300).collect(), ..Complaint::default() };
    let Ok(outer) = serde_json::from_slice::<Outer>(body) else {
        return plain();
    };
    let word = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    match outer.error {
        Some(serde_json::Value::String(message)) => Complaint { message, ..Complaint::default() },
        Some(error) => {
            let code = error.get("code").and_then(word).or_else(|| error.get("type").and_then(word)).unwrap_or_default();
            let message = error.get("message").and_then(word).unwrap_or_else(|| error.to_string());
            let param = error.get("param").and_then(word).map_or(String::new(), |param| format!(" (in `{param}`)"));
            let named = if code.is_empty() || message.contains(&code) { String::new() } else { format!(" [{code}]") };
            Complaint { message: format!("{message}{param}{named}"), code, kind: error.get("type").and_then(word).unwrap_or_default() }
        }
        None => match (outer.message, outer.detail) {
            (Some(message), _) => Complaint { message, ..Complaint::default() },
            (None, Some(detail)) => Complaint { message: word(&detail).unwrap_or_else(|| detail.to_string()), ..Complaint::default() },
            (None, None) => plain(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(repeat: Repeat, status: u16, code: &str, told: Told, attempt: u32) -> Next {
        let complaint = Complaint { code: code.to_owned(), ..Complaint::default() };
        Plan::refused(repeat, status, &complaint, told).at(attempt)
    }

    #[test]
    fn what_passes_is_tried_again_and_what_does_not_is_not() {
        let plain = Told::default();
        for status in [408, 409, 429, 500, 502, 503, 504] {
            assert!(matches!(next(Repeat::Freely, status, "", plain, 1), Next::After(_)), "{status}");
        }
        for status in [400, 401, 403, 404, 422] {
            assert_eq!(next(Repeat::Freely, status, "", plain, 1), Next::GiveUp, "{status}");
        }
        assert_eq!(next(Repeat::Freely, 500, "", plain, ATTEMPTS), Next::GiveUp);
    }

    #[test]
    fn what_is_paid_for_is_sent_again_only_where_it_is_said_not_to_have_begun() {
        let plain = Told::default();
        assert!(matches!(next(Repeat::Never, 429, "", plain, 1), Next::After(_)));
        for status in [408, 409, 500, 503] {
            assert_eq!(next(Repeat::Never, status, "", Told { again: Some(true), wait: None }, 1), Next::GiveUp, "{status}");
        }
        assert_eq!(Plan::unreachable(Repeat::Never, false).at(1), Next::GiveUp);
        assert!(matches!(Plan::unreachable(Repeat::Never, true).at(1), Next::After(_)));
    }

    #[test]
    fn no_money_and_a_plain_no_are_final() {
        assert_eq!(next(Repeat::Freely, 429, "insufficient_quota", Told::default(), 1), Next::GiveUp);
        assert_eq!(next(Repeat::Freely, 402, "", Told::default(), 1), Next::GiveUp);
        let said = complaint(br#"{"error":{"message":"no","type":"insufficient_quota","code":"429"}}"#);
        assert_eq!(Plan::refused(Repeat::Never, 429, &said, Told::default()).at(1), Next::GiveUp);
        assert_eq!(next(Repeat::Freely, 500, "", Told { again: Some(false), wait: None }, 1), Next::GiveUp);
    }

    #[test]
    fn the_server_says_how_long_to_wait_within_reason() {
        let told = |seconds| Told { wait: Some(Duration::from_secs(seconds)), again: None };
        let Next::After(wait) = next(Repeat::Freely, 429, "", told(2), 1) else { panic!("it is tried again") };
        assert!((2.0..=2.5).contains(&wait.as_secs_f64()), "{wait:?}");
        let Next::After(wait) = next(Repeat::Freely, 429, "", told(300), 1) else { panic!("it is tried again") };
        assert!(wait >= Duration::from_secs(300), "never before the server allows it");
        assert_eq!(next(Repeat::Freely, 429, "", told(9999), 1), Next::GiveUp);
    }

    #[test]
    fn a_wait_that_is_none_is_left_to_us_and_dates_go_by_the_servers_clock() {
        let told = |headers: &[(&str, &str)]| {
            let mut reply = http::Response::builder();
            for (name, value) in headers {
                reply = reply.header(*name, *value);
            }
            Told::of(&Response::from(reply.body(String::new()).expect("it is a reply"))).wait
        };
        assert_eq!(told(&[("retry-after", "0")]), None);
        assert_eq!(told(&[("retry-after-ms", "0")]), None);
        assert_eq!(told(&[("retry-after-ms", "20")]), Some(Duration::from_millis(20)));
        let (now, later) = ("Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:07 GMT");
        assert_eq!(told(&[("date", now), ("retry-after", later)]), Some(Duration::from_secs(7)));
        assert_eq!(told(&[("date", later), ("retry-after", now)]), None);
        assert_eq!(told(&[("retry-after", later)]), None, "by our own clock it is long past");
    }

    #[test]
    fn complaints_are_read_in_every_shape() {
        let message = |body: &str| complaint(body.as_bytes()).message;
        assert_eq!(message(r#"{"error":{"message":"no","code":"c","param":"model"}}"#), "no (in `model`) [c]");
        assert_eq!(message(r#"{"error":"no"}"#), "no");
        assert_eq!(message(r#"{"message":"no"}"#), "no");
        assert_eq!(message(r#"{"detail":"no"}"#), "no");
        assert_eq!(message("{\"error\":\"a\\u001b[2J\\nb\"}"), "a [2J b");
        assert_eq!(message("<html>no</html>"), "<html>no</html>");
        assert_eq!(complaint(br#"{"error":{"message":"no","type":"insufficient_quota"}}"#).code, "insufficient_quota");
    }
}
