//! What a zone wants on its agents, and who these are at registries.

use meridian_model::{ImageReference, is_registry};

use super::{Problems, shown};
use crate::views::NewRegistryLogin;

/// Images that a zone may want.
pub const MAX_IMAGES: i32 = 200;
/// Registries that a zone may have a login for.
pub const MAX_REGISTRIES: i32 = 20;
const MAX_USERNAME_CHARS: usize = 255;
const MAX_PASSWORD_CHARS: usize = 2048;

/// What is wrong with a reference.
#[must_use]
pub fn check_image(reference: &str) -> Problems {
    let mut problems = Problems::default();
    if let Err(problem) = ImageReference::parse(reference) {
        problems.add("reference", problem);
    }
    problems
}

/// What is wrong with the list of a zone's file.
pub fn check_desired_images(problems: &mut Problems, references: &[String]) {
    let most = usize::try_from(MAX_IMAGES).unwrap_or_default();
    if references.len() > most {
        return problems.add("desired_images", format!("must be at most {most}"));
    }
    for reference in references {
        if let Err(problem) = ImageReference::parse(reference) {
            problems.add("desired_images", format!("{} {problem}", shown(reference)));
        }
    }
    problems.once("desired_images", references, most);
}

/// What is wrong with a login.
#[must_use]
pub fn check_login(login: &NewRegistryLogin) -> Problems {
    let mut problems = Problems::default();
    if !is_registry(&login.host) {
        problems.add(
            "host",
            "must be a registry's host as references begin with it, such as registry.example.org:5000",
        );
    }
    if login.username.is_empty() {
        problems.add("username", "must not be empty");
    }
    problems.text("username", &login.username, MAX_USERNAME_CHARS);
    let password = login.password.expose();
    if password.is_empty() {
        problems.add("password", "must not be empty");
    }
    problems.text("password", password, MAX_PASSWORD_CHARS);
    problems
}

#[cfg(test)]
mod tests {
    use meridian_runtime::Secret;

    use super::*;

    #[test]
    fn what_is_wrong_is_said_at_its_field_and_shows_no_password() {
        let login = |host: &str, username: &str, password: &str| NewRegistryLogin {
            host: host.into(),
            username: username.into(),
            password: Secret::new(password.into()),
        };
        assert_eq!(check_login(&login("registry.example.org:5000", "puller", "secret")), Problems::default());
        let wrong = check_login(&login("https://registry.example.org", "", "se\u{7}cret"));
        let fields: Vec<_> = wrong.0.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(fields, ["host", "username", "password"]);
        assert!(!format!("{wrong:?}").contains("cret"));
        assert_eq!(check_image("registry.example.org/desktop").0[0].field, "reference");
    }
}
