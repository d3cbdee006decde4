//! Whether reloads of an nginx lose requests, and whether the operator takes that.
//!
//! A former worker closes connections on which a request may be under way. nginx 1.27.4 brought
//! `keepalive_min_timeout`, for which it keeps each of them open still.

use super::Nginx;
use segue_doors::process::Invocation;
use segue_model::{Fault, FaultKind, Finding, Severity};
use std::time::Duration;

/// What a reload lost in a measurement: 64 connections, 2,000 requests a second, nginx 1.22.
const MEASURED: &str = "1 to 2 requests of clients that look whether their connection was closed, about \
                        one a connection of others (measured with nginx 1.22, 64 connections and 2,000 \
                        requests a second)";

/// What the plan says to take the losses, or what else there is.
const TAKE: &str = "write `accept_reload_losses = true` if that is taken, or use HAProxy or a front of \
                    Segue's own";

/// How long nginx may take to say what it is and has.
const SAYING: Duration = Duration::from_secs(10);

/// Most bytes of a configuration that are looked at.
const CONFIG_MAX: usize = 64 << 20;

/// A version of nginx.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32, u32);

impl Version {
    /// The first one that knows `keepalive_min_timeout`.
    const KEEPING: Self = Self(1, 27, 4);

    /// Reads what `nginx -v` says: `nginx version: nginx/1.22.1 (Debian)`.
    fn read(said: &str) -> Option<Self> {
        let (_, rest) = said.rsplit_once("nginx/")?;
        let mut parts = rest.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().ok());
        let mut next = || parts.next().flatten();
        Some(Self(next()?, next()?, next()?))
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl Nginx {
    /// Returns what there is to say of the requests that reloads lose.
    pub(super) async fn losses(&self) -> Option<Finding> {
        let version = self.version().await;
        let keeps = match version {
            Ok(version) if version >= Version::KEEPING => self.keeps().await,
            _ => Ok(false),
        };
        judge(&version, &keeps, self.plan.accept_reload_losses)
    }

    /// Refuses to reload where that loses requests and nobody took it. It was looked at before, and
    /// the program may be another one by now.
    pub(super) async fn may_reload(&self) -> Result<(), Fault> {
        if self.plan.accept_reload_losses {
            return Ok(());
        }
        match self.losses().await.filter(|finding| finding.severity == Severity::Refuse) {
            None => Ok(()),
            Some(Finding { code, text, remedy, .. }) => {
                let op = format!("reload nginx with `{}`", self.plan.folder.display());
                Err(Fault::new(&code, FaultKind::Unsupported, op, text).hint(remedy))
            }
        }
    }

    /// Asks the program that runs for its version.
    async fn version(&self) -> Result<Version, String> {
        let said = self.say(&["-v".to_owned()]).await?;
        Version::read(&said).ok_or_else(|| format!("it says {:?}", said.trim()))
    }

    /// Asks it for its configuration, and looks whether connections are kept through a reload.
    async fn keeps(&self) -> Result<bool, String> {
        let pid = self.main().map_err(|fault| fault.to_string())?;
        let title = std::fs::read_to_string(format!("/proc/{pid}/cmdline"));
        let mut args = places(&title.map_err(|e| e.to_string())?);
        args.push("-T".to_owned());
        self.say(&args).await.map(|config| keeps(&config))
    }

    /// Runs the program of the main process with some arguments and returns what it says.
    async fn say(&self, args: &[String]) -> Result<String, String> {
        let pid = self.main().map_err(|fault| fault.to_string())?;
        let asked = Invocation::new(format!("/proc/{pid}/exe"), SAYING).args(args).keep(CONFIG_MAX);
        let said = asked.run().await.map_err(|fault| fault.to_string())?;
        if !said.status.success() {
            return Err(said.last_words());
        }
        // The version comes on standard error.
        let out = if said.stdout.is_empty() { said.stderr } else { said.stdout };
        Ok(String::from_utf8_lossy(&out).into_owned())
    }
}

/// Judges a version and whether its configuration keeps connections; `accepted` if the plan takes
/// the losses.
fn judge(
    version: &Result<Version, String>,
    keeps: &Result<bool, String>,
    accepted: bool,
) -> Option<Finding> {
    let cutover = format!("a cutover reloads it three times, and a reload loses {MEASURED}");
    let finding = |code: &str, text: String, remedy: &str| match accepted {
        true => Finding::warn(code, format!("{text}. The plan takes that"), remedy),
        false => Finding::refuse(code, text, remedy),
    };
    let version = match version {
        Ok(version) => version,
        Err(why) => {
            let text = format!("which version of nginx runs cannot be told ({why}); {cutover}");
            return Some(finding("SG0140", text, TAKE));
        }
    };
    if *version < Version::KEEPING {
        let remedy = format!("nginx {} or newer loses none; else {TAKE}", Version::KEEPING);
        return Some(finding("SG0140", format!("nginx {version} runs: {cutover}"), &remedy));
    }
    let why = match keeps {
        Ok(true) => return None,
        Ok(false) => {
            "its configuration has no `keepalive_min_timeout` for Segue's server".to_owned()
        }
        Err(why) => format!("its configuration cannot be read: {why}"),
    };
    let remedy = format!(
        "write `keepalive_min_timeout 1s;` into that server or the http block, and reload nginx; else \
         {TAKE}"
    );
    Some(finding("SG0141", format!("nginx {version} runs, and {why}: {cutover}"), &remedy))
}

/// Returns the arguments in a main process's title that say where its configuration is.
fn places(title: &str) -> Vec<String> {
    let mut words = title.split(['\0', ' ']).filter(|word| !word.is_empty());
    let mut places = Vec::new();
    while let Some(word) = words.next() {
        if matches!(word, "-c" | "-p" | "-e")
            && let Some(place) = words.next()
        {
            places.extend([word.to_owned(), place.to_owned()]);
        }
    }
    places
}

/// A part of a configuration.
enum Token {
    Word(String),
    /// A brace or a semicolon that stands for itself.
    Sign(char),
}

/// A block of a configuration that is being read.
#[derive(Default)]
struct Block {
    name: String,
    /// Whether connections are kept, as far as it says so itself.
    keeps: Option<bool>,
    /// Whether Segue's requests are passed on from here.
    passes: bool,
}

/// Returns whether connections to Segue's server are kept through a reload, by the whole
/// configuration as `nginx -T` prints it: each file after the one that includes it.
fn keeps(config: &str) -> bool {
    let (mut open, mut words) = (vec![Block::default()], Vec::<String>::new());
    // Of the `http` block or a file that may be included there, and of Segue's own servers.
    let (mut everywhere, mut own) = (None, Vec::new());
    for token in tokens(config) {
        match token {
            Token::Word(word) => {
                words.push(word);
                continue;
            }
            Token::Sign('{') => {
                let name = words.first().cloned().unwrap_or_default();
                open.push(Block { name, ..Block::default() });
            }
            Token::Sign('}') if open.len() > 1 => {
                let Some(block) = open.pop() else { break };
                match block.name.as_str() {
                    "server" if block.passes => own.push(block.keeps),
                    "server" => {}
                    "http" => everywhere = block.keeps.or(everywhere),
                    _ => {
                        let outer = open.last_mut();
                        outer.into_iter().for_each(|outer| outer.passes |= block.passes);
                    }
                }
            }
            Token::Sign(_) => {
                let block = open.last_mut();
                match (words.first().map(String::as_str), words.get(1), block) {
                    (Some("keepalive_min_timeout"), Some(time), Some(block)) => {
                        block.keeps = Some(time.bytes().any(|byte| (b'1'..=b'9').contains(&byte)));
                    }
                    (Some("proxy_pass"), Some(to), Some(block)) => {
                        block.passes |= to.contains("$segue_upstream");
                    }
                    _ => {}
                }
            }
        }
        words.clear();
    }
    let everywhere = everywhere.or(open.first().and_then(|file| file.keeps));
    !own.is_empty() && own.iter().all(|keeps| keeps.or(everywhere) == Some(true))
}

/// Cuts a configuration into words, braces and semicolons; comments are left out.
fn tokens(config: &str) -> Vec<Token> {
    let (mut all, mut word) = (Vec::new(), String::new());
    let mut chars = config.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '#' if word.is_empty() => while chars.next_if(|c| *c != '\n').is_some() {},
            '"' | '\'' if word.is_empty() => {
                while let Some(inner) = chars.next().filter(|inner| *inner != c) {
                    word.extend(if inner == '\\' { chars.next() } else { Some(inner) });
                }
                all.push(Token::Word(std::mem::take(&mut word)));
            }
            // `${name}` is part of a word.
            '$' if chars.peek() == Some(&'{') => {
                word.push(c);
                for inner in chars.by_ref() {
                    word.push(inner);
                    if inner == '}' {
                        break;
                    }
                }
            }
            '\\' => word.extend([Some(c), chars.next()].into_iter().flatten()),
            c if c.is_whitespace() || matches!(c, '{' | '}' | ';') => {
                if !word.is_empty() {
                    all.push(Token::Word(std::mem::take(&mut word)));
                }
                all.extend((!c.is_whitespace()).then_some(Token::Sign(c)));
            }
            c => word.push(c),
        }
    }
    all
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_program_says_of_its_version() {
        for (said, version) in [
            ("nginx version: nginx/1.22.1\n", Some(Version(1, 22, 1))),
            ("nginx version: nginx/1.27.4 (Ubuntu)\n", Some(Version(1, 27, 4))),
            ("nginx version: freenginx/nginx/1.28.0", Some(Version(1, 28, 0))),
            ("nginx version: nginx/1.29", None),
            ("nginx: command not found", None),
            ("nginx version: nginx/x.1.2", None),
        ] {
            assert_eq!(Version::read(said), version, "{said}");
        }
        assert!(Version(1, 26, 99) < Version::KEEPING && Version(1, 27, 3) < Version::KEEPING);
        assert!(Version(1, 27, 4) >= Version::KEEPING && Version(2, 0, 0) > Version::KEEPING);
    }

    #[test]
    fn what_loses_requests_needs_the_operators_say_and_shows_the_measured_risk() {
        let (old, new) = (Ok(Version(1, 27, 3)), Ok(Version(1, 27, 4)));
        let (unknown, unread) = (Err("gone".to_owned()), Err("denied".to_owned()));
        let cases = [
            (&old, &Ok(false), Some("SG0140")),
            (&unknown, &Ok(false), Some("SG0140")),
            (&new, &Ok(false), Some("SG0141")),
            (&new, &unread, Some("SG0141")),
            (&new, &Ok(true), None),
        ];
        for (version, keeps, code) in cases {
            for (accepted, severity) in [(false, Severity::Refuse), (true, Severity::Warn)] {
                let found = judge(version, keeps, accepted);
                assert_eq!(found.as_ref().map(|f| f.code.as_str()), code, "{version:?} {keeps:?}");
                let Some(found) = found else { continue };
                assert_eq!(found.severity, severity, "{found}");
                assert!(found.text.contains("1 to 2 requests of clients"), "{found}");
            }
        }
        let text = judge(&old, &Ok(false), false).unwrap().text;
        assert!(text.starts_with("nginx 1.27.3 runs: a cutover reloads it three times"), "{text}");
    }

    const SERVER: &str = "server { listen 80; location / { if ($segue_held) { return 503; } \
                          proxy_pass http://$segue_upstream; } }";

    #[test]
    fn a_timeout_counts_where_segues_server_has_it() {
        let own = SERVER.replace("listen 80;", "listen 80; keepalive_min_timeout 1s;");
        let zero = SERVER.replace("listen 80;", "listen 80; keepalive_min_timeout 0;");
        let (set, other) =
            ("keepalive_min_timeout 2000ms;", "server { keepalive_min_timeout 1s; }");
        for (config, expected) in [
            (format!("http {{ {own} }}"), true),
            (format!("http {{ {SERVER} {set} }}"), true),
            (format!("http {{ include a; }}\n# configuration file /a:\n{set}\n{SERVER}"), true),
            (format!("http {{ {SERVER} }}"), false),
            (format!("http {{ {SERVER} {other} }}"), false),
            (format!("http {{ {set} {zero} }}"), false),
            (format!("http {{ {SERVER} # {set}\n }}"), false),
            (format!("http {{ log_format a '{set}'; {SERVER} }}"), false),
            (format!("http {{ {own} {SERVER} }}"), false),
            (format!("http {{ log_format a '{{' '\"x\"' '}}'; {SERVER} {set} }}"), true),
            (format!("http {{ {set} }}"), false),
            (format!("http {{ map $a $b {{ \"~^(?:1{{2}}|3)\\.\" 0; }} {own} }}"), true),
        ] {
            assert_eq!(keeps(&config), expected, "{config}");
        }
    }

    #[test]
    fn the_running_process_says_where_its_configuration_is() {
        let title =
            "nginx: master process /usr/sbin/nginx -g daemon off; -p /srv/a -c /srv/a/n.conf\0";
        assert_eq!(places(title), ["-p", "/srv/a", "-c", "/srv/a/n.conf"]);
        assert_eq!(places("nginx: master process /usr/sbin/nginx\0"), [""; 0]);
    }
}
