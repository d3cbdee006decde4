//! What was acknowledged, and whether it is there: exactly once, at the writing side.

use segue_doors::sql::{Ident, Session};
use segue_model::Side;
use segue_port::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Table of a rehearsal's writes, made in the cloned schema before anything is copied.
pub const TABLE: &str = "segue_rehearsal";
/// Folder of a rehearsal's files, in the cloned trees.
pub const FOLDER: &str = "segue-rehearsal";

/// An acknowledged write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    /// Its number.
    pub id: u64,
    /// Whether it left a file as well.
    pub file: bool,
}

/// What became of the acknowledged writes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// How many there were.
    pub acknowledged: u64,
    /// How many are nowhere.
    pub lost: u64,
    /// How many are there more than once.
    pub doubled: u64,
    /// How many of them left a file.
    pub files: u64,
    /// How many files are nowhere.
    pub files_lost: u64,
    /// Numbers of some that are lost or doubled.
    pub examples: Vec<u64>,
}

/// Makes the table.
///
/// # Errors
/// `SG0852` if the server refuses.
pub async fn make_table(session: &mut Session, schema: &str) -> Outcome<()> {
    let table = format!("{}.{}", Ident::new(schema), Ident::new(TABLE));
    session
        .run(format!(
            "CREATE TABLE {table} (n BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, \
             id BIGINT UNSIGNED NOT NULL, side CHAR(6) NOT NULL, \
             at TIMESTAMP(3) DEFAULT CURRENT_TIMESTAMP(3), body VARCHAR(255) NOT NULL, KEY (id)) \
             ENGINE=InnoDB"
        ))
        .await
        .map_err(|e| crate::fault(format!("make table {table} in the stand-in"), e))
}

/// Stores one write.
///
/// # Errors
/// `SG0852` if the server refuses.
pub async fn write(session: &mut Session, schema: &str, side: Side, id: u64) -> Outcome<()> {
    let table = format!("{}.{}", Ident::new(schema), Ident::new(TABLE));
    session
        .run(format!(
            "INSERT INTO {table} (id, side, body) VALUES ({id}, '{side}', REPEAT('x', 120))"
        ))
        .await
        .map_err(|e| crate::fault(format!("write to table {table} of the stand-in"), e))
}

/// Looks for every acknowledged write in the database and the tree of the writing side.
///
/// # Errors
/// `SG0852` if the server does not answer.
pub async fn check(
    acknowledged: &[Acknowledged],
    database: Option<(&mut Session, &str)>,
    tree: Option<&Path>,
) -> Outcome<Kept> {
    let mut kept = Kept { acknowledged: acknowledged.len() as u64, ..Kept::default() };
    if let Some((session, schema)) = database {
        let table = format!("{}.{}", Ident::new(schema), Ident::new(TABLE));
        let rows: Vec<(u64, u64)> = session
            .rows(format!("SELECT id, COUNT(*) FROM {table} GROUP BY id"))
            .await
            .map_err(|e| crate::fault(format!("read table {table} of the stand-in"), e))?;
        let found: BTreeMap<u64, u64> = rows.into_iter().collect();
        for one in acknowledged {
            match found.get(&one.id) {
                Some(1) => continue,
                Some(_) => kept.doubled += 1,
                None => kept.lost += 1,
            }
            if kept.examples.len() < 10 {
                kept.examples.push(one.id);
            }
        }
    }
    if let Some(tree) = tree {
        let files = std::fs::read_dir(tree.join(FOLDER)).into_iter().flatten().flatten();
        let found: BTreeSet<String> =
            files.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        for one in acknowledged.iter().filter(|one| one.file) {
            kept.files += 1;
            kept.files_lost += u64::from(!found.contains(&one.id.to_string()));
        }
    }
    Ok(kept)
}

impl Kept {
    /// Whether everything is there exactly once.
    pub fn whole(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.files_lost == 0
    }
}
