//! The caller's own account: `meridian admin logout` and `meridian admin password`.

use reqwest::Method;
use serde_json::json;

use super::{output::read_secret, server::Server};
use crate::exit::{Failure, print};

/// Ends the login that the profile keeps, and forgets it also where the server cannot be told.
pub async fn log_out(server: &Server) -> Result<(), Failure> {
    let told = server.call(Method::POST, "/auth/logout", None).await;
    server.forget()?;
    told?;
    print(&format!("signed out of {}", server.url()))
}

/// The current password and the new one are read from standard input, a line each.
pub async fn change_password(server: &Server) -> Result<(), Failure> {
    let current = read_secret("Current password: ")?;
    let new = read_secret("New password: ")?;
    let body = json!({"current_password": current, "new_password": new});
    server.call(Method::POST, "/auth/password", Some(body)).await?;
    print("the password is changed; wherever else you are signed in, you are signed out")
}
