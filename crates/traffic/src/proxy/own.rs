//! A front of ours, asked over its control socket.

use super::Proxy;
use async_trait::async_trait;
use segue_front::control::{Client, Reply, Request};
use segue_model::Fault;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// Most time a front may take to answer a request that does not wait.
const ANSWER_LIMIT: Duration = Duration::from_millis(1_500);

/// A front's control socket and the open connections to it.
pub(super) struct Own {
    control: PathBuf,
    /// For changes and waits.
    main: Mutex<Option<Arc<Client>>>,
    /// For renewals and readings, which must not queue behind a wait.
    side: Mutex<Option<Arc<Client>>>,
}

impl Own {
    pub(super) fn new(control: PathBuf) -> Self {
        Self { control, main: Mutex::new(None), side: Mutex::new(None) }
    }

    async fn client(&self, place: &Mutex<Option<Arc<Client>>>) -> Result<Arc<Client>, Fault> {
        let mut place = place.lock().await;
        if let Some(client) = place.as_ref() {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(Client::connect(&self.control).await?.with_limit(ANSWER_LIMIT));
        *place = Some(Arc::clone(&client));
        Ok(client)
    }
}

#[async_trait]
impl Proxy for Own {
    async fn call(&self, request: &Request) -> Result<Reply, Fault> {
        self.client(&self.main).await?.call(request).await
    }

    async fn call_aside(&self, request: &Request) -> Result<Reply, Fault> {
        self.client(&self.side).await?.call(request).await
    }

    fn is_ours(&self) -> bool {
        true
    }
}
