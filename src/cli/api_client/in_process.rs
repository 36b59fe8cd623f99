//! The API in this process, for commands without a running daemon. It is the same code, on the locked store.

use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use log::LevelFilter;
use rustix::process::Signal;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::cli::api_client::context::CommandContext;
use crate::cli::api_client::message::ApiMethod;
use crate::cli::api_client::message::ApiResponse;
use crate::cli::api_client::message::CallError;
use crate::cli::logging;
use crate::config::Config;
use crate::config::StoreConfig;
use crate::http::api::Api;
use crate::http::api::Caller;
use crate::services::Services;
use crate::services::http_server::HttpServer;
use crate::services::signals;
use crate::tasks::DRAIN_TIMEOUT;
use crate::tasks::Tasks;
use crate::tasks::Wake;

/// What a command needs from the local services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum StoreAccess {
    /// An existing store. A command that only reads must not create one, or a mistyped directory would look
    /// like an empty store.
    Existing,
    /// A store, which is created if there is none.
    CreateIfMissing,
    /// A store and the HTTP server, because a consent by browser ends at the redirect URI.
    WithHttpServer,
}

/// The local services, with a single-threaded runtime.
pub(in crate::cli) struct InProcessApi {
    runtime: Runtime,
    api: Api,
    tasks: Tasks,
}

impl InProcessApi {
    /// Opens the store and locks it for this process.
    pub(in crate::cli) fn open(context: &CommandContext, needs: StoreAccess) -> Result<Self, CallError> {
        let CommandContext { source, socket } = context;
        let socket = socket.path();
        if source.setting("MY_APP_CLIENT_ID").is_none() {
            return Err(CallError::NotRunning(
                socket.to_owned(),
                "to work without a daemon, MY_APP_CLIENT_ID must be set",
            ));
        }
        let read = if needs == StoreAccess::WithHttpServer { Config::read_to_serve } else { Config::read };
        let config =
            read(source).map_err(|mistakes| CallError::Settings(mistakes.to_string().replace('\n', "; ")))?;
        if config.store == StoreConfig::Memory {
            return Err(CallError::NotRunning(socket.to_owned(), "the store is in the daemon's memory"));
        }
        let missing = config.store.path().is_some_and(|path| !path.exists());
        if needs == StoreAccess::Existing && missing {
            return Err(CallError::NotRunning(
                socket.to_owned(),
                "there is no store to work on without a daemon",
            ));
        }
        logging::start(false, LevelFilter::Warn, source.get("RUST_LOG"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| CallError::Local(format!("cannot start the async runtime: {e}")))?;
        // A closed terminal must not interrupt a consent or a refresh.
        let heard = runtime.block_on(async {
            signals::ignore_harmless()?;
            signals::handle(Signal::HUP).map(drop)
        });
        heard.map_err(|e| CallError::Local(format!("cannot handle signals: {e}")))?;
        let built = runtime.block_on(Services::build(&config)).map_err(|e| match e {
            e if e.is_in_use() => CallError::InUse(socket.to_owned()),
            e => CallError::Local(e.to_string()),
        })?;
        let (tasks, clock) = (built.api.tasks.clone(), built.api.clock.clone());
        let api = Api::new(built.api);
        if needs == StoreAccess::WithHttpServer {
            let server = runtime.block_on(HttpServer::open(&config.http, clock));
            let server = server.map_err(|e| CallError::Local(e.to_string()))?;
            let _runtime = runtime.enter();
            server.serve(api.clone(), None, &tasks, Wake::new());
        }
        Ok(Self { runtime, api, tasks })
    }

    pub(in crate::cli) fn call(
        &self,
        method: ApiMethod,
        path: &str,
        body: Option<&[u8]>,
    ) -> Result<ApiResponse, CallError> {
        self.runtime.block_on(call_api(&self.api, method, path, body))
    }
}

/// Waits for running work, such as a refresh whose caller has disconnected: its response may be the only copy
/// of a token.
impl Drop for InProcessApi {
    fn drop(&mut self) {
        self.tasks.stop();
        let drained = self.runtime.block_on(async { timeout(DRAIN_TIMEOUT, self.tasks.drained()).await });
        if drained.is_err() {
            log::warn!("some work did not finish within {DRAIN_TIMEOUT:?}");
        }
    }
}

async fn call_api(
    api: &Api,
    method: ApiMethod,
    path: &str,
    body: Option<&[u8]>,
) -> Result<ApiResponse, CallError> {
    let local = |e: &dyn std::fmt::Display| CallError::Local(e.to_string());
    let body = Bytes::copy_from_slice(body.unwrap_or_default());
    let request =
        Request::builder().method(method.as_str()).uri(path).header(CONTENT_TYPE, "application/json");
    let request = request.body(body).map_err(|e| local(&e))?;
    let response = api.handle(request, Caller::Control).await;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.map_err(|e| local(&e))?;
    Ok(ApiResponse { status, body: Zeroizing::new(body.to_bytes().to_vec()) })
}
