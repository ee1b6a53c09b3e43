//! The balancer at work: its listeners, its table of rules, and how one table takes over from another.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use meridian_runtime::{Health, Tasks};
use meridian_settings::BalanceSettings;
use tokio::{
    net::TcpListener,
    sync::Mutex,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    BalanceError, bind, check::keep_checked, connection::serve, metrics::Metrics, metrics::Refused,
    metrics::Reload, pipes::Pipes, places::Places, plan::Plan, registry::Known, rule::Entry, splicing::Means,
    table::Table,
};

/// Reason code of `/readyz`: no rule has a backend that is in.
const NO_BACKEND: &str = "no_backend";
/// How long to leave a listener alone when the system has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct Balancer {
    pub(crate) table: ArcSwap<Table>,
    /// What the control plane named last.
    known: std::sync::Mutex<Known>,
    pub(crate) metrics: Metrics,
    places: Arc<Places>,
    /// For connections in bulk.
    pub(crate) means: Means,
    /// Cancelled when connections have had their time to end after a stop.
    pub(crate) cut: CancellationToken,
    /// The listeners by the address they were configured with. Held while a table takes over.
    listeners: Mutex<BTreeMap<SocketAddr, Listening>>,
    health: Health,
    tasks: Tasks,
}

struct Listening {
    local_addr: SocketAddr,
    stop: CancellationToken,
}

impl Balancer {
    /// Starts on a first configuration.
    pub(crate) async fn start(
        settings: BalanceSettings,
        known: Known,
        metrics: &Metrics,
        tasks: &Tasks,
        health: &Health,
    ) -> Result<Arc<Self>, BalanceError> {
        let mut plan = Plan::new(&settings, &known)?;
        plan.leave_out_itself(is_local)?;
        let bound = bind_all(plan.listeners.keys()).await?;
        let pipes = Pipes::new(settings.max_pipes, metrics.pipes.clone());
        let balancer = Arc::new(Self {
            means: Means { pipes, spliced: metrics.spliced.clone() },
            table: ArcSwap::from_pointee(Table::new(settings, plan, None, metrics)),
            known: std::sync::Mutex::new(known),
            metrics: metrics.clone(),
            places: Arc::default(),
            cut: CancellationToken::new(),
            listeners: Mutex::default(),
            health: health.clone(),
            tasks: tasks.clone(),
        });
        balancer.listen(&mut *balancer.listeners.lock().await, bound)?;
        balancer.check_backends();
        tasks.spawn("drain", balancer.clone().drain());
        Ok(balancer)
    }

    /// Lets a new configuration take over. Connections that live are not touched; what they were counted for goes on.
    ///
    /// # Errors
    /// When it makes no sense or an address is not to be had; then all stays as it was.
    pub(crate) async fn reload(self: &Arc<Self>, settings: BalanceSettings) -> Result<(), BalanceError> {
        let mut listeners = self.listeners.lock().await;
        let before = self.table.load_full();
        let known = self.known().clone();
        let mut plan = Plan::new(&settings, &known)?;
        plan.leave_out_itself(is_local)?;
        let fixed = |of: &BalanceSettings| {
            (of.ops_listen, of.zone.clone(), of.name.clone(), of.node.clone(), of.max_pipes)
        };
        if fixed(&settings) != fixed(&before.settings) {
            tracing::warn!(
                "`ops_listen`, `zone`, `name`, `node` and `max_pipes` count from the next start on"
            );
        }
        let bound =
            bind_all(plan.listeners.keys().filter(|address| !listeners.contains_key(address))).await?;
        let next = Arc::new(Table::new(settings, plan, Some(&before), &self.metrics));
        self.listen(&mut listeners, bound)?;
        self.table.store(next.clone());
        listeners.retain(|address, listening| {
            let stays = next.listeners.contains_key(address);
            if !stays {
                listening.stop.cancel();
            }
            stays
        });
        before.replaced.cancel();
        before.forget_gone(&next);
        self.check_backends();
        Ok(())
    }

    /// [`Balancer::reload`], told in the log and counted.
    pub(crate) async fn reload_and_tell(
        self: &Arc<Self>,
        settings: BalanceSettings,
    ) -> Result<(), BalanceError> {
        let applied = self.reload(settings).await;
        match &applied {
            Ok(()) => {
                let rules = self.table.load().rules.len();
                tracing::info!(rules, "the new configuration is in force");
            }
            Err(error) => tracing::error!(%error, "the new configuration is refused, the old one goes on"),
        }
        self.metrics.reloaded(if applied.is_ok() { Reload::Applied } else { Reload::Refused });
        applied
    }

    /// Takes what the control plane names now. The rules of the file stay as they are.
    pub(crate) async fn learn(self: &Arc<Self>, known: Known) {
        if *self.known() == known {
            return;
        }
        *self.known() = known;
        let settings = self.table.load().settings.clone();
        match self.reload(settings).await {
            Ok(()) => tracing::info!("the control plane's list of nodes is in force"),
            Err(error) => tracing::error!(%error, "the control plane's list of nodes makes no sense here"),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address that connections come in at, by the one that was configured (whose port may be 0).
    pub(crate) async fn local_addr(&self, configured: SocketAddr) -> Option<SocketAddr> {
        self.listeners.lock().await.get(&configured).map(|listening| listening.local_addr)
    }

    fn listen(
        self: &Arc<Self>,
        listeners: &mut BTreeMap<SocketAddr, Listening>,
        bound: Vec<(SocketAddr, TcpListener)>,
    ) -> Result<(), BalanceError> {
        for (address, listener) in bound {
            let local_addr =
                listener.local_addr().map_err(|source| BalanceError::Listen { address, source })?;
            let stop = self.tasks.stopping().child_token();
            tracing::info!(address = %local_addr, "balancing");
            self.tasks.spawn("listener", self.clone().accept(listener, address, stop.clone()));
            listeners.insert(address, Listening { local_addr, stop });
        }
        Ok(())
    }

    /// Takes connections until it is told to stop.
    async fn accept(self: Arc<Self>, listener: TcpListener, listen: SocketAddr, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (socket, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            self.metrics.accepted.inc();
            let Some(place) = self.places.take(self.table.load().terms.max_connections) else {
                self.metrics.refuse(Refused::Full);
                continue;
            };
            let (balancer, tasks) = (self.clone(), self.tasks.clone());
            self.tasks.spawn("connection", async move {
                let cut = balancer.cut.clone();
                tokio::select! {
                    () = cut.cancelled() => {}
                    () = serve(socket, peer, listen, balancer, place, &tasks) => {}
                }
            });
        }
    }

    /// After a stop: gives connections their time, then cuts them.
    async fn drain(self: Arc<Self>) {
        self.tasks.stopping().cancelled().await;
        let wait = self.table.load().terms.drain_wait;
        let _ = timeout(wait, self.places.all_free()).await;
        self.cut.cancel();
    }

    /// Checks every backend of the table of now in a task of its own, until another table takes over.
    fn check_backends(self: &Arc<Self>) {
        let table = self.table.load_full();
        for rule in &table.rules {
            for Entry { backend, .. } in &rule.entries {
                let (balancer, replaced) = (self.clone(), table.replaced.clone());
                let checks = keep_checked(rule.clone(), backend.clone(), move || balancer.tell_readiness());
                self.tasks.spawn_until_stop("backend check", async move {
                    tokio::select! {
                        () = replaced.cancelled() => {}
                        () = checks => {}
                    }
                });
            }
        }
        self.tell_readiness();
    }

    fn tell_readiness(&self) {
        if self.table.load().any_in() {
            self.health.restore(NO_BACKEND);
        } else {
            self.health.degrade(NO_BACKEND, "no rule has a backend that is in; all are tried all the same");
        }
    }
}

async fn bind_all(
    addresses: impl Iterator<Item = &SocketAddr>,
) -> Result<Vec<(SocketAddr, TcpListener)>, BalanceError> {
    let mut bound = Vec::new();
    for &address in addresses {
        bound.push((address, bind(address).await?));
    }
    Ok(bound)
}

/// Whether an address is this machine's: only then can something be bound to it.
fn is_local(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}
