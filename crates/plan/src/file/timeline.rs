//! Items of the timeline, as written in the plan file.

use schemars::JsonSchema;
use serde::Deserialize;

/// An item of the timeline: one of the plan's own, or a derived one that is left out.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TimelineFile {
    /// Its name: letters, digits, `-`, `_`, `.` and `:`, at most 64.
    pub id: String,
    /// When it is due, from the beginning: `-3d`, `-12h`, `+15m`, `0`. Needed unless `off`.
    pub at: Option<String>,
    /// What there is to do. Needed unless `off`.
    pub what: Option<String>,
    /// Whose duty it is. Default: `lead`.
    pub duty: Option<String>,
    /// Whether no cutover begins before it is done. Default: false.
    pub needed: bool,
    /// Leaves a derived item out, which `segue timeline` names. Default: false.
    pub off: bool,
}
