//! Sign-in, sign-out, and who a token belongs to.

use meridian_ids::UserId;
use serde::Deserialize;

use super::{Store, StoreError};
use crate::{app::caller::Caller, views::UserView};

const BEGIN: &str = "SELECT login_begin_v1($1, $2)";
const FINISH: &str = "SELECT login_finish_v2($1, $2, $3, $4, $5, $6, $7)";
const PASSWORD_BEGIN: &str = "SELECT password_begin_v1($1, $2)";
const PASSWORD_FINISH: &str = "SELECT password_finish_v1($1, $2, $3, $4, $5)";
const LOGOUT: &str = "SELECT logout_v1($1, $2, $3)";
pub const WHOAMI: &str = "SELECT whoami_v2($1)";
pub(super) const HOT: &[&str] = &[BEGIN, FINISH, WHOAMI];

/// The hash of a bearer token: all that is ever stored or compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenHash(pub [u8; 32]);

/// Where a request came from, for throttles and the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub address: String,
    pub request_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum LoginBegin {
    Throttled {
        wait_s: u64,
    },
    Ok {
        /// How long the answer shall take, since somebody guesses at this account.
        delay_s: u64,
        user_id: Option<UserId>,
        password_hash: Option<String>,
    },
}

#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum LoginFinish {
    Refused,
    /// The password was right, and an administrator locked the account.
    Locked,
    Ok {
        user: UserView,
    },
}

#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Whoami {
    Unauthenticated,
    Ok(Caller),
}

/// The stored hash of whoever wants a new password.
#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum PasswordBegin {
    Unauthenticated,
    Throttled { wait_s: u64 },
    Ok { password_hash: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum PasswordFinish {
    Unauthenticated,
    /// The current password was wrong.
    Refused,
    Ok,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Logout {
    Unauthenticated,
    Ok,
}

impl Store {
    /// # Errors
    /// When the database does not answer.
    pub async fn begin_login(&self, name: &str, origin: &Origin) -> Result<LoginBegin, StoreError> {
        self.call(BEGIN, &[&name, &origin.address]).await
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn finish_login(
        &self,
        user: Option<UserId>,
        verified: bool,
        name: &str,
        token: TokenHash,
        lifetime_s: i32,
        origin: &Origin,
    ) -> Result<LoginFinish, StoreError> {
        let user = user.map(|user| user.0);
        let token = token.0.as_slice();
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
            [&user, &verified, &name, &token, &lifetime_s, &origin.address, &origin.request_id];
        self.call(FINISH, &parameters).await
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn logout(&self, token: TokenHash, origin: &Origin) -> Result<Logout, StoreError> {
        self.call(LOGOUT, &[&token.0.as_slice(), &origin.address, &origin.request_id]).await
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn whoami(&self, token: TokenHash) -> Result<Whoami, StoreError> {
        self.call(WHOAMI, &[&token.0.as_slice()]).await
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn begin_password(
        &self,
        token: TokenHash,
        origin: &Origin,
    ) -> Result<PasswordBegin, StoreError> {
        self.call(PASSWORD_BEGIN, &[&token.0.as_slice(), &origin.address]).await
    }

    /// Stores the new hash if the old one still holds; none: the current password was wrong.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn finish_password(
        &self,
        token: TokenHash,
        old_hash: &str,
        hash: Option<&str>,
        origin: &Origin,
    ) -> Result<PasswordFinish, StoreError> {
        let token = token.0.as_slice();
        self.call(PASSWORD_FINISH, &[&token, &old_hash, &hash, &origin.address, &origin.request_id]).await
    }
}
