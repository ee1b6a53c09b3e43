//! Measures idle streams without the whole executable: `cargo run --release -p meridian-bench --example relay_idle -- 1000`.

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use meridian_bench::RelayBench;
use meridian_runtime::{Clock, Health, LogFormat, Tasks, init_logging};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next().unwrap_or_else(|| "1000".into());
    if first == "proxy" {
        return proxy(arguments.next().context("the settings file is missing")?.into()).await;
    }
    let rounds = arguments.next().map_or(Ok(2), |text| text.parse())?;
    let proxy = vec![std::env::current_exe()?.into(), "proxy".into()];
    let report = RelayBench { streams: first.parse()?, rounds, proxy }.idle().await?;
    if let Some(file) = arguments.next() {
        report.write_json(file.as_ref())?;
    }
    #[expect(clippy::print_stdout, reason = "the report is what the program is for")]
    {
        println!("{report}");
    }
    Ok(())
}

async fn proxy(file: PathBuf) -> anyhow::Result<()> {
    init_logging(LogFormat::Json, "warn");
    let settings = meridian_settings::read_file(&file)?;
    let tasks = Tasks::new();
    let _proxy = meridian_proxy::start(settings, Clock::system(), &tasks, &Health::default()).await?;
    tasks.stopping().cancelled().await;
    tasks.stop(Duration::from_secs(5)).await;
    Ok(())
}
