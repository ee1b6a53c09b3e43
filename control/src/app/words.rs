//! Numbers in sentences that people read.

use std::fmt::Display;

/// So many of something, in the right form: `1 person`, `2 people`.
#[must_use]
pub fn counted<N: Display + PartialEq + From<u8>>(number: N, one: &str, many: &str) -> String {
    format!("{number} {}", if number == N::from(1) { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_its_own_form() {
        let sessions = |number: i64| counted(number, "session", "sessions");
        assert_eq!([sessions(0), sessions(1), sessions(2)], ["0 sessions", "1 session", "2 sessions"]);
    }
}
