//! How PostgreSQL is set up: the three files that are written at every start, and the paths given on its command line.
//!
//! What an operator changes by `ALTER SYSTEM` stays, since PostgreSQL reads it after these.

use std::{ffi::OsString, fmt::Write, path::Path};

use crate::{
    Durability, EmbeddedError,
    account::Account,
    layout::{Layout, PORT, setting},
};

/// The role that owns the cluster; Meridian's own has no more rights than a managed database would give it.
pub(crate) const SUPERUSER: &str = "postgres";
/// Meridian's role and database.
pub(crate) const ROLE: &str = "meridian";

const MAIN: &str = "postgresql.conf";
const ACCESS: &str = "pg_hba.conf";
const NAMES: &str = "pg_ident.conf";

/// Values never reach the log: bound parameters and the details that quote rows are left out (a secret is never in a log).
const SETTINGS: &str = "\
# Written by Meridian at every start. Use ALTER SYSTEM for settings of your own.
listen_addresses = ''
unix_socket_permissions = 0700
max_connections = 200
shared_buffers = 128MB
max_wal_size = 1GB
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
jit = off
idle_in_transaction_session_timeout = 60s
logging_collector = on
log_filename = 'postgresql-%Y%m%d-%H%M%S.log'
log_rotation_age = 1d
log_rotation_size = 8MB
log_file_mode = 0600
log_line_prefix = '%m [%p] %q%u@%d '
log_min_duration_statement = 1s
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
log_error_verbosity = terse
";

/// For databases that no one misses: tests.
const WITHOUT_DURABILITY: &str = "\
fsync = off
synchronous_commit = off
full_page_writes = off
";

/// Writes the files; true when one of them changed.
pub(crate) fn write(
    layout: &Layout,
    account: &Account,
    durability: Durability,
) -> Result<bool, EmbeddedError> {
    let mut main = SETTINGS.to_owned();
    match durability {
        Durability::Full => {}
        Durability::None => main.push_str(WITHOUT_DURABILITY),
    }
    let main = layout.write(MAIN, &main, account)?;
    let access = layout.write(ACCESS, "local all all peer map=meridian\n", account)?;
    let names = layout.write(NAMES, &names(account), account)?;
    Ok(main || access || names)
}

/// Whom the kernel vouches for at the socket: root, Meridian's user and PostgreSQL's own. There is no password to keep or to lose.
fn names(account: &Account) -> String {
    let mut users = vec!["root", account.name.as_str(), account.ours.as_str()];
    users.sort_unstable();
    users.dedup();
    let mut text = String::new();
    for user in users {
        for role in [SUPERUSER, ROLE] {
            let _ = writeln!(text, "meridian \"{user}\" {role}");
        }
    }
    text
}

/// The server's arguments. Paths are given here and not in the file, where they would need quoting.
pub(crate) fn arguments(layout: &Layout) -> Vec<OsString> {
    let file = |setting_name, name| setting(setting_name, &layout.view.home.join(name));
    let settings = [
        file("config_file", MAIN),
        file("hba_file", ACCESS),
        file("ident_file", NAMES),
        setting("unix_socket_directories", &layout.socket),
        setting("log_directory", &layout.view.logs),
        setting("port", Path::new(&PORT.to_string())),
    ];
    let mut arguments = vec!["-D".into(), layout.view.home.join("cluster").into_os_string()];
    for setting in settings {
        arguments.extend(["-c".into(), setting]);
    }
    arguments
}

/// How Meridian and its tools reach it.
pub(crate) fn connection(layout: &Layout, role: &str, database: &str) -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    config.host_path(&layout.socket).port(PORT).user(role).dbname(database);
    config.connect_timeout(std::time::Duration::from_secs(10));
    config
}

/// A socket's directory is the host, percent-encoded.
pub(crate) fn url(socket: &Path, role: &str, database: &str) -> String {
    let encoded = socket.as_os_str().as_encoded_bytes().iter().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(*byte).to_string(),
        other => format!("%{other:02X}"),
    });
    format!("postgresql://{role}@{}:{PORT}/{database}", encoded.collect::<String>())
}
