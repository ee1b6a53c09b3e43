//! What people write into fields: names and pages.

use meridian_ids::{UserId, ZoneId};
use serde::Deserialize;

use super::error::ApiError;
use crate::{app::rules::name_problem, state::AppState};

/// A name in any script, without what would make it look like another: control characters and those that turn the direction of what follows.
pub(super) fn check_name(field: &'static str, text: &str) -> Result<String, ApiError> {
    let name = text.trim();
    match name_problem(name) {
        None => Ok(name.to_owned()),
        Some(problem) => Err(ApiError::invalid(format!("{field} {problem}")).at(field)),
    }
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

/// A zone by its id or name.
pub(super) async fn find_zone_id(state: &AppState, id_or_name: &str) -> Result<ZoneId, ApiError> {
    let zone = state.store.find_zone(id_or_name).await?;
    zone.map(|zone| zone.id).ok_or_else(|| ApiError::not_found("zone"))
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
