//! Benchmarks by name.

/// Runs the benchmark of that name.
///
/// # Errors
/// If there is none of that name, or its goal is missed.
pub(crate) fn run(name: &str) -> anyhow::Result<()> {
    anyhow::bail!("no such benchmark: `{name}`")
}
