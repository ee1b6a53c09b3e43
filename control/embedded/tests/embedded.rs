//! The embedded PostgreSQL against the installed one: each start, each way it may have been left, each clear refusal.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    env, fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use meridian_embedded::{Durability, EmbeddedError, EmbeddedPostgres, Places, Settings};
use meridian_runtime::Tasks;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};
use tokio_postgres::{Client, Config, NoTls};

const LIMIT: Duration = Duration::from_secs(60);
/// Names the data directory to the process that is killed.
const HOLD: &str = "MERIDIAN_TEST_HOLD";

/// As `mktemp -d` makes it.
fn private_dir() -> TempDir {
    tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o700)).tempdir().unwrap()
}

fn quick(data: &Path) -> Settings {
    Settings { durability: Durability::None, ..Settings::new(data) }
}

async fn start(data: &Path, tasks: &Tasks) -> EmbeddedPostgres {
    EmbeddedPostgres::start_with(quick(data), tasks).await.expect("PostgreSQL starts")
}

async fn refused(settings: Settings) -> EmbeddedError {
    EmbeddedPostgres::start_with(settings, &Tasks::new()).await.expect_err("the start is refused")
}

async fn connect(config: &Config, tasks: &Tasks) -> Client {
    let (client, connection) = config.connect(NoTls).await.expect("PostgreSQL answers");
    tasks.spawn("test connection", async move {
        let _ = connection.await;
    });
    client
}

fn server_pid(data: &Path) -> i32 {
    let text = fs::read_to_string(data.join("postgres/cluster/postmaster.pid")).expect("a server runs");
    text.lines().next().and_then(|line| line.parse().ok()).expect("its file begins with the pid")
}

fn pid(number: i32) -> rustix::process::Pid {
    rustix::process::Pid::from_raw(number).expect("a pid is not zero")
}

/// Everything below, for looking whether a directory changed.
fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let poll = async {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        while !holds() {
            tick.tick().await;
        }
    };
    timeout(LIMIT, poll).await.unwrap_or_else(|_| panic!("not within {LIMIT:?}: {what}"));
}

#[tokio::test]
async fn data_survives_a_stop_and_meridian_s_role_is_no_superuser() {
    let (data, tasks) = (private_dir(), Tasks::new());
    let first = start(data.path(), &tasks).await;
    let client = connect(&first.config(), &tasks).await;
    client.batch_execute("CREATE TABLE kept (word text); INSERT INTO kept VALUES ('here')").await.unwrap();
    let rights =
        client.query_one("SELECT rolsuper FROM pg_roles WHERE rolname = current_user", &[]).await.unwrap();
    assert!(!rights.get::<_, bool>(0));
    drop(client);
    first.stop().await.unwrap();
    assert!(!data.path().join("postgres/cluster/postmaster.pid").exists());

    let second = start(data.path(), &tasks).await;
    let client = connect(&second.config(), &tasks).await;
    assert_eq!(client.query_one("SELECT word FROM kept", &[]).await.unwrap().get::<_, &str>(0), "here");
    second.stop().await.unwrap();
}

#[tokio::test]
async fn nothing_listens_on_tcp_and_no_other_user_reaches_the_socket() {
    let (data, tasks) = (private_dir(), Tasks::new());
    let database = start(data.path(), &tasks).await;
    let client = connect(&database.config(), &tasks).await;
    let listens = client.query_one("SELECT current_setting('listen_addresses')", &[]).await.unwrap();
    assert_eq!(listens.get::<_, &str>(0), "");
    assert!(tcp_listeners_of(server_pid(data.path())).is_empty());
    assert_eq!(mode(database.socket_directory()), 0o700);
    assert_eq!(mode(&database.socket_directory().join(".s.PGSQL.5432")), 0o700);
    assert_eq!(mode(&data.path().join("postgres/cluster")), 0o700);
    database.stop().await.unwrap();
}

/// The sockets of `/proc/net/tcp*` in state LISTEN that the process holds.
fn tcp_listeners_of(pid: i32) -> Vec<String> {
    let held: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok()?.into_os_string().into_string().ok())
        .collect();
    let tables =
        ["tcp", "tcp6"].map(|name| fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default());
    let listening = tables.iter().flat_map(|table| table.lines()).filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        (fields.get(3) == Some(&"0A")).then(|| format!("socket:[{}]", fields[9]))
    });
    listening.filter(|socket| held.contains(socket)).collect()
}

#[tokio::test]
async fn the_server_has_a_session_of_its_own_and_an_unprivileged_user() {
    let (data, tasks) = (private_dir(), Tasks::new());
    let database = start(data.path(), &tasks).await;
    let server = server_pid(data.path());
    let session = rustix::process::getsid(Some(pid(server))).unwrap();
    assert_eq!(session.as_raw_nonzero().get(), server, "so it is not in its starter's session");
    assert_ne!(fs::metadata(format!("/proc/{server}")).unwrap().uid(), 0);
    database.stop().await.unwrap();
}

#[tokio::test]
async fn a_private_directory_of_our_own_is_opened_for_passing_through_and_no_further() {
    let (data, tasks) = (private_dir(), Tasks::new());
    assert_eq!(mode(data.path()), 0o700);
    let database = start(data.path(), &tasks).await;
    assert_eq!(mode(data.path()) & 0o067, 0, "no one may list it, strangers may not even pass");
    database.stop().await.unwrap();
}

#[tokio::test]
async fn a_private_directory_on_the_way_that_is_not_ours_is_no_obstacle_and_not_changed() {
    let (top, tasks) = (private_dir(), Tasks::new());
    let data = top.path().join("home/data");
    let first = start(&data, &tasks).await;
    assert_eq!(mode(top.path()), 0o700);
    connect(&first.config(), &tasks).await.batch_execute("CREATE TABLE kept ()").await.unwrap();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(top.path().to_str().unwrap()), "no one else sees what was bound: {mounts}");
    drop(first);
    assert!(tasks.stop(LIMIT).await);
    let (before, tasks) = (server_pid(&data), Tasks::new());
    let adopted = start(&data, &tasks).await;
    assert_eq!(server_pid(&data), before);
    connect(&adopted.config(), &tasks).await.batch_execute("SELECT FROM kept").await.unwrap();
    let place = adopted.socket_directory().parent().unwrap().to_owned();
    adopted.stop().await.unwrap();
    assert!(place.starts_with(&data) || !place.exists(), "nothing is left outside the data directory");
}

#[tokio::test]
async fn where_that_cannot_be_had_the_directory_in_the_way_is_named() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let top = private_dir();
    let error = refused(Settings { mount_view: false, ..quick(&top.path().join("data")) }).await.to_string();
    assert!(error.contains(&format!("chmod o+x {}`", top.path().display())), "{error}");
    assert_eq!(mode(top.path()), 0o700);
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_gets_a_short_private_directory_and_the_same_one_again() {
    let (top, tasks) = (private_dir(), Tasks::new());
    fs::set_permissions(top.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let data = top.path().join("a".repeat(120));
    let first = start(&data, &tasks).await;
    let socket = first.socket_directory().to_owned();
    assert!(!socket.starts_with(top.path()) && mode(&socket) == 0o700, "{socket:?}");
    connect(&first.config(), &tasks).await;
    first.stop().await.unwrap();
    let second = start(&data, &tasks).await;
    assert_eq!(second.socket_directory(), socket);
    second.stop().await.unwrap();

    // Someone else may make that name first in a shared directory.
    let short = socket.parent().unwrap();
    assert!(!short.exists(), "nothing is left outside the data directory");
    symlink("/", short).unwrap();
    let error = refused(quick(&data)).await.to_string();
    assert!(error.contains("is no directory"), "{error}");
    fs::remove_file(short).unwrap();
}

#[tokio::test]
async fn a_second_start_on_the_same_data_names_the_first() {
    let (data, tasks) = (private_dir(), Tasks::new());
    let database = start(data.path(), &tasks).await;
    let error = refused(quick(data.path())).await.to_string();
    assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
    database.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_dies_is_started_again() {
    let (data, tasks) = (private_dir(), Tasks::new());
    let database = start(data.path(), &tasks).await;
    let before = server_pid(data.path());
    rustix::process::kill_process(pid(before), rustix::process::Signal::KILL).unwrap();
    let ready = || {
        let file =
            fs::read_to_string(data.path().join("postgres/cluster/postmaster.pid")).unwrap_or_default();
        !file.starts_with(&format!("{before}\n")) && file.contains("ready")
    };
    eventually("another server is ready", ready).await;
    connect(&database.config(), &tasks).await;
    database.stop().await.unwrap();
}

#[tokio::test]
async fn a_dropped_handle_leaves_it_running_and_the_next_start_adopts_it() {
    let (data, tasks) = (private_dir(), Tasks::new());
    drop(start(data.path(), &tasks).await);
    assert!(tasks.stop(LIMIT).await, "the keeping task ends");
    let before = server_pid(data.path());
    let tasks = Tasks::new();
    let adopted = start(data.path(), &tasks).await;
    assert_eq!(server_pid(data.path()), before);
    adopted.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_with_other_settings_is_started_anew() {
    let (data, tasks) = (private_dir(), Tasks::new());
    drop(start(data.path(), &tasks).await);
    assert!(tasks.stop(LIMIT).await);
    let before = server_pid(data.path());
    let tasks = Tasks::new();
    let anew = EmbeddedPostgres::start(data.path(), &tasks).await.unwrap();
    assert_ne!(server_pid(data.path()), before);
    let client = connect(&anew.config(), &tasks).await;
    assert_eq!(client.query_one("SHOW fsync", &[]).await.unwrap().get::<_, &str>(0), "on");
    drop(client);
    anew.stop().await.unwrap();
}

/// Not a test of its own: the process that others here kill.
#[tokio::test]
#[ignore = "run by the tests that kill it"]
async fn holder() {
    let Some(data) = env::var_os(HOLD) else { return };
    let _held = start(Path::new(&data), &Tasks::new()).await;
    println!("\nholding");
    std::future::pending().await
}

async fn hold_elsewhere(data: &Path) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "holder", "--ignored", "--nocapture"]).env(HOLD, data);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let held = async { while lines.next_line().await.unwrap().expect("it goes on") != "holding" {} };
    timeout(LIMIT, held).await.expect("the other process starts the database");
    child
}

#[tokio::test]
async fn a_server_left_by_a_killed_process_is_adopted_with_its_data() {
    let (data, tasks) = (private_dir(), Tasks::new());
    let mut killed = hold_elsewhere(data.path()).await;
    let error = refused(quick(data.path())).await.to_string();
    assert!(error.contains(&format!("pid {}", killed.id().unwrap())), "{error}");
    let before = server_pid(data.path());
    killed.kill().await.unwrap();

    let adopted = start(data.path(), &tasks).await;
    assert_eq!(server_pid(data.path()), before);
    connect(&adopted.config(), &tasks).await;
    adopted.stop().await.unwrap();
    assert!(
        fs::metadata(format!("/proc/{before}/cwd")).is_err(),
        "an adopted server is stopped like any other"
    );
}

#[tokio::test]
async fn a_server_that_was_killed_with_its_starter_leaves_nothing_in_the_way() {
    let (data, tasks) = (private_dir(), Tasks::new());
    let mut killed = hold_elsewhere(data.path()).await;
    // The keeper would start it again at once.
    rustix::process::kill_process(pid(killed.id().unwrap().cast_signed()), rustix::process::Signal::STOP)
        .unwrap();
    rustix::process::kill_process(pid(server_pid(data.path())), rustix::process::Signal::KILL).unwrap();
    killed.kill().await.unwrap();
    assert!(data.path().join("postgres/cluster/postmaster.pid").exists());
    let database = start(data.path(), &tasks).await;
    connect(&database.config(), &tasks).await;
    database.stop().await.unwrap();
}

#[tokio::test]
async fn a_stale_pid_file_that_names_another_process_is_no_obstacle() {
    let (data, tasks) = (private_dir(), Tasks::new());
    start(data.path(), &tasks).await.stop().await.unwrap();
    // The pid of some PostgreSQL of the same user would be the worst case; this process stands for it.
    let stale = format!("{}\n{}\n1700000000\n5432\n\n\n\nready\n", std::process::id(), data.path().display());
    fs::write(data.path().join("postgres/cluster/postmaster.pid"), stale).unwrap();
    let database = start(data.path(), &tasks).await;
    connect(&database.config(), &tasks).await;
    database.stop().await.unwrap();
}

#[tokio::test]
async fn a_cluster_of_another_major_version_is_refused_with_both_versions() {
    let (data, tasks) = (private_dir(), Tasks::new());
    start(data.path(), &tasks).await.stop().await.unwrap();
    let version = data.path().join("postgres/cluster/PG_VERSION");
    let installed = fs::read_to_string(&version).unwrap();
    fs::write(&version, "12\n").unwrap();
    let error = refused(quick(data.path())).await.to_string();
    assert!(
        error.contains("made by PostgreSQL 12") && error.contains(&format!("is {}", installed.trim())),
        "{error}"
    );
    assert!(error.contains("pg_upgrade"), "{error}");
}

#[tokio::test]
async fn without_postgresql_the_error_says_what_to_install_and_no_cluster_is_begun() {
    let data = private_dir();
    let error = refused(Settings { places: Places::nowhere(), ..quick(data.path()) }).await;
    assert!(matches!(error, EmbeddedError::NotInstalled { .. }), "{error}");
    assert!(!data.path().join("postgres/cluster").exists());
}

#[tokio::test]
async fn an_initdb_that_was_cut_short_is_begun_again() {
    let (data, tasks) = (private_dir(), Tasks::new());
    let unfinished = data.path().join("postgres/cluster.new");
    fs::create_dir_all(&unfinished).unwrap();
    fs::write(unfinished.join("PG_VERSION"), "15\n").unwrap();
    let database = start(data.path(), &tasks).await;
    assert!(!unfinished.exists());
    database.stop().await.unwrap();
}

#[tokio::test]
async fn strange_letters_in_the_path_do_no_harm() {
    let (top, tasks) = (private_dir(), Tasks::new());
    fs::set_permissions(top.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["it's \"a, $dir\\ü", "it's $a d%41r\\ü"] {
        let data: PathBuf = top.path().join(name);
        let database = start(&data, &tasks).await;
        connect(&database.config(), &tasks).await;
        connect(&database.url().parse().unwrap(), &tasks).await;
        database.stop().await.unwrap();
    }
}

/// A small disk, gone with this value.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let directory = private_dir();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "tmpfs"]).arg(directory.path());
        // Only root may, and not in every container.
        mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success()).then_some(Self(directory))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_called_that_and_is_no_obstacle_once_there_is_space() {
    let Some(disk) = SmallDisk::mount("16m") else { return };
    let data = disk.0.path();
    let error = refused(quick(data)).await;
    assert!(matches!(error, EmbeddedError::DiskFull { .. }), "while the cluster is made: {error}");

    let grown =
        std::process::Command::new("mount").args(["-o", "remount,size=400m"]).arg(data).status().unwrap();
    assert!(grown.success());
    let tasks = Tasks::new();
    start(data, &tasks).await.stop().await.unwrap();

    let filler = data.join("filler");
    let filled =
        fs::File::create(&filler).and_then(|mut file| std::io::copy(&mut std::io::repeat(0), &mut file));
    assert_eq!(filled.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    let error = refused(quick(data)).await;
    assert!(matches!(error, EmbeddedError::DiskFull { .. }), "at a later start: {error}");
    fs::remove_file(filler).unwrap();
    start(data, &tasks).await.stop().await.unwrap();
}
