//! Names of things in the plan, names of hosts, places of secrets.

use super::Found;
use segue_model::plan::SecretRef;
use std::fmt;
use std::path::Path;

/// Checks a name that ends up in file names, marks and reports.
pub(super) fn name(found: &mut Found, key: impl fmt::Display, name: &str) {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let text = if name.is_empty() {
        "the name is empty".to_owned()
    } else if name.len() > 64 {
        format!("the name has {} characters", name.len())
    } else if let Some(c) = name.chars().find(|c| !allowed(*c)) {
        format!("the name holds {c:?}")
    } else if name.starts_with(['.', '-']) {
        format!("the name `{name}` begins with `{}`", &name[..1])
    } else {
        return;
    };
    found.add(
        "SG0703",
        key.to_string(),
        text,
        "use 1 to 64 letters, digits, `-`, `_` and `.`, a letter or digit first",
    );
}

/// Returns what is wrong with a host or owner name in lower case without trailing dot.
///
/// Underscores are allowed in owner names only, and so is a `*` as first label.
pub(super) fn domain(name: &str, owner: bool) -> Option<String> {
    let labels = || name.split('.');
    if name.is_empty() {
        return Some("it is empty".into());
    }
    if name.ends_with('.') {
        return Some(format!("`{name}` ends with a dot"));
    }
    if name.chars().any(|c| c.is_ascii_uppercase()) {
        return Some(format!("`{name}` has capital letters"));
    }
    if !owner && name.contains('*') {
        return Some(format!("`{name}` is a wildcard"));
    }
    if name.len() > 253 || labels().any(|label| label.is_empty() || label.len() > 63) {
        return Some(format!("`{name}` has an empty label, a label over 63 or more than 253"));
    }
    let plain = |label: &str| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        label.chars().all(|c| inner(c) || (owner && c == '_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    labels()
        .enumerate()
        .find(|(at, label)| !(plain(label) || owner && *at == 0 && *label == "*"))
        .map(|(_, label)| format!("the label `{label}` of `{name}` is not a host label"))
}

/// Checks that a secret is named by its place. The value is never repeated.
pub(super) fn secret(found: &mut Found, key: &str, secret: &SecretRef) {
    let right = match secret.0.split_once(':') {
        Some(("file", path)) => Path::new(path).is_absolute(),
        Some(("env", name)) => {
            !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                && !name.starts_with(|c: char| c.is_ascii_digit())
        }
        _ => false,
    };
    if !right {
        found.add(
            "SG0718",
            key,
            "this is not the place of a secret (and is not shown, it may be the secret)",
            "write `file:/absolute/path` or `env:NAME`; if the secret stood here, change it",
        );
    }
}

/// Checks the path of a file that Segue or the server writes.
pub(super) fn absolute(found: &mut Found, key: &str, path: &Path) {
    if !path.is_absolute() {
        found.add(
            "SG0729",
            key,
            format!("`{}` is a relative path", path.display()),
            "write it from `/` on: the controller has another working folder than you",
        );
    }
}

/// Checks the path of a URL.
pub(super) fn url_path(found: &mut Found, code: &'static str, key: &str, path: &str) {
    if !path.starts_with('/') || path.chars().any(|c| c.is_whitespace() || c.is_control()) {
        found.add(
            code,
            key,
            format!("`{path}` is not the path of a request"),
            "begin it with `/` and encode spaces",
        );
    }
}
