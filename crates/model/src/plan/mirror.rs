//! Copies of users' requests for the target, to see whether it answers the same.

use serde::{Deserialize, Serialize};

/// Which requests are copied while the source has the unit, and what is compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MirrorPlan {
    /// GET and HEAD on paths that begin so are copied: they change nothing.
    pub paths: Vec<String>,
    /// Of so many of a hundred.
    pub percent: u8,
    /// Most requests that are copied at once.
    pub at_once: usize,
    /// Longest body that is compared, bytes.
    pub body_bytes_max: usize,
    /// Whether copies carry the users' cookies.
    pub cookies: bool,
    /// Whether requests with `Authorization` are copied, which then carry it.
    pub authorization: bool,
    /// Headers that are compared, lower case.
    pub headers: Vec<String>,
    /// Lines of a body with one of these words are not compared.
    pub noise: Vec<String>,
}
