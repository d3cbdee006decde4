//! Secrets by reference: read at the moment of use, kept in memory only.

use secrecy::SecretString;
use segue_model::plan::SecretRef;
use segue_model::{Fault, FaultKind};
use std::os::unix::fs::PermissionsExt;

/// Reads the secret behind a reference: `env:NAME` or `file:PATH`.
///
/// A file must not be readable by group or others. A trailing line break is cut off.
///
/// # Errors
/// `SG0801` if the reference has another form, the variable or file is missing, the
/// file is open to others, or the secret is empty.
pub fn read(reference: &SecretRef) -> Result<SecretString, Fault> {
    let op = format!("read secret `{}`", reference.0);
    let fault = |cause: String, hint: &str| {
        Fault::new("SG0801", FaultKind::Invalid, op.clone(), cause).hint(hint)
    };
    let text = match reference.0.split_once(':') {
        Some(("env", name)) => std::env::var(name).map_err(|_| {
            fault(format!("variable {name} is not set"), "export it for the controller's process")
        })?,
        Some(("file", path)) => {
            let about = std::fs::metadata(path)
                .map_err(|e| fault(e.to_string(), "create the file with mode 0600"))?;
            if about.permissions().mode() & 0o077 != 0 {
                return Err(fault(
                    format!("mode is {:o}", about.permissions().mode() & 0o777),
                    "take the rights of group and others away: chmod 600",
                ));
            }
            std::fs::read_to_string(path)
                .map_err(|e| fault(e.to_string(), "make it readable for the controller"))?
        }
        _ => {
            return Err(fault(
                "neither `env:NAME` nor `file:PATH`".into(),
                "write the secret's place into the plan, never the secret",
            ));
        }
    };
    let text = text.trim_end_matches(['\n', '\r']);
    if text.is_empty() {
        return Err(fault("it is empty".into(), "put the secret there"));
    }
    Ok(SecretString::from(text.to_owned()))
}
