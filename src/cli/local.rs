//! The API in this process, for when no daemon runs: the same code, on the store under its lock.

use std::sync::Arc;

use tokio::runtime::Runtime;

use crate::cli::client::Answer;
use crate::cli::client::CallError;
use crate::cli::client::Method;
use crate::cli::client::Surroundings;
use crate::cli::logging;
use crate::config::Config;
use crate::config::StoreConfig;
use crate::house::House;

/// What a command needs beside the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing.
    Store,
    /// A consent by browser ends at the redirect URI: somebody must listen there.
    Door,
}

/// The house, and the one thread that it runs on.
pub(super) struct Local {
    runtime: Runtime,
    house: Arc<House>,
}

impl Local {
    /// Opens the store, which is this process's alone until the end.
    pub(super) fn open(surroundings: &Surroundings, needs: Needs) -> Result<Self, CallError> {
        let Surroundings { source, socket, .. } = surroundings;
        if source.get("MY_APP_CLIENT_ID").is_none() {
            return Err(CallError::NotRunning(
                socket.clone(),
                "MY_APP_CLIENT_ID, to work without it, is not set",
            ));
        }
        let config = Config::read(source)
            .map_err(|mistakes| CallError::Settings(mistakes.to_string().replace('\n', "; ")))?;
        if config.store == StoreConfig::Memory {
            return Err(CallError::NotRunning(socket.clone(), "its store is in its memory only"));
        }
        logging::start(false, Some(source.get("RUST_LOG").unwrap_or("warn")));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| CallError::Local(format!("no runtime: {e}")))?;
        let house = runtime.block_on(House::build(&config)).map_err(|e| match e {
            e if e.is_in_use() => CallError::InUse(socket.clone()),
            e => CallError::Local(e.to_string()),
        })?;
        let house = Arc::new(house);
        if needs == Needs::Door {
            let opened = runtime.block_on(open_door(&config, &house));
            opened.map_err(CallError::Local)?;
        }
        Ok(Self { runtime, house })
    }

    pub(super) fn call(&self, method: Method, path: &str, body: Option<&[u8]>) -> Result<Answer, CallError> {
        self.runtime.block_on(answer(&self.house, method, path, body))
    }
}

/// What runs (a refresh whose reader went away) is finished: its answer may be the only copy of a token.
impl Drop for Local {
    fn drop(&mut self) {
        self.house.tasks.stop();
        self.runtime.block_on(self.house.tasks.drained());
    }
}

// INTEGRATION: with http::api, this is `api.answer(request, Caller::Control).await`, its body collected.
#[expect(clippy::unused_async, reason = "the API's answer is awaited here once it is merged")]
async fn answer(
    _house: &House,
    _method: Method,
    _path: &str,
    _body: Option<&[u8]>,
) -> Result<Answer, CallError> {
    Err(CallError::Local("no daemon runs; start it with `webex-tokend serve`".to_owned()))
}

// INTEGRATION: listen and serve the pages as the daemon does (daemon::open_door), without the event loop.
#[expect(clippy::unused_async, reason = "listening is awaited here once the door can be opened alone")]
async fn open_door(_config: &Config, _house: &House) -> Result<(), String> {
    Ok(())
}
