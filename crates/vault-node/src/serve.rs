//! Puts the parts together: folder, machine, queue, door, listener.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use keyhaven_secrets::Remedy;
use keyhaven_vault_host::tail::TailLimits;
use keyhaven_wire::bundle::{AddressError, OperatorSecret, VaultAddress};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle as Task;

use crate::accounts::Directory;
use crate::config::Config;
use crate::connections::Connections;
use crate::driver;
use crate::folder::{Fleet, Folder, FolderError, Lock};
use crate::http::{self, Door};
use crate::listener::Listener;
use crate::machine::{self, CommitError, CreateError, Machine, ResumeError};
use crate::metrics::Metrics;
use crate::operator::{self, Facts, OperatorError};
use crate::os::{self, SystemEntropy};
use crate::queue::{self, Phase};
use crate::rate::RateLimiter;

/// How often the bundle is looked at and, when half of its time is over, signed anew.
const BUNDLE_CHECK: Duration = Duration::from_secs(60 * 60);

/// Why a vault is not served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Another process uses the data folder, or it cannot be read or written.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// There is no vault in the data folder.
    #[error("there is no vault in {}; make one with `keyhaven-vault init`", path.display())]
    NoVault {
        /// The folder.
        path: std::path::PathBuf,
    },
    /// The vault could not be made.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// The vault cannot be resumed.
    #[error(transparent)]
    Resume(#[from] ResumeError),
    /// The operator's key or bundle.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// It was asked to listen beyond this machine without encryption.
    #[error(
        "{listen} is not this machine itself, and nothing would encrypt login tokens on the way: \
         listen on 127.0.0.1 behind a TLS proxy, or say --dangerous-plain-http"
    )]
    PlainHttp {
        /// Where it was to listen.
        listen: SocketAddr,
    },
    /// The port cannot be listened on.
    #[error("cannot listen on {listen}: {source}")]
    Listen {
        /// Where it was to listen.
        listen: SocketAddr,
        /// The system's word.
        source: std::io::Error,
    },
    /// The system gave no threads.
    #[error("cannot start the server's threads: {0}")]
    Threads(#[source] std::io::Error),
    /// The address cannot be written down.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The core's thread stopped by itself.
    #[error("the vault stopped: {0}")]
    Stopped(#[from] CommitError),
    /// A bug of ours ended the core's thread. What was committed stands; start again.
    #[error("the core's thread ended unexpectedly; what was committed stands")]
    Panicked,
}

impl ServeError {
    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Folder(error) => error.remedy(),
            Self::Create(error) => error.remedy(),
            Self::Resume(error) => error.remedy(),
            Self::Operator(error) => error.remedy(),
            Self::Stopped(error) => error.remedy(),
            Self::NoVault { .. } | Self::PlainHttp { .. } | Self::Address(_) => Remedy::AskUser,
            Self::Listen { .. } | Self::Threads(_) | Self::Panicked => Remedy::RetryLater,
        }
    }
}

/// A vault that answers. Dropping it stops it.
pub struct Running {
    address: VaultAddress,
    bound: SocketAddr,
    phase: watch::Sender<Phase>,
    runtime: Runtime,
    listener: Option<Task<()>>,
    core: Option<JoinHandle<Result<(), CommitError>>>,
    _lock: Lock,
}

/// Stops a running vault from anywhere.
#[derive(Clone, Debug)]
pub struct Stop(watch::Sender<Phase>);

impl Stop {
    /// Takes nothing new, finishes what is under way, and stops.
    pub fn stop(&self) {
        stop(&self.0);
    }
}

fn stop(phase: &watch::Sender<Phase>) {
    phase.send_if_modified(|phase| {
        let serving = *phase == Phase::Serving;
        if serving {
            *phase = Phase::Stopping;
        }
        serving
    });
}

/// Makes a vault in a data folder.
///
/// # Errors
/// [`ServeError`]; a folder that has one already is left as it is.
pub fn init(data: &Path) -> Result<VaultPin, ServeError> {
    let folder = Folder::at(data);
    folder.create()?;
    let _lock = folder.lock()?;
    let fleet = machine::create(&folder, &mut os::SystemEntropy)?;
    let operator = operator::load(&fleet)?;
    Ok(VaultPin(operator.public().pin()))
}

/// The pin of a vault that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VaultPin(pub keyhaven_wire::bundle::Pin);

/// Serves the vault in a data folder. When this returns, the vault answers.
///
/// The server has threads of its own. Call this, and let go of what it returns, where blocking is
/// allowed: not inside an asynchronous task.
///
/// # Errors
/// [`ServeError`] when it cannot answer; nothing of it is left running.
pub fn serve(config: &Config) -> Result<Running, ServeError> {
    if !config.listen.ip().is_loopback() && !config.dangerous_plain_http {
        return Err(ServeError::PlainHttp {
            listen: config.listen,
        });
    }
    let folder = Folder::at(&config.data);
    let fleet = folder.fleet();
    if !fleet.exists() {
        return Err(ServeError::NoVault {
            path: config.data.clone(),
        });
    }
    let lock = folder.lock()?;
    let tail = TailLimits {
        tail_bytes: config.limits.tail_bytes,
        ..TailLimits::DEFAULT
    };
    let machine = Machine::resume_within(tail, &fleet, &mut SystemEntropy)?;
    let operator = operator::load(&fleet)?;
    let facts = machine.facts();
    let note = operator::current_bundle(&fleet, &operator, &facts, os::now_seconds())?;
    let pin = operator.public().pin();

    let metrics = Arc::new(Metrics::new());
    metrics.resumed(machine.index());
    let (phase, watched) = watch::channel(Phase::Serving);
    let limits = config.limits;
    let (queue, batches) = queue::queue(limits.queue, watched.clone(), Arc::clone(&metrics));

    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("vault-http")
        .enable_all()
        .build()
        .map_err(ServeError::Threads)?;
    let listen_error = |source| ServeError::Listen {
        listen: config.listen,
        source,
    };
    let listener = runtime
        .block_on(TcpListener::bind(config.listen))
        .map_err(listen_error)?;
    let bound = listener.local_addr().map_err(listen_error)?;
    let address = VaultAddress::new(&format!("http://{bound}"), pin)?;

    let core = {
        let (phase, metrics) = (phase.clone(), Arc::clone(&metrics));
        thread::Builder::new()
            .name("vault-core".to_owned())
            .spawn(move || driver::run(machine, batches, &phase, &metrics))
            .map_err(ServeError::Threads)?
    };
    let door = Arc::new(Door {
        queue,
        accounts: Directory::at(folder.accounts()),
        rate: RateLimiter::new(limits.account, limits.everybody, Instant::now()),
        metrics: Arc::clone(&metrics),
        bundle: RwLock::new(note),
        body_time: limits.body_time,
    });
    // It holds the door weakly: the queue must close when the listener is done with it.
    let keeper = keep_bundle(Arc::downgrade(&door), fleet, operator, facts);
    runtime.spawn(keeper);
    let listener = Listener {
        listener,
        router: http::router(door),
        connections: Connections::new(os::within_handles(limits.connections)),
        metrics,
        phase: watched,
        head_time: limits.head_time,
        patience: limits.patience,
    };
    let listener = Some(runtime.spawn(listener.run()));
    Ok(Running {
        address,
        bound,
        phase,
        runtime,
        listener,
        core: Some(core),
        _lock: lock,
    })
}

/// Signs the bundle anew in time, for as long as the door stands.
async fn keep_bundle(
    door: std::sync::Weak<Door>,
    fleet: Fleet,
    operator: OperatorSecret,
    facts: Facts,
) {
    loop {
        tokio::time::sleep(BUNDLE_CHECK).await;
        let Some(door) = door.upgrade() else { return };
        match operator::current_bundle(&fleet, &operator, &facts, os::now_seconds()) {
            Ok(note) => *door.bundle.write().unwrap_or_else(PoisonError::into_inner) = note,
            Err(error) => tracing::error!(%error, "the bundle could not be renewed"),
        }
    }
}

impl Running {
    /// What clients are given.
    #[must_use]
    pub fn address(&self) -> &VaultAddress {
        &self.address
    }

    /// Where it listens, with the port that it got.
    #[must_use]
    pub fn bound(&self) -> SocketAddr {
        self.bound
    }

    /// A handle that stops it.
    #[must_use]
    pub fn handle(&self) -> Stop {
        Stop(self.phase.clone())
    }

    /// Stops at SIGTERM and SIGINT, as after [`Stop::stop`].
    ///
    /// # Errors
    /// [`ServeError::Threads`] when the system does not let signals be caught.
    pub fn stop_on_signals(&self) -> Result<(), ServeError> {
        use tokio::signal::unix::{SignalKind, signal};
        let _runtime = self.runtime.enter();
        let mut term = signal(SignalKind::terminate()).map_err(ServeError::Threads)?;
        let mut int = signal(SignalKind::interrupt()).map_err(ServeError::Threads)?;
        let phase = self.phase.clone();
        self.runtime.spawn(async move {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            stop(&phase);
        });
        Ok(())
    }

    /// Waits until the vault has stopped: because it was told to, or by a failure of its own.
    ///
    /// # Errors
    /// [`ServeError::Stopped`] when the core's thread failed. What was answered is committed, also
    /// then.
    pub fn wait(mut self) -> Result<(), ServeError> {
        self.finish()
    }

    fn finish(&mut self) -> Result<(), ServeError> {
        if let Some(listener) = self.listener.take() {
            // The listener ends with the phase; a panic of it ends the phase here.
            let ended = self.runtime.block_on(listener);
            stop(&self.phase);
            if ended.is_err() {
                return Err(ServeError::Panicked);
            }
        }
        match self.core.take().map(JoinHandle::join) {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(error.into()),
            Some(Err(_)) => Err(ServeError::Panicked),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        stop(&self.phase);
        if let Err(error) = self.finish() {
            tracing::error!(%error, "the vault did not stop cleanly");
        }
    }
}
