//! What a source must be like before its log is followed, and where reading begins.

use super::{Begin, Source, faults};
use crate::fault::Explain;
use crate::gtid::Position;
use crate::stream::parse;
use segue_doors::sql::log::{self, Log, LogRequest};
use segue_doors::sql::{self, Literal, Session};
use segue_port::Outcome;
use std::time::Duration;

/// Time limit of opening sessions and of short calls.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// Opens a session and refuses a source whose log does not hold every change by its rows.
/// Returns how the server compares names, and its number, beside it.
///
/// # Errors
/// `SG0270` with the setting.
pub(super) async fn check(source: &Source) -> Outcome<(Session, u64, u32)> {
    // Cut short by a column, it would not be found again.
    if source.name.chars().count() > 64 {
        return Err(faults::unfit_source(
            "the name of the source is longer than 64 characters",
            "give it a shorter name",
        ));
    }
    let op = format!("ask the source `{}` how it keeps its log", source.name);
    let mut session = sql::connect(&source.endpoint, LIMIT).await.reading(&op)?;
    let version: String = session.one("SELECT VERSION()").await.reading(&op)?;
    if !version.contains("MariaDB") {
        return Err(faults::unfit_source(
            &format!("the source is no MariaDB server, but {version}"),
            "row events can be passed on between MariaDB servers only",
        ));
    }
    let (on, format, image, compressed, names, server): (u64, String, String, u64, u64, u32) =
        session
            .one(
                "SELECT @@GLOBAL.log_bin, @@GLOBAL.binlog_format, @@GLOBAL.binlog_row_image, \
             @@GLOBAL.log_bin_compress, @@GLOBAL.lower_case_table_names, @@GLOBAL.server_id",
            )
            .await
            .reading(&op)?;
    let wrong = if on == 0 {
        Some(("log_bin is off".to_owned(), "set log_bin and server_id, and restart the source"))
    } else if format != "ROW" {
        Some((
            format!("binlog_format is {format}"),
            "SET GLOBAL binlog_format = ROW; sessions that are open keep the former one",
        ))
    } else if image != "FULL" {
        Some((
            format!("binlog_row_image is {image}"),
            "SET GLOBAL binlog_row_image = FULL; sessions that are open keep the former one",
        ))
    } else if compressed != 0 {
        Some(("log_bin_compress is on".to_owned(), "SET GLOBAL log_bin_compress = OFF"))
    } else {
        None
    };
    match wrong {
        Some((cause, hint)) => Err(faults::unfit_source(&cause, hint)),
        None => Ok((session, names, server)),
    }
}

/// Returns a begin as transaction ids; a place in a file is looked up by the source itself.
///
/// # Errors
/// `SG0271` if the source has no such file, or not so much of it.
pub(super) async fn resolve(session: &mut Session, begin: &Begin) -> Outcome<Position> {
    match begin {
        Begin::After(position) => Ok(position.clone()),
        Begin::Place { file, offset } => {
            let op = format!("look up place {file}:{offset} in the source's binary log");
            let query =
                format!("SELECT BINLOG_GTID_POS({}, {offset})", Literal::new(file.as_str()));
            let found: Option<Option<String>> = session.first(query).await.reading(&op)?;
            match found.flatten() {
                Some(text) => parse(&text, &op),
                None => Err(faults::gap(&format!("{file}:{offset}"))),
            }
        }
    }
}

/// Begins to read behind a position.
pub(super) async fn read(source: &Source, after: &Position) -> Outcome<Log> {
    let request = LogRequest {
        server_id: source.server_id,
        after: after.to_string(),
        heartbeat: source.heartbeat,
    };
    log::read(&source.endpoint, &request, LIMIT).await.reading(faults::READING)
}
