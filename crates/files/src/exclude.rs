//! Which paths do not move: rsync's exclude patterns, for the parts that rsync does not read.
//!
//! rsync applies its filters while it walks a tree, but not to names it is given in a list;
//! the watch and the comparison do not pass rsync at all. Both must agree with it. Rules as
//! in rsync(1), "PATTERN MATCHING RULES".

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// All patterns of one tree. A path is excluded if it, or a folder above it, matches one.
#[derive(Debug, Default)]
pub(crate) struct Excludes(Vec<Pattern>);

#[derive(Debug)]
struct Pattern {
    text: Vec<u8>,
    /// Begins with `/`: matches from the root of the tree only.
    anchored: bool,
    /// Ended with `/`, or with `/***`, which then also names all below.
    folders_only: bool,
    /// Holds a `/` or `**`: matched against the path, otherwise against the last name only.
    whole_path: bool,
}

impl Pattern {
    fn new(pattern: &str) -> Self {
        let mut text = pattern.as_bytes();
        let anchored = text.first() == Some(&b'/');
        if anchored {
            text = &text[1..];
        }
        let mut folders_only = false;
        for end in [&b"/***"[..], b"/"] {
            if let Some(rest) = text.strip_suffix(end) {
                (text, folders_only) = (rest, true);
                break;
            }
        }
        let whole_path = text.contains(&b'/') || text.windows(2).any(|w| w == b"**");
        Self { text: text.to_vec(), anchored, folders_only, whole_path }
    }

    fn matches(&self, path: &[u8], is_folder: bool) -> bool {
        if self.folders_only && !is_folder {
            return false;
        }
        if self.anchored {
            return glob(&self.text, path);
        }
        // Without a slash it is the last name; otherwise any tail that begins with a name.
        let last = path.iter().rposition(|&b| b == b'/').map_or(0, |at| at + 1);
        if !self.whole_path {
            return glob(&self.text, &path[last..]);
        }
        glob(&self.text, path)
            || (0..last).any(|at| path[at] == b'/' && glob(&self.text, &path[at + 1..]))
    }
}

impl Excludes {
    /// Reads the patterns of a plan.
    pub(crate) fn new(patterns: &[String]) -> Self {
        Self(patterns.iter().filter(|p| !p.is_empty()).map(|p| Pattern::new(p)).collect())
    }

    /// Says why a pattern cannot be used, if so: rsync reads these as rules of another kind.
    pub(crate) fn refusal(pattern: &str) -> Option<&'static str> {
        if pattern.trim_matches('/').is_empty() {
            return Some("it is empty");
        }
        if pattern.starts_with("+ ") || pattern.starts_with("- ") || pattern == "!" {
            return Some("it is a filter rule, not a pattern");
        }
        None
    }

    /// Returns whether `path`, relative to the root, is kept out of the move.
    pub(crate) fn excludes(&self, path: &Path, is_folder: bool) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let bytes = path.as_os_str().as_bytes();
        let ends = bytes.iter().enumerate().filter(|&(_, &b)| b == b'/').map(|(at, _)| at);
        ends.map(|end| (end, true))
            .chain([(bytes.len(), is_folder)])
            .any(|(end, folder)| self.0.iter().any(|p| p.matches(&bytes[..end], folder)))
    }
}

/// Matches a whole text: `*` and `?` stop at `/`, `**` does not, `[..]` is a set.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let Some((&first, rest)) = pattern.split_first() else { return text.is_empty() };
    match first {
        b'*' => {
            let deep = rest.first() == Some(&b'*');
            let rest = if deep { &rest[1..] } else { rest };
            let reach = if deep { None } else { text.iter().position(|&b| b == b'/') };
            (0..=reach.unwrap_or(text.len())).any(|skip| glob(rest, &text[skip..]))
        }
        b'?' => text.first().is_some_and(|&b| b != b'/') && glob(rest, &text[1..]),
        b'[' => match (set(rest), text.first()) {
            (Some((members, after)), Some(&b)) if b != b'/' => {
                members.contains(b) && glob(after, &text[1..])
            }
            (Some(_), _) => false,
            (None, _) => text.first() == Some(&b'[') && glob(rest, &text[1..]),
        },
        b'\\' if !rest.is_empty() => text.first() == Some(&rest[0]) && glob(&rest[1..], &text[1..]),
        b => text.first() == Some(&b) && glob(rest, &text[1..]),
    }
}

struct Set<'a> {
    members: &'a [u8],
    negated: bool,
}

impl Set<'_> {
    fn contains(&self, byte: u8) -> bool {
        let mut found = false;
        let mut at = 0;
        while at < self.members.len() {
            if self.members.len() > at + 2 && self.members[at + 1] == b'-' {
                found |= (self.members[at]..=self.members[at + 2]).contains(&byte);
                at += 3;
            } else {
                found |= self.members[at] == byte;
                at += 1;
            }
        }
        found != self.negated
    }
}

/// Splits `abc]rest`; a `]` in first place is a member.
fn set(text: &[u8]) -> Option<(Set<'_>, &[u8])> {
    let negated = matches!(text.first(), Some(b'!' | b'^'));
    let text = if negated { &text[1..] } else { text };
    let end = text.iter().skip(1).position(|&b| b == b']')? + 1;
    Some((Set { members: &text[..end], negated }, &text[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::Excludes;
    use std::path::Path;

    fn excludes(pattern: &str, path: &str, is_folder: bool) -> bool {
        Excludes::new(&[pattern.to_owned()]).excludes(Path::new(path), is_folder)
    }

    #[test]
    fn agrees_with_rsync_on_what_a_pattern_names() {
        for (pattern, path, is_folder, expected) in [
            ("*.log", "a/b/x.log", false, true),
            ("*.log", "a/x.log/inner", false, true),
            ("*.log", "a/x.logs", false, false),
            ("/cache", "cache/x", false, true),
            ("/cache", "a/cache", true, false),
            ("cache/", "a/cache", true, true),
            ("cache/", "a/cache", false, false),
            ("cache/", "a/cache/x", false, true),
            ("a/*.txt", "z/a/x.txt", false, true),
            ("a/*.txt", "z/ba/x.txt", false, false),
            ("/a/*.txt", "z/a/x.txt", false, false),
            ("/a/**/z", "a/b/c/z", false, true),
            ("/a/*/z", "a/b/c/z", false, false),
            ("tmp/***", "x/tmp/y", false, true),
            ("file[0-9]", "file7", false, true),
            ("file[!0-9]", "file7", false, false),
            ("a?c", "a/c", false, false),
            ("\\*", "*", false, true),
            ("\\*", "x", false, false),
        ] {
            assert_eq!(excludes(pattern, path, is_folder), expected, "{pattern} on {path}");
        }
    }

    #[test]
    fn refuses_filter_rules_that_look_like_patterns() {
        assert!(Excludes::refusal("- *.log").is_some());
        assert!(Excludes::refusal("/").is_some());
        assert!(Excludes::refusal("*.log").is_none());
    }
}
