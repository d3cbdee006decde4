//! PHP's configuration, as far as it says where sessions are.

use segue_model::plan::SessionStore;
use std::path::PathBuf;

/// Where Debian's PHP keeps them if nothing is said.
const DEBIAN: &str = "/var/lib/php/sessions";

/// What files say so far.
#[derive(Debug, Default)]
pub(super) struct Php {
    handler: Option<String>,
    path: Option<String>,
}

impl Php {
    /// Reads one file on top of those before: php.ini and .user.ini (`name = value`), pools
    /// (`php_value[name] = value`), Apache's (`php_value name value`).
    pub(super) fn read(&mut self, text: &str) {
        for line in text.lines() {
            let line = line.trim();
            if line.starts_with([';', '#', '[', '<']) {
                continue;
            }
            let Some((name, value)) = setting(line) else { continue };
            match name {
                "session.save_handler" => self.handler = Some(value),
                "session.save_path" => self.path = Some(value),
                _ => {}
            }
        }
    }

    /// Returns where sessions are by that.
    pub(super) fn store(&self) -> SessionStore {
        let path = self.path.as_deref().unwrap_or_default();
        match self.handler.as_deref().unwrap_or("files") {
            "files" => {
                // Depth and mode may stand before: `2;0600;/path`.
                let folder = path.rsplit(';').next().filter(|folder| !folder.is_empty());
                SessionStore::Files(PathBuf::from(folder.unwrap_or(DEBIAN)))
            }
            "redis" | "rediscluster" => SessionStore::Redis(servers(path)),
            "memcached" | "memcache" => SessionStore::Memcached(servers(path)),
            _ => SessionStore::Own,
        }
    }
}

/// Takes schemes and options away: `tcp://10.0.0.5:6379?auth=secret` is `10.0.0.5:6379`.
fn servers(path: &str) -> String {
    let one = |server: &str| {
        let server = server.trim();
        let server = server.split_once("://").map_or(server, |(_, rest)| rest);
        server.split('?').next().unwrap_or_default().to_owned()
    };
    path.split(',').map(one).collect::<Vec<_>>().join(",")
}

fn setting(line: &str) -> Option<(&str, String)> {
    let (name, value) =
        match line.strip_prefix("php_admin_value").or(line.strip_prefix("php_value")) {
            Some(rest) if rest.starts_with('[') => {
                let (name, rest) = rest[1..].split_once(']')?;
                (name, rest.trim_start().strip_prefix('=')?)
            }
            Some(rest) => rest.trim_start().split_once(char::is_whitespace)?,
            None => line.split_once('=')?,
        };
    Some((name.trim(), plain(value)))
}

/// Takes quotes and comments away.
fn plain(value: &str) -> String {
    let value = value.trim();
    for quote in ['"', '\''] {
        if let Some((inside, _)) = value.strip_prefix(quote).and_then(|rest| rest.split_once(quote))
        {
            return inside.to_owned();
        }
    }
    // Without quotes a semicolon begins a comment.
    value.split(';').next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(files: &[&str]) -> SessionStore {
        let mut php = Php::default();
        files.iter().for_each(|text| php.read(text));
        php.store()
    }

    #[test]
    fn what_comes_later_counts_in_each_of_its_forms() {
        let ini = "[Session]\n; session.save_handler = redis\nsession.save_handler = files\n\
                   session.save_path = \"2;0600;/srv/sessions\" ; two levels\n";
        assert_eq!(store(&[]), SessionStore::Files(DEBIAN.into()));
        assert_eq!(store(&[ini]), SessionStore::Files("/srv/sessions".into()));
        let pool = "[www]\nphp_admin_value[session.save_handler] = redis\n\
                    php_value[session.save_path] = 'tcp://10.0.0.5:6379?auth=secret&database=2'\n";
        assert_eq!(store(&[ini, pool]), SessionStore::Redis("10.0.0.5:6379".into()));
        let apache = "<IfModule mod_php.c>\n  php_value session.save_handler memcached\n  \
                      php_value session.save_path \"m1:11211,m2:11211\"\n</IfModule>\n";
        assert_eq!(store(&[ini, apache]), SessionStore::Memcached("m1:11211,m2:11211".into()));
        assert_eq!(store(&["session.save_handler = user"]), SessionStore::Own);
        // The secret of an address goes nowhere.
        assert!(!format!("{}", store(&[ini, pool])).contains("secret"));
    }
}
