//! What a client was shown at the handshake, against what it asks for later.

use super::certs::Names;

/// The name that a client asked for, and the certificate that it got.
///
/// Clients of HTTP/2 ask over one connection for every host that its certificate is for
/// (RFC 9113 9.1.1). A host that it is not for came there by mistake, and would be answered
/// under another one's name: 421 sends the client to a connection of that host's own.
pub(crate) struct Shown {
    asked: Option<Box<str>>,
    names: Names,
}

impl Shown {
    pub(super) fn new(asked: Option<&str>, names: Names) -> Self {
        Self { asked: asked.map(|name| name.to_ascii_lowercase().into()), names }
    }

    /// Returns whether a host may be asked for: the one the connection was opened for, whatever
    /// certificate it got, one of the certificate's, or any if the client named none.
    pub(crate) fn covers(&self, host: &str) -> bool {
        let Some(asked) = &self.asked else { return true };
        if asked.eq_ignore_ascii_case(host) {
            return true;
        }
        let parent = host.split_once('.').map(|(_, parent)| parent);
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(wild) => parent.is_some_and(|parent| parent.eq_ignore_ascii_case(wild)),
            None => name.eq_ignore_ascii_case(host),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covers_what_was_asked_for_and_what_the_certificate_is_for() {
        let names: Names = ["a.test".into(), "*.b.test".into()].into();
        let shown = Shown::new(Some("Sni.test"), names.clone());
        for host in ["sni.test", "SNI.test", "a.test", "A.test", "x.b.test", "X.B.test"] {
            assert!(shown.covers(host), "{host}");
        }
        for host in ["b.test", "x.y.b.test", "c.test", "x.a.test", ""] {
            assert!(!shown.covers(host), "{host}");
        }
        assert!(Shown::new(None, names).covers("c.test"), "who names nothing cannot do better");
    }
}
