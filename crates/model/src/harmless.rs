//! Paths on which reading changes nothing: which requests are on them.

/// Returns whether a path begins with one of those, and a server cannot find that it leads
/// elsewhere: many take `/a/../b`, also in other spellings, for `/b`, and some `/a/..;/b`.
pub fn below(begins: &[impl AsRef<str>], path: &str) -> bool {
    let escaped = |hex: &[u8]| {
        matches!(hex.to_ascii_lowercase().as_slice(), [b'2', b'e' | b'f'] | [b'5', b'c'])
    };
    let plain = || {
        path.bytes().all(|byte| byte != b'\\')
            && path.as_bytes().windows(3).all(|three| three[0] != b'%' || !escaped(&three[1..]))
            && !path
                .get(1..)
                .unwrap_or_default()
                .split_inclusive('/')
                .filter_map(|segment| segment.split([';', '/']).next())
                .any(|name| matches!(name, "" | "." | ".."))
    };
    begins.iter().any(|begin| path.starts_with(begin.as_ref())) && plain()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_may_lead_elsewhere_is_below_nothing() {
        let begins = ["/pub/"];
        for path in ["/pub/", "/pub/a.b/..c", "/pub/a%20b", "/pub/a/", "/pub/%2", "/pub/a;b=1/c"] {
            assert!(below(&begins, path), "{path}");
        }
        for path in [
            "/",
            "/public",
            "/pub/../x",
            "/pub/..",
            "/pub/./x",
            "/pub/a/%2E%2e/x",
            "/pub/..%2fx",
            "/pub/%5c..",
            "/pub/a\\..\\x",
            "/pub//x",
            "/pub/..;/x",
            "/pub/..;a=1",
            "/pub/;/x",
        ] {
            assert!(!below(&begins, path), "{path}");
        }
    }
}
