//! Files of an application, in part and with care: whoever owns the site wrote them.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Most that is read of a file.
const READ_MAX: u64 = 256 << 10;
/// Longest value that is told.
const VALUE_MAX: usize = 80;

/// A configuration file.
pub(super) struct Text {
    /// Where it is, from the root of the tree.
    pub(super) file: PathBuf,
    path: PathBuf,
    text: String,
}

/// A value that may be told, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) text: String,
    line: usize,
}

/// Returns the path of a plain file below a root, links followed as long as they stay there.
fn inside(root: &Path, file: &Path) -> Option<PathBuf> {
    let root = root.canonicalize().ok()?;
    let path = root.join(file).canonicalize().ok()?;
    (path.starts_with(&root) && path.metadata().ok()?.is_file()).then_some(path)
}

/// Says whether a plain file is there.
pub(super) fn is_there(root: &Path, file: &Path) -> bool {
    inside(root, file).is_some()
}

/// Returns whether something stands behind the sign of a comment, in any of the languages here.
fn is_comment(line: &str) -> bool {
    ["#", "//", "/*", "* ", "*/", ";"].iter().any(|sign| line.starts_with(sign))
}

impl Text {
    /// Reads a file below a root; none if it is not there or no text.
    pub(super) fn open(root: &Path, file: &Path) -> Option<Self> {
        let path = inside(root, file)?;
        let mut text = Vec::new();
        File::open(&path).ok()?.take(READ_MAX).read_to_end(&mut text).ok()?;
        let text = String::from_utf8_lossy(&text).into_owned();
        Some(Self { file: file.to_owned(), path: root.join(file), text })
    }

    /// Returns lines that are no comment, with their numbers from 1.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = (1..).zip(self.text.lines().map(str::trim));
        lines.filter(|(_, line)| !is_comment(line))
    }

    /// Returns what `find` makes of the first line of which it makes something.
    pub(super) fn value<'a>(&'a self, find: impl Fn(&'a str) -> Option<&'a str>) -> Option<Value> {
        self.lines().find_map(|(line, text)| Some(Value { text: tellable(find(text)?)?, line }))
    }

    /// The same from the first line on that holds `after`.
    pub(super) fn value_after<'a>(
        &'a self,
        after: &str,
        find: impl Fn(&'a str) -> Option<&'a str>,
    ) -> Option<Value> {
        let lines = self.lines().skip_while(|(_, line)| !line.contains(after));
        let mut lines = lines.skip(1);
        lines.find_map(|(line, text)| Some(Value { text: tellable(find(text)?)?, line }))
    }

    /// Says where a setting stands.
    pub(super) fn at(&self, setting: &str, value: &Value) -> String {
        format!("{setting}, `{}` line {}", self.path.display(), value.line)
    }

    /// Says that a setting stands nowhere in the file.
    pub(super) fn without(&self, setting: &str) -> String {
        format!("no {setting} in `{}`", self.path.display())
    }
}

/// Returns a value if it is a word, a name, a path or an address; what is something else is not
/// repeated.
fn tellable(value: &str) -> Option<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.:/\\,%@[]".contains(&b);
    // Whoever writes an address with a password writes it before an @.
    let value = value.rsplit('@').next().unwrap_or(value);
    (value.len() <= VALUE_MAX && value.bytes().all(plain)).then(|| value.to_owned())
}

/// Returns the quoted text at the beginning of a piece of code.
pub(super) fn quoted(text: &str) -> Option<&str> {
    let text = text.trim_start();
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text[1..].split_once(quote).map(|(inside, _)| inside)
}

/// Returns the quoted value of `'key' => 'value'`.
pub(super) fn entry<'a>(key: &str, line: &'a str) -> Option<&'a str> {
    let rest = ['\'', '"']
        .iter()
        .find_map(|quote| line.split_once(&format!("{quote}{key}{quote}")).map(|(_, rest)| rest))?;
    quoted(rest.trim_start().strip_prefix("=>")?)
}

/// Returns the value of `KEY=value`, quotes and a comment behind it taken away.
pub(super) fn assigned<'a>(key: &str, line: &'a str) -> Option<&'a str> {
    let value = line.strip_prefix(key)?.trim_start().strip_prefix('=')?.trim();
    quoted(value).or_else(|| value.split_whitespace().next()).or(Some(""))
}
