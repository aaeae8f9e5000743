//! The figures of what was spent, which add up over the actions of a stage.

/// What the result cost, in US dollars, whenever that was paid.
pub const USD: &str = "usd";
/// What was paid for it this time: answers that were there from before cost nothing more.
pub const USD_PAID: &str = "usd-paid";
/// Tokens that models read.
pub const TOKENS_IN: &str = "tokens-in";
/// Tokens that models wrote.
pub const TOKENS_OUT: &str = "tokens-out";

/// All of them.
pub const SPENT: [&str; 4] = [USD, USD_PAID, TOKENS_IN, TOKENS_OUT];
