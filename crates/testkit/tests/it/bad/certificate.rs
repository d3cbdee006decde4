//! A TLS server in front of the site, whose certificate can be changed.

use anyhow::{Context, Result, bail};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Seconds for which a certificate must last: thirty days.
const MUST_LAST_S: u32 = 2_592_000;

/// A private TLS server; it ends with this value.
pub(super) struct TlsServer {
    folder: PathBuf,
    address: SocketAddr,
    child: Option<Child>,
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        self.end();
    }
}

impl TlsServer {
    /// Starts one whose certificate lasts for `days`.
    pub(super) fn start(folder: &Path, days: u32) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut server = Self { folder: folder.to_owned(), address, child: None };
        server.present(days)?;
        Ok(server)
    }

    /// Presents a certificate that lasts for `days` from now on.
    pub(super) fn present(&mut self, days: u32) -> Result<()> {
        self.end();
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-nodes", "-subj", "/CN=shop.example.test", "-days", &days.to_string()])
            .args(["-keyout", "key.pem", "-out", "cert.pem"])
            .current_dir(&self.folder)
            .output()
            .context("run `openssl`; `apt-get install openssl` brings it")?;
        if !made.status.success() {
            bail!("make a certificate: {}", String::from_utf8_lossy(&made.stderr));
        }
        let child = Command::new("openssl")
            .args(["s_server", "-quiet", "-key", "key.pem", "-cert", "cert.pem"])
            .args(["-accept", &self.address.to_string()])
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        self.child = Some(child);
        crate::wait_for("the TLS server answers", || TcpStream::connect(self.address).is_ok());
        Ok(())
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The plan's lines that ask it: a command of the operator's own, and the gate.
    pub(super) fn plan_lines(&self) -> String {
        let ask = format!(
            "echo | openssl s_client -connect {} 2>/dev/null | \
             openssl x509 -noout -checkend {MUST_LAST_S} >/dev/null",
            self.address
        );
        format!(
            "\n[[measure.custom]]\nname = \"certificate\"\ncommand = [\"/bin/sh\", \"-c\", \"{ask}\"]\n\
             every_ms = 1000\n\n[[gate]]\nname = \"certificate_lasts\"\nwhat = \"custom\"\n\
             of = \"certificate\"\nmin = 1\nfresh_for_ms = 4000\n"
        )
    }
}
