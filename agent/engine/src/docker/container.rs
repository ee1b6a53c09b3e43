//! A workspace's container: what it may not do (DESIGN.md §5).

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use bollard::models::{
    ContainerCreateBody, ContainerState as Described, HostConfig, HostConfigLogConfig, Mount,
    MountBindOptions, MountBindOptionsPropagationEnum, MountType, MountVolumeOptions, RestartPolicy,
    RestartPolicyNameEnum,
};

use crate::{ContainerState, Order, Owner, STREAM_DIRECTORY, names};

use super::home::HOME_DIRECTORY;

const MIB: i64 = 1 << 20;
/// Less is of no use to a program that needs any.
const LEAST_TMP_MB: i64 = 16;
/// What the system's own programs expect to be there; the workspace's user cannot write to it.
const RUN_MB: i64 = 16;

/// What was made for the container beforehand.
pub(super) struct Parts {
    pub(super) leaf: PathBuf,
    /// Network mode or name.
    pub(super) network: String,
    /// The text of a profile other than the engine's own.
    pub(super) seccomp: Option<String>,
    pub(super) user: (u32, u32),
    /// Files in place of the image's `/etc/passwd` and `/etc/group`.
    pub(super) accounts: Option<(PathBuf, PathBuf)>,
    /// The volume that is the home.
    pub(super) home: String,
}

pub(super) fn body(owner: &Owner, order: &Order, parts: &Parts) -> ContainerCreateBody {
    let mut labels = owner.session_labels(order.session);
    labels.insert(names::GENERATION.into(), order.generation.to_string());
    labels.insert(names::EPOCH.into(), order.epoch.to_string());
    if let Some(home) = &order.spec.home {
        labels.insert(names::HOME.into(), home.id.to_string());
        labels.extend(home.shared.as_ref().map(|shared| (names::STORAGE.to_owned(), shared.storage.clone())));
    }
    ContainerCreateBody {
        image: Some(order.spec.image.clone()),
        hostname: Some("workspace".into()),
        user: Some(format!("{}:{}", parts.user.0, parts.user.1)),
        labels: Some(labels),
        host_config: Some(host(order, parts)),
        ..ContainerCreateBody::default()
    }
}

fn host(order: &Order, parts: &Parts) -> HostConfig {
    let spec = &order.spec;
    let mut security = vec!["no-new-privileges:true".to_owned()];
    security.extend(parts.seccomp.as_ref().map(|profile| format!("seccomp={profile}")));
    HostConfig {
        cap_drop: Some(vec!["ALL".into()]),
        security_opt: Some(security),
        privileged: Some(false),
        readonly_rootfs: Some(true),
        // With swap equal to memory there is none to swap to.
        memory: Some(spec.memory_mb * MIB),
        memory_swap: Some(spec.memory_mb * MIB),
        nano_cpus: Some(spec.cpu_milli * 1_000_000),
        pids_limit: Some(spec.pids_limit),
        shm_size: Some(spec.shm_mb * MIB),
        ipc_mode: Some("private".into()),
        init: Some(true),
        network_mode: Some(parts.network.clone()),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".into()),
            config: Some(HashMap::from([("max-size".into(), "1m".into()), ("max-file".into(), "1".into())])),
        }),
        tmpfs: Some(tmpfs(spec.tmp_mb)),
        mounts: Some(mounts(parts)),
        ..HostConfig::default()
    }
}

fn tmpfs(tmp_mb: i64) -> HashMap<String, String> {
    let of = |mb: i64, mode: &str| format!("rw,nosuid,nodev,noexec,size={mb}m,mode={mode}");
    let tmp_mb = tmp_mb.max(LEAST_TMP_MB);
    HashMap::from([
        // Programs are unpacked and run from /tmp by installers and language tools.
        ("/tmp".into(), format!("rw,nosuid,nodev,exec,size={tmp_mb}m,mode=1777")),
        ("/var/tmp".into(), of(tmp_mb, "1777")),
        ("/run".into(), of(RUN_MB, "0755")),
    ])
}

fn mounts(parts: &Parts) -> Vec<Mount> {
    let mut mounts = vec![bind(&parts.leaf, STREAM_DIRECTORY, false), home_mount(&parts.home)];
    if let Some((passwd, group)) = &parts.accounts {
        mounts.extend([bind(passwd, "/etc/passwd", true), bind(group, "/etc/group", true)]);
    }
    mounts
}

fn bind(source: &Path, target: &str, read_only: bool) -> Mount {
    Mount {
        target: Some(target.into()),
        source: Some(source.display().to_string()),
        read_only: Some(read_only),
        typ: Some(MountType::BIND),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    }
}

fn home_mount(volume: &str) -> Mount {
    Mount {
        target: Some(HOME_DIRECTORY.into()),
        source: Some(volume.to_owned()),
        typ: Some(MountType::VOLUME),
        volume_options: Some(MountVolumeOptions { no_copy: Some(true), ..MountVolumeOptions::default() }),
        ..Mount::default()
    }
}

/// What the engine says about a container, in our words.
pub(super) fn state(described: Described) -> ContainerState {
    if described.running == Some(true) {
        return ContainerState::Running;
    }
    let code = described.exit_code.unwrap_or_default();
    let started = described.started_at.is_some_and(|at| !at.starts_with("0001-"));
    if !started && described.error.as_deref().unwrap_or_default().is_empty() {
        return ContainerState::Created;
    }
    let reason = if described.oom_killed == Some(true) {
        "the workspace used up its memory".to_owned()
    } else if let Some(error) = described.error.filter(|error| !error.is_empty()) {
        format!("the workspace could not run: {error}")
    } else if code == 0 {
        "the workspace ended by itself".to_owned()
    } else {
        format!("the workspace ended with exit code {code}")
    };
    ContainerState::Exited { reason }
}
