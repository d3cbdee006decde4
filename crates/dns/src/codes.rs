//! Every code of this family, in one place.

/// The plan's record data or names are not usable.
pub(crate) const PLAN: &str = "SG0301";
/// The TSIG key of the plan is not usable.
pub(crate) const KEY: &str = "SG0302";
/// No connection to a name server.
pub(crate) const UNREACHABLE: &str = "SG0303";
/// A name server did not answer in time.
pub(crate) const NO_ANSWER: &str = "SG0304";
/// A name server rejected the key, or its signature is wrong.
pub(crate) const SIGNATURE: &str = "SG0305";
/// A name server answered a question with an error or without authority.
pub(crate) const BAD_ANSWER: &str = "SG0306";
/// The zone transfer was refused or broke off.
pub(crate) const TRANSFER: &str = "SG0307";
/// The update was refused; nothing changed.
pub(crate) const UPDATE_REFUSED: &str = "SG0308";
/// Somebody else changed an owned record set.
pub const CONFLICT: &str = "SG0309";
/// The zone kept changing while the update was tried.
pub(crate) const BUSY: &str = "SG0310";
/// The update was acknowledged, the content is not as asked for.
pub(crate) const NOT_APPLIED: &str = "SG0311";
/// A name server still serves other content at the deadline.
pub(crate) const BEHIND: &str = "SG0312";
/// No answer to an update: it may have been applied.
pub(crate) const UPDATE_LOST: &str = "SG0313";
/// The change does not fit into one message.
pub(crate) const TOO_BIG: &str = "SG0314";
/// What the journal keeps for this step cannot be read.
pub(crate) const PREPARED: &str = "SG0315";
/// A zone file cannot be read.
pub(crate) const ZONE_FILE: &str = "SG0316";
/// A change that would break the zone, or that nobody could take back.
pub(crate) const GUARD: &str = "SG0317";
/// A provider's API did not answer, or refused.
pub(crate) const API: &str = "SG0318";
/// The record sets are kept in a way that this driver cannot change.
pub(crate) const ELSEWHERE: &str = "SG0319";
/// A finding: the zone is signed.
pub(crate) const SIGNED: &str = "SG0320";
/// A finding: an owned set differs from the plan's source data.
pub(crate) const NOT_AS_PLANNED: &str = "SG0321";
/// A finding: a server answers other content than the primary.
pub(crate) const SERVERS_DIFFER: &str = "SG0322";
/// A finding: a CNAME would stand beside other records.
pub(crate) const CNAME: &str = "SG0323";
/// A finding: an owned set that this driver does not change.
pub(crate) const NOT_OURS: &str = "SG0324";
/// A finding: whether updates are allowed is not known before the first one.
pub(crate) const RIGHT_UNKNOWN: &str = "SG0325";
/// A finding: TTLs that must run out first.
pub(crate) const TTL: &str = "SG0326";
/// A finding: an authoritative server that the plan does not name.
pub(crate) const SERVER_UNLISTED: &str = "SG0327";
/// A finding: a record outside the plan depends on what moves.
pub(crate) const UNOWNED: &str = "SG0328";
/// A finding: what a provider cannot promise.
pub(crate) const PROMISES: &str = "SG0329";
/// A finding: a guard holds a change back.
pub(crate) const GUARDED: &str = "SG0330";
/// The notes of a moving zone cannot be read or written.
pub(crate) const NOTES: &str = "SG0331";
/// A step of a moving zone does not come to its end.
pub(crate) const MOVING: &str = "SG0332";
/// Two providers of a zone are one.
pub(crate) const ONE_PROVIDER: &str = "SG0333";
