//! What reloads of an nginx lose, and which one it is.
//!
//! A former worker closes connections on which a request may be under way. nginx 1.27.4 brought
//! `keepalive_min_timeout`, for which a worker that ends keeps one open after a request: whoever asks
//! seldom meets a closed connection as before, and whoever asks more often than that keeps the former
//! worker, and what it was told, for up to `keepalive_time`. So no version makes the losses none.

use super::Nginx;
use segue_doors::process::Invocation;
use segue_model::Finding;
use std::time::Duration;

/// What a reload lost in a measurement: 64 connections, 2,000 requests a second, nginx 1.22.
const MEASURED: &str = "1 to 2 requests of clients that look whether their connection was closed, about \
                        one a connection of others (measured with nginx 1.22, 64 connections and 2,000 \
                        requests a second)";

/// How long nginx may take to say what it is.
const SAYING: Duration = Duration::from_secs(10);

/// Most bytes of what it says that are looked at.
const SAID_MAX: usize = 64 << 10;

impl Nginx {
    /// Returns what there is to say of the requests that reloads lose.
    pub(super) async fn losses(&self) -> Finding {
        judge(&self.version().await)
    }

    /// Asks the program that runs for its version.
    async fn version(&self) -> Result<String, String> {
        let pid = self.main().map_err(|fault| fault.to_string())?;
        let program = format!("/proc/{pid}/exe");
        let asked = Invocation::new(program, SAYING).args(["-v"]).keep(SAID_MAX);
        let said = asked.run().await.map_err(|fault| fault.to_string())?;
        if !said.status.success() {
            return Err(said.last_words());
        }
        // The version comes on standard error.
        let out = String::from_utf8_lossy(&said.stderr).into_owned();
        version(&out).ok_or_else(|| format!("it says {:?}", out.trim()))
    }
}

/// Reads what `nginx -v` says: `nginx version: nginx/1.22.1 (Debian)`.
fn version(said: &str) -> Option<String> {
    let (_, rest) = said.rsplit_once("nginx/")?;
    let version: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    (version.split('.').filter(|part| !part.is_empty()).count() == 3).then_some(version)
}

/// Says what reloads of that version lose. That the plan takes it was looked at when it was read.
fn judge(version: &Result<String, String>) -> Finding {
    let runs = match version {
        Ok(version) => format!("nginx {version} runs"),
        Err(why) => format!("which version of nginx runs cannot be told ({why})"),
    };
    let text = format!(
        "{runs}: a cutover reloads it three times, and a reload loses {MEASURED}. The plan takes that"
    );
    Finding::warn("SG0140", text, "nothing, or use HAProxy or a front of Segue's own")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_program_says_of_its_version() {
        for (said, expected) in [
            ("nginx version: nginx/1.22.1\n", Some("1.22.1")),
            ("nginx version: nginx/1.27.4 (Ubuntu)\n", Some("1.27.4")),
            ("nginx version: freenginx/nginx/1.28.0", Some("1.28.0")),
            ("nginx version: nginx/1.29", None),
            ("nginx: command not found", None),
            ("nginx version: nginx/x.1.2", None),
        ] {
            assert_eq!(version(said).as_deref(), expected, "{said}");
        }
    }

    #[test]
    fn the_measured_risk_is_shown_with_what_runs() {
        let known = judge(&Ok("1.27.4".into())).text;
        assert!(
            known.starts_with("nginx 1.27.4 runs: a cutover reloads it three times"),
            "{known}"
        );
        assert!(known.contains("1 to 2 requests of clients"), "{known}");
        let unknown = judge(&Err("gone".into())).text;
        assert!(
            unknown.starts_with("which version of nginx runs cannot be told (gone): "),
            "{unknown}"
        );
    }
}
