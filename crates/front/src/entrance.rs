//! What all connections of a port have in common.

use crate::options::PortOptions;
use crate::upstream::Pool;
use std::sync::Arc;

/// A port as connections see it that came in there.
pub(crate) struct Entrance {
    options: PortOptions,
    default: Arc<Pool>,
}

impl Entrance {
    /// Builds the entrance of a port; `default` leads to its backend for hosts of no unit.
    pub(crate) fn new(options: PortOptions, default: Arc<Pool>) -> Arc<Self> {
        Arc::new(Self { options, default })
    }

    /// Returns what the front was told about the port.
    pub(crate) fn options(&self) -> &PortOptions {
        &self.options
    }

    /// Returns the backend for hosts that belong to no unit.
    pub(crate) fn default_pool(&self) -> &Arc<Pool> {
        &self.default
    }
}
