//! The connection to the registry, which is made anew when the certificate is.
//!
//! Every call takes the newest connection; a call or stream in progress keeps the one it began on, so nothing
//! is cut off by a renewal. The old connection closes when the last of them has ended.

use arc_swap::ArcSwap;
use pairgate_identity::{Expect, channel};
use rustls::ClientConfig;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tonic::{body::Body, transport::Channel};
use tower::{Service, ServiceExt};

/// See the module. Clones share the connection.
#[derive(Clone)]
pub struct RegistryLink {
    newest: Arc<ArcSwap<Channel>>,
    /// What every new connection is made from.
    make: Arc<dyn Fn() -> Channel + Send + Sync>,
}

impl fmt::Debug for RegistryLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryLink").finish_non_exhaustive()
    }
}

impl RegistryLink {
    /// Connects when first used. `tls` is asked for the certificate at each handshake.
    pub fn new(target: &str, tls: Arc<ClientConfig>, expect: Expect) -> Self {
        let target = target.to_owned();
        let make: Arc<dyn Fn() -> Channel + Send + Sync> =
            Arc::new(move || channel(&target, tls.clone(), expect));
        Self {
            newest: Arc::new(ArcSwap::from_pointee(make())),
            make,
        }
    }

    /// Calls that begin from now on go by a new connection.
    pub fn reconnect(&self) {
        self.newest.store(Arc::new((self.make)()));
    }
}

impl Service<http::Request<Body>> for RegistryLink {
    type Response = http::Response<Body>;
    type Error = tonic::transport::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    /// Always: which connection a call goes by is not known before it is made.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let channel = Channel::clone(&self.newest.load());
        Box::pin(channel.oneshot(request))
    }
}
