//! `segue explain`: the page of an error code.

use anyhow::{Result, bail};

/// Prints the page.
///
/// # Errors
/// If no page has that code.
pub(crate) fn run(code: &str) -> Result<u8> {
    let wanted = code.to_ascii_uppercase();
    let Some((_, page)) = PAGES.iter().find(|(name, _)| *name == wanted) else {
        bail!("no page for `{code}`; codes look like SG0203");
    };
    println!("{}", page.trim_end());
    Ok(0)
}

include!(concat!(env!("OUT_DIR"), "/error_pages.rs"));
