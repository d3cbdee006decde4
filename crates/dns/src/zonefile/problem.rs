//! What is wrong in a zone file, and where.

use std::fmt;

/// What is wrong, without a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong(pub(crate) String);

impl From<String> for Wrong {
    fn from(what: String) -> Self {
        Self(what)
    }
}

impl From<&str> for Wrong {
    fn from(what: &str) -> Self {
        Self(what.to_owned())
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

impl domain::base::scan::ScannerError for Wrong {
    fn custom(what: &'static str) -> Self {
        what.into()
    }

    fn end_of_entry() -> Self {
        "the line ends too early".into()
    }

    fn short_buf() -> Self {
        "the data is too long".into()
    }

    fn trailing_tokens() -> Self {
        "the line goes on after the data".into()
    }
}

/// Something that is said of a line of a zone file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// What is to be said.
    pub what: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}
