//! Why a tail ends: each fault with its code and next move. None repeats a statement's text
//! or a server's message about rows, for both may hold data.

use segue_doors::sql::SqlError;
use segue_model::{EffectLeft, Fault, FaultKind};

/// The operation that every fault of reading names.
pub(super) const READING: &str = "read the source's binary log";

/// Names the operation of faults of one schema.
pub(super) fn following(schema: &str) -> String {
    format!("follow schema `{schema}`")
}

const AGAIN: &str = "seed the schema again";

/// The source is set up so that its log does not hold every change in a form that travels.
pub(super) fn unfit_source(cause: &str, hint: &str) -> Fault {
    Fault::new("SG0270", FaultKind::Invalid, READING, cause).hint(hint)
}

/// The log does not reach back to the position, or never held it.
pub(super) fn gap(position: &str) -> Fault {
    Fault::new(
        "SG0271",
        FaultKind::NotFound,
        READING,
        format!("it does not hold what follows `{position}`"),
    )
    .hint("its files were purged, or it is the log of another server: seed the schemas again, and let the source keep its log longer")
}

/// An event of a kind that Segue does not know.
pub(super) fn unknown_event(kind: u8) -> Fault {
    Fault::new("SG0272", FaultKind::Unsupported, READING, format!("it holds an event of type {kind}"))
        .hint("see the source's version: what such an event changes is not known, so nothing behind it was applied")
}

/// A change of rows that is logged as a statement.
pub(super) fn statement(kind: &str) -> Fault {
    let what = if kind.is_empty() { "a statement" } else { kind };
    Fault::new(
        "SG0273",
        FaultKind::Unsupported,
        READING,
        format!("{what} is logged as a statement, not by its rows"),
    )
    .hint("set binlog_format to ROW at the source, for every session, and seed the schemas again")
}

/// Events under `log_bin_compress`.
pub(super) fn compressed(kind: u8) -> Fault {
    Fault::new(
        "SG0274",
        FaultKind::Unsupported,
        READING,
        format!("it holds a compressed event, of type {kind}"),
    )
    .hint("SET GLOBAL log_bin_compress = OFF at the source, and seed the schemas again")
}

/// Rows of which columns were left out.
pub(super) fn partial(schema: &str, table: &str) -> Fault {
    Fault::new(
        "SG0275",
        FaultKind::Unsupported,
        following(schema),
        format!("rows of `{table}` are logged without all of their columns"),
    )
    .hint(
        "set binlog_row_image to FULL at the source, for every session, and seed the schema again",
    )
}

/// A change of definitions that cannot be carried out at another server as it is.
pub(super) fn definition(schema: &str, shown: &str, why: &str) -> Fault {
    Fault::new(
        "SG0276",
        FaultKind::Unsupported,
        following(schema),
        format!("the source carried out {shown}, which is not carried over: {why}"),
    )
    .hint("everything before it is applied; seed the schema again, and change no such definitions until it has moved")
}

/// The target refused a change of definitions.
pub(super) fn refused_change(schema: &str, shown: &str, error: &SqlError) -> Fault {
    let (kind, cause) = match error.code() {
        Some(code) => (FaultKind::Invalid, format!("error {code}")),
        None => (FaultKind::Unreachable, error.to_string()),
    };
    let cause = format!("the target did not carry out {shown}: {cause}");
    Fault::new("SG0278", kind, following(schema), cause)
        .leaving(EffectLeft::Maybe)
        .hint("see the object at both servers; mended, the tail goes on with this change")
}

/// A row that no statement of the target can carry.
pub(super) fn too_long(schema: &str, bytes: usize, most: usize) -> Fault {
    Fault::new(
        "SG0277",
        FaultKind::Unsupported,
        following(schema),
        format!("a change of one row takes {bytes} bytes, the target takes at most {most}"),
    )
    .hint("raise max_allowed_packet at the target, up to 64 MiB; nothing of the transaction is applied")
}

/// The target refused a change, or another than this tail wrote there.
pub(super) fn refused(schema: &str, error: &SqlError) -> Fault {
    let (kind, cause) = match error.code() {
        Some(1032) => (FaultKind::Conflict, "a row that it changes is not there".to_owned()),
        Some(1062 | 1586) => {
            (FaultKind::Conflict, "a row with this key is there already".to_owned())
        }
        Some(1146 | 1049) => (FaultKind::NotFound, "its table is not there".to_owned()),
        // What a replica's thread would say of columns is in the server's error log only.
        Some(1677 | 1535 | 1105) => (
            FaultKind::Conflict,
            "its table may have other columns there, see the target's error log".to_owned(),
        ),
        Some(1205 | 1213) => (FaultKind::Busy, "others hold its rows there".to_owned()),
        Some(1227 | 1044 | 1142) => (FaultKind::Denied, "the login lacks the right".to_owned()),
        Some(code) => (FaultKind::Invalid, format!("error {code}")),
        None => (FaultKind::Unreachable, error.to_string()),
    };
    let hint = match kind {
        FaultKind::Conflict => {
            "somebody else wrote to the copy, or it was not complete: seed it again"
        }
        FaultKind::Unreachable | FaultKind::Busy => {
            "start the tail again: it goes on behind its checkpoint"
        }
        _ => "mend it at the target and start the tail again: it goes on behind its checkpoint",
    };
    let cause = format!("the target did not take a change: {cause}");
    Fault::new("SG0278", kind, following(schema), cause).leaving(EffectLeft::Maybe).hint(hint)
}

/// Another tail applies to the schema.
pub(super) fn taken(schema: &str) -> Fault {
    Fault::new(
        "SG0279",
        FaultKind::Conflict,
        following(schema),
        "another session follows it at the target",
    )
    .hint("end the other one; a session that was given up holds its place until the server notices")
}

/// The target cannot take the changes so that they stay right.
pub(super) fn unfit_target(schema: &str, cause: &str, hint: &str) -> Fault {
    Fault::new("SG0280", FaultKind::Invalid, following(schema), cause).hint(hint)
}

/// The log is not what a log of MariaDB is.
pub(super) fn broken(cause: &str) -> Fault {
    Fault::new("SG0281", FaultKind::Invalid, READING, cause)
        .hint(format!("see the source's error log; {AGAIN} if the log is damaged"))
}

/// A transaction whose end is not known when its rows come, or whose rows came too early.
pub(super) fn distributed(op: String) -> Fault {
    Fault::new(
        "SG0282",
        FaultKind::Unsupported,
        op,
        "a distributed (XA) transaction changes it in two steps",
    )
    .hint("no client may use XA while the schema moves; seed it again")
}

/// A transaction that was taken back in part, which only a table without transactions causes.
pub(super) fn rolled_back(schema: &str) -> Fault {
    Fault::new(
        "SG0283",
        FaultKind::Unsupported,
        following(schema),
        "a transaction was taken back of which rows are logged",
    )
    .hint("a table without transactions was changed in it: change its engine to InnoDB, and seed the schema again")
}
