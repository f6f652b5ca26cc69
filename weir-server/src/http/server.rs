//! The thread the HTTP door runs on.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use super::app::app;
use super::facts::Facts;
use super::listener::Counted;

/// How long a stopping server waits for requests that are being answered.
const FAREWELL: Duration = Duration::from_secs(2);

/// A running HTTP door.
#[derive(Debug)]
pub struct HttpServer {
    facts: Arc<Facts>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl HttpServer {
    /// Serves `facts` on a listener until [`HttpServer::stop`].
    ///
    /// # Errors
    /// When the system refuses a thread or what a runtime needs.
    pub fn start(listener: TcpListener, facts: Arc<Facts>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            Counted::new(tokio::net::TcpListener::from_std(listener)?)
        };
        let (stop, stopped) = oneshot::channel();
        let service = app(facts.clone());
        let thread = std::thread::Builder::new().name("weir-http".into()).spawn(move || {
            runtime.block_on(serve(listener, service, stopped));
            runtime.shutdown_background();
        })?;
        Ok(Self { facts, stop, thread })
    }

    /// Tells probes that the server takes its leave, while requests are still answered.
    pub fn announce_stop(&self) {
        self.facts.stopping();
    }

    /// Finishes what is being answered, and returns when the door is closed.
    pub fn stop(self) {
        self.facts.stopping();
        // The thread may have ended already; then there is nobody to tell and nothing to wait for.
        self.stop.send(()).ok();
        drop(self.thread.join());
    }
}

async fn serve(listener: Counted, service: axum::Router, stopped: oneshot::Receiver<()>) {
    let (farewell, over) = oneshot::channel();
    let stop = async move {
        drop(stopped.await);
        farewell.send(()).ok();
    };
    let deadline = async move {
        drop(over.await);
        tokio::time::sleep(FAREWELL).await;
    };
    tokio::select! {
        served = axum::serve(listener, service).with_graceful_shutdown(stop) => {
            if let Err(error) = served {
                tracing::error!(%error, "the HTTP door failed");
            }
        }
        () = deadline => {}
    }
}
