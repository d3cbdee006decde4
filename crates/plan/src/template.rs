//! The plan file that `segue init` writes.

/// Returns a commented plan file with example addresses.
///
/// Lines that begin with `#` and a space explain. A `#` directly before a key or table
/// is a setting with its default value, or an optional part; take the `#` away to use it.
pub fn template() -> &'static str {
    include_str!("template.toml")
}
