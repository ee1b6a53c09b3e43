//! What people write into fields: names and pages.

use meridian_ids::UserId;
use serde::Deserialize;

use super::error::ApiError;
use crate::state::AppState;

const MAX_NAME_CHARS: usize = 128;

/// A name in any script, without what would make it look like another: control characters and those that turn the direction of what follows.
pub(super) fn check_name(field: &'static str, text: &str) -> Result<String, ApiError> {
    let name = text.trim();
    let turns = |letter: char| matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    let length = name.chars().take(MAX_NAME_CHARS + 1).count();
    if !(1..=MAX_NAME_CHARS).contains(&length) {
        return Err(
            ApiError::invalid(format!("{field} must have 1 to {MAX_NAME_CHARS} characters")).at(field)
        );
    }
    if name.chars().any(|letter| letter.is_control() || turns(letter)) {
        return Err(ApiError::invalid(format!("{field} has a character that cannot be seen")).at(field));
    }
    Ok(name.to_owned())
}

/// How much of a list, and from where on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    #[serde(default)]
    pub cursor: Option<String>,
    #[serde(default = "page")]
    pub limit: i32,
}

pub(super) fn page() -> i32 {
    100
}

pub(super) fn check_limit(limit: i32) -> Result<i32, ApiError> {
    if (1..=1000).contains(&limit) {
        Ok(limit)
    } else {
        Err(ApiError::invalid("limit must be between 1 and 1000").at("limit"))
    }
}

/// The cursor of the page before, read as what it is in this list.
pub(super) fn read_cursor<T: std::str::FromStr>(cursor: Option<&str>) -> Result<Option<T>, ApiError> {
    cursor
        .map(|cursor| {
            cursor.parse().map_err(|_| {
                ApiError::invalid("cursor is not one of this list")
                    .at("cursor")
                    .hint("A cursor is the `next` of the page before")
            })
        })
        .transpose()
}

/// The `next` of a page: there is one only after a full page.
pub(super) fn next_of<T>(items: &[T], limit: i32, id: impl Fn(&T) -> String) -> Option<String> {
    let full = i32::try_from(items.len()).is_ok_and(|length| length >= limit);
    items.last().filter(|_| full).map(id)
}

/// An account by its id or name.
pub(super) async fn find_user_id(state: &AppState, id_or_name: &str) -> Result<UserId, ApiError> {
    if let Ok(id) = id_or_name.parse() {
        return Ok(id);
    }
    let found = state.store.find_user(id_or_name).await?;
    found.map(|user| user.id).ok_or_else(|| ApiError::not_found("user"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_any_script_and_without_disguise() {
        for name in ["ada", "Ада", "阿达", "ada 👩‍💻"] {
            assert_eq!(check_name("name", &format!(" {name} ")).unwrap(), name);
        }
        for name in ["", "  ", "a\nb", "a\u{0}b", "a\u{202e}b", &"x".repeat(129), &"x".repeat(1 << 20)] {
            assert!(check_name("name", name).is_err());
        }
        assert!(check_name("name", &"é".repeat(128)).is_ok(), "characters count, not bytes");
    }
}
