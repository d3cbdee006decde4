//! Signatures of requests to Amazon's APIs (AWS Signature Version 4, "Create a signed AWS API
//! request" in the IAM user guide). Amazon's own crate for it brings some thirty others.

use jiff::Timestamp;
use ring::{digest, hmac};
use std::fmt::Write as _;

/// Who signs, and for what.
pub struct Signer<'a> {
    /// Access key id.
    pub access_key: &'a str,
    /// Secret access key.
    pub secret_key: &'a str,
    /// For example `us-east-1`.
    pub region: &'a str,
    /// For example `route53`.
    pub service: &'a str,
}

/// What is signed.
pub struct Signed<'a> {
    /// Method in capitals.
    pub method: &'a str,
    /// Absolute path, already encoded.
    pub path: &'a str,
    /// Query, its pairs sorted and encoded.
    pub query: &'a str,
    /// Header names in lower case, sorted, with their values; `host` and `x-amz-date` among them.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
}

/// Returns the value of `X-Amz-Date` for a moment.
pub fn date(at: Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// Encodes a value of a query: everything but letters, digits and `-._~`.
pub fn encoded(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for octet in value.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            text.push(char::from(octet));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "%{octet:02X}");
        }
    }
    text
}

impl Signer<'_> {
    /// Returns the value of `Authorization`; `date` is that of `x-amz-date`.
    pub fn authorization(&self, what: &Signed<'_>, date: &str) -> String {
        let names: Vec<&str> = what.headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let headers: String =
            what.headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
        let canonical = format!(
            "{}\n{}\n{}\n{headers}\n{names}\n{}",
            what.method,
            what.path,
            what.query,
            hex(digest::digest(&digest::SHA256, what.body).as_ref()),
        );
        let day = date.get(..8).unwrap_or(date);
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let hashed = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashed}");
        let start = format!("AWS4{}", self.secret_key);
        let mut key = start.into_bytes();
        for part in [day, self.region, self.service, "aws4_request"] {
            key = keyed(&key, part);
        }
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={}",
            self.access_key,
            hex(&keyed(&key, &text)),
        )
    }
}

fn keyed(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The example that Amazon's documentation works through.
    #[test]
    fn signs_as_the_documentation_does() {
        let signer = Signer {
            access_key: "AKIDEXAMPLE",
            secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            region: "us-east-1",
            service: "iam",
        };
        let at: Timestamp = "2015-08-30T12:36:00Z".parse().unwrap();
        let date = date(at);
        assert_eq!(date, "20150830T123600Z");
        let what = Signed {
            method: "GET",
            path: "/",
            query: "Action=ListUsers&Version=2010-05-08",
            headers: &[
                ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
                ("host", "iam.amazonaws.com"),
                ("x-amz-date", &date),
            ],
            body: b"",
        };
        let said = signer.authorization(&what, &date);
        let signature = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";
        assert!(said.ends_with(&format!("Signature={signature}")), "{said}");
        assert!(said.contains("Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request"));
    }

    #[test]
    fn encodes_what_a_query_may_not_hold() {
        assert_eq!(encoded("*.a b/ü~"), "%2A.a%20b%2F%C3%BC~");
    }
}
