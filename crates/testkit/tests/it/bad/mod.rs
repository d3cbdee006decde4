//! Broken plans, environments and moments: each ends in a clear error or a safe wait.
//!
//! Every case is data: a name that is its claim, what is done, what must follow. All are
//! played on worlds of real servers that are kept for many cases, and shown as one table,
//! also as JSON in the file that `SEGUE_BAD_OUT` names. After a plan or an environment
//! nothing may be touched; after a moment the site goes on and nothing acknowledged is lost.
//!
//! They need the program `segue` beside the other binaries (`cargo build` makes it).

mod certificate;
mod change;
mod desk;
mod directories;
mod environments;
mod fleets;
mod following;
mod in_pause;
mod names;
mod plans;
mod records;
mod scene;
mod sent;
mod servers;
mod table;
mod untouched;

use table::Row;

/// Fewest cases that the table must have.
const AT_LEAST: usize = 60;

/// Every case, in one test: they are one table.
#[test]
fn bad_plans_environments_and_moments_end_in_a_clear_error_or_a_safe_wait() {
    let rows: Vec<Row> = std::thread::scope(|scope| {
        let parts =
            [scope.spawn(desk::play), scope.spawn(following::play), scope.spawn(in_pause::play)];
        let mut rows = Vec::new();
        for part in parts {
            match part.join() {
                Ok(of_part) => rows.extend(of_part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        rows
    });
    table::show(&rows);
    table::check(&rows, AT_LEAST);
}
