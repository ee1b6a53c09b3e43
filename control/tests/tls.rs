//! An external database over TLS: a PostgreSQL with a certificate of its own on TCP, and what each `sslmode` makes of it.

mod support;

use std::{
    fs,
    net::Ipv4Addr,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use meridian_control::store::{Database, Store, StoreError, TlsFault};
use meridian_embedded::{Durability, EmbeddedPostgres, Settings};
use meridian_harness::wait_for;
use meridian_runtime::{Tasks, random_bytes};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use reqwest::{Method, StatusCode};
use support::Site;
use tempfile::TempDir;
use tokio_postgres::NoTls;

/// What the certificate is for, besides the address.
const HOST: &str = "db.meridian.test";

/// A PostgreSQL that is reached over TCP on a loopback address of its own, and speaks TLS there.
struct Server {
    postgres: EmbeddedPostgres,
    address: Ipv4Addr,
    folder: TempDir,
    tasks: Tasks,
}

impl Server {
    async fn start() -> Result<Self> {
        let folder = TempDir::new()?;
        // PostgreSQL's own user passes through.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let tasks = Tasks::new();
        let settings =
            Settings { durability: Durability::None, ..Settings::new(&folder.path().join("data")) };
        let made = EmbeddedPostgres::start_with(settings.clone(), &tasks).await?;
        let [a, b, c] = random_bytes::<3>();
        let address = Ipv4Addr::new(127, a | 1, b, c.clamp(1, 254));
        let cluster = folder.path().join("data/postgres/cluster");
        certify(folder.path(), &cluster, address)?;
        execute(&made, &format!("ALTER SYSTEM SET listen_addresses = '{address}'; ")).await?;
        execute(&made, "ALTER SYSTEM SET ssl = on").await?;
        made.stop().await?;
        let postgres = EmbeddedPostgres::start_with(settings, &tasks).await?;
        // Written anew at each start, which lets nobody in over TCP.
        let access = folder.path().join("data/postgres/pg_hba.conf");
        let rules = fs::read_to_string(&access)?;
        fs::write(&access, format!("{rules}host all all 127.0.0.0/8 trust\n"))?;
        execute(&postgres, "SELECT pg_reload_conf()").await?;
        let server = Self { postgres, address, folder, tasks };
        wait_for("the server to let clients in", Duration::from_secs(10), async || {
            // As `meridian migrate` does it.
            let store = Server::store(&server.url("sslmode=require"))?;
            store.prepare(&server.tasks).await.map_err(anyhow::Error::from)
        })
        .await?;
        Ok(server)
    }

    fn url(&self, parameters: &str) -> String {
        format!("postgresql://meridian@{}:5432/meridian?{parameters}", self.address)
    }

    /// A PEM file made by [`certify`].
    fn pem(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn store(text: &str) -> Result<Store> {
        Ok(Store::new(Database::parse(text)?, 1, Duration::from_secs(5))?)
    }

    /// Whether a connection made so is encrypted, as the server sees it.
    async fn encrypted(&self, text: &str) -> Result<bool> {
        let store = Self::store(text)?;
        store.ping().await?;
        let seen = self.seen().await?;
        anyhow::ensure!(!seen.is_empty(), "the server sees no connection");
        Ok(seen.iter().all(|(_, encrypted)| *encrypted))
    }

    /// Meridian's connections over TCP: the last statement of each, and whether it is encrypted.
    async fn seen(&self) -> Result<Vec<(String, bool)>> {
        let (client, connection) = self.postgres.superuser_config().connect(NoTls).await?;
        let asking = client.query(
            "SELECT a.query, s.ssl FROM pg_stat_activity a JOIN pg_stat_ssl s USING (pid)
             WHERE a.usename = 'meridian' AND a.client_addr IS NOT NULL",
            &[],
        );
        tokio::select! {
            _ = connection => anyhow::bail!("closed"),
            rows = asking => Ok(rows?.iter().map(|row| (row.get(0), row.get(1))).collect()),
        }
    }

    async fn fault(&self, text: &str) -> Result<TlsFault> {
        match Self::store(text)?.ping().await {
            Err(StoreError::Tls { fault, .. }) => Ok(fault),
            other => anyhow::bail!("{text}: {other:?}"),
        }
    }

    async fn stop(self) -> Result<()> {
        self.postgres.stop().await?;
        self.tasks.stop(Duration::from_secs(10)).await;
        Ok(())
    }
}

/// Two authorities, and a certificate of the first for the server.
fn certify(folder: &Path, cluster: &Path, address: Ipv4Addr) -> Result<()> {
    let authority = |name: &str| -> Result<Issuer<'static, KeyPair>> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        fs::write(folder.join(name), params.self_signed(&key)?.pem())?;
        Ok(Issuer::new(params, key))
    };
    let known = authority("known.pem")?;
    authority("other.pem")?;
    let key = KeyPair::generate()?;
    let params = CertificateParams::new(vec![HOST.to_owned(), address.to_string()])?;
    fs::write(cluster.join("server.crt"), params.signed_by(&key, &known)?.pem())?;
    fs::write(folder.join("server.pem"), fs::read(cluster.join("server.crt"))?)?;
    let key_file = cluster.join("server.key");
    fs::write(&key_file, key.serialize_pem())?;
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600))?;
    let owner = fs::metadata(cluster)?;
    for file in ["server.crt", "server.key"] {
        chown(cluster.join(file), Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

async fn execute(postgres: &EmbeddedPostgres, statement: &str) -> Result<()> {
    let (client, connection) = postgres.superuser_config().connect(NoTls).await?;
    tokio::select! {
        _ = connection => anyhow::bail!("closed"),
        done = client.batch_execute(statement) => Ok(done?),
    }
}

#[tokio::test]
async fn each_sslmode_means_what_it_means_to_postgresqls_own_clients() -> Result<()> {
    let server = Server::start().await?;
    let roots = |name: &str| format!("sslrootcert={}", server.pem(name).display());
    let full = |name: &str| server.url(&format!("sslmode=verify-full&{}", roots(name)));
    assert!(server.encrypted(&server.url("")).await?, "TLS is preferred");
    assert!(server.encrypted(&server.url("sslmode=require")).await?);
    assert!(server.encrypted(&full("known.pem")).await?);
    assert!(server.encrypted(&full("server.pem")).await?, "the server's own certificate will do");
    assert!(!server.encrypted(&server.url("sslmode=disable")).await?);

    assert_eq!(server.fault(&full("other.pem")).await?, TlsFault::UnknownAuthority);
    assert_eq!(server.fault(&server.url("sslmode=verify-ca")).await?, TlsFault::UnknownAuthority);
    let named = |host: &str, mode: &str| {
        let known = server.pem("known.pem");
        format!(
            "host={host} hostaddr={} user=meridian dbname=meridian sslmode={mode} sslrootcert='{}'",
            server.address,
            known.display()
        )
    };
    assert!(server.encrypted(&named(HOST, "verify-full")).await?);
    assert_eq!(server.fault(&named("db.elsewhere.test", "verify-full")).await?, TlsFault::WrongName);
    assert!(server.encrypted(&named("db.elsewhere.test", "verify-ca")).await?);
    assert_eq!(
        server.fault(&server.url(&format!("sslmode=require&{}", roots("other.pem")))).await?,
        TlsFault::UnknownAuthority,
        "an authority that is named is asked for"
    );

    execute(&server.postgres, "ALTER SYSTEM SET ssl = off").await?;
    execute(&server.postgres, "SELECT pg_reload_conf()").await?;
    wait_for("the server to turn TLS off", Duration::from_secs(10), async || {
        let fault = server.fault(&full("known.pem")).await?;
        anyhow::ensure!(fault == TlsFault::NotOffered, "{fault:?}");
        Ok(())
    })
    .await?;
    assert!(!server.encrypted(&server.url("")).await?, "preferred is not demanded");
    let error = Server::store(&server.url("sslmode=require"))?.ping().await.err().context("an error")?;
    let text = error.to_string();
    assert!(text.contains("database") && text.contains("no TLS") && text.contains("Turn ssl on"), "{text}");
    server.stop().await
}

#[tokio::test]
async fn a_web_app_migrates_listens_and_works_over_tls_and_says_so_when_it_cannot() -> Result<()> {
    let server = Server::start().await?;
    let database = Database::parse(
        &server.url(&format!("sslmode=verify-full&sslrootcert={}", server.pem("known.pem").display())),
    )?;
    let site = Site::start_on(support::database().await?, database, TempDir::new()?).await?;
    let admin = site.admin().await?;
    assert_eq!(admin.send(Method::GET, "/api/v1/sessions", None).await?.0, StatusCode::OK);
    let seen = wait_for("the connection that listens", Duration::from_secs(10), async || {
        let seen = server.seen().await?;
        anyhow::ensure!(seen.iter().any(|(query, _)| query == "LISTEN meridian"), "{seen:?}");
        Ok(seen)
    })
    .await?;
    assert!(seen.len() >= 2 && seen.iter().all(|(_, encrypted)| *encrypted), "{seen:?}");

    execute(&server.postgres, "ALTER SYSTEM SET ssl = off").await?;
    execute(
        &server.postgres,
        "SELECT pg_reload_conf(); SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'meridian'",
    )
    .await?;
    let body = wait_for("the Web App to say what is wrong", Duration::from_secs(20), async || {
        match admin.send(Method::GET, "/api/v1/sessions", None).await? {
            (StatusCode::SERVICE_UNAVAILABLE, body) if body["error"]["code"] == "database_tls" => Ok(body),
            other => anyhow::bail!("{other:?}"),
        }
    })
    .await?;
    assert_eq!(body["error"]["hop"], "database", "{body}");
    assert!(body["error"]["message"].as_str().is_some_and(|text| text.contains("no TLS")), "{body}");
    assert!(body["error"]["hint"].as_str().is_some_and(|text| text.contains("ssl on")), "{body}");
    site.tasks.stop(Duration::from_secs(10)).await;
    server.stop().await
}
