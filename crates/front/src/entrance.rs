//! What all connections of a port have in common.

use crate::limits::Limits;
use crate::options::PortOptions;
use crate::tls::Tls;
use crate::upstream::Group;
use segue_model::plan::PortKind;
use segue_model::{Fault, FaultKind};
use std::sync::Arc;

/// A port as connections see it that came in there.
pub(crate) struct Entrance {
    options: PortOptions,
    default: Arc<Group>,
    tls: Option<Arc<Tls>>,
}

impl Entrance {
    /// Builds the entrance of a port; `default` leads to its backend for hosts of no unit.
    /// Reads its certificates, which blocks.
    ///
    /// # Errors
    /// `SG0124` if a port for TLS has none of the certificates that are named for it.
    pub(crate) fn new(
        options: PortOptions,
        default: Arc<Group>,
        limits: &Arc<Limits>,
    ) -> Result<Arc<Self>, Fault> {
        let tls = match (options.kind, &options.tls) {
            (PortKind::Http | PortKind::Tcp, _) => None,
            (PortKind::Tls, Some(plan)) => Some(Tls::open(plan, limits.clone())?),
            (PortKind::Tls, None) => {
                let op = format!("open port `{}`", options.listen);
                let cause = "it is for TLS, and no certificates are named";
                return Err(Fault::new("SG0124", FaultKind::Invalid, op, cause)
                    .hint("name files or folders with certificates and keys"));
            }
        };
        Ok(Arc::new(Self { options, default, tls }))
    }

    /// Returns what it takes to speak TLS, at a port for it.
    pub(crate) fn tls(&self) -> Option<&Arc<Tls>> {
        self.tls.as_ref()
    }

    /// Returns what the front was told about the port.
    pub(crate) fn options(&self) -> &PortOptions {
        &self.options
    }

    /// Returns the backend for hosts that belong to no unit.
    pub(crate) fn default_group(&self) -> &Arc<Group> {
        &self.default
    }
}
