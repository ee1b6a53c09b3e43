//! An entry of the catalogue.

use super::{MOST_NAMED, Problems, name_problem};
use crate::views::NewWorkspace;

/// Everything that is wrong with an entry.
#[must_use]
pub fn check_workspace(entry: &NewWorkspace) -> Problems {
    let mut problems = Problems::default();
    if let Some(message) = name_problem(&entry.name) {
        problems.add("name", message);
    }
    problems.text("description", &entry.description, 1000);
    problems.text("icon", &entry.icon, 64);
    problems.text("image", &entry.image, 512);
    if entry.image.trim().is_empty() || entry.image.chars().any(char::is_whitespace) {
        problems.add("image", "must be an image reference, such as registry.example.org/desktop:1");
    }
    problems.within("cpu", entry.cpu, 0.05, 1024.0);
    problems.within("memory_mb", entry.memory_mb, 64, 16 << 20);
    problems.within("gpu", entry.gpu, 0, 64);
    problems.within("shm_mb", entry.shm_mb, 1, 1 << 20);
    problems.within("home_mb", entry.home_mb, 16, 1 << 24);
    problems.within("tmp_mb", entry.tmp_mb, 16, 1 << 20);
    problems.within("pids_limit", entry.pids_limit, 32, 1 << 20);
    problems.labels("required_labels", &entry.required_labels);
    for (field, names) in [("zones", &entry.zones), ("groups", &entry.groups)] {
        problems.once(field, names.as_deref().unwrap_or_default(), MOST_NAMED);
    }
    problems
}
