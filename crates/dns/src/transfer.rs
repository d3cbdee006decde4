//! A whole zone from one server: AXFR (RFC 5936), signed or allowed by address.

use crate::codes;
use crate::exchange::{Signed, Trouble, open_transfer};
use crate::message::{self, Transfer};
use crate::sets::Owner;
use crate::zone::{Contents, read_key};
use domain::base::Rtype;
use segue_model::plan::TsigKey;
use segue_model::{Fault, FaultKind};
use segue_port::Outcome;
use std::net::SocketAddr;
use tokio::time::Instant;

/// Transfers a zone.
///
/// # Errors
/// `SG0307` if the server refuses the transfer or it breaks off; `SG0302` to `SG0305` as for
/// every exchange.
pub(crate) async fn transfer(
    apex: &Owner,
    server: SocketAddr,
    key: Option<&TsigKey>,
    until: Instant,
) -> Outcome<Contents> {
    let op = format!("transfer zone `{apex}`");
    let request = || {
        let built = message::query(apex, Rtype::AXFR);
        built.map_err(|e| Trouble::Answer(format!("the question cannot be built: {e}")))
    };
    let mut transfer = Transfer::new(apex.clone());
    let done = async {
        match key {
            Some(key) => {
                let key = read_key(key)?;
                let mut channel = Signed::connect(server, key, until).await?;
                channel.transfer(request()?, &mut transfer, until).await?;
            }
            None => open_transfer(server, request()?, &mut transfer, until).await?,
        }
        Ok::<(), Refused>(())
    };
    done.await.map_err(|refused| match refused {
        Refused::Key(fault) => fault,
        Refused::Server(trouble) => {
            let mut fault = trouble.fault(&op, server);
            if fault.code == codes::BAD_ANSWER {
                fault.code = codes::TRANSFER.to_owned();
                fault.hint = "allow this machine or the key to transfer the zone (BIND: \
                              allow-transfer), read the zone file, or ask for single names"
                    .to_owned();
            }
            fault
        }
    })?;
    let (soa, sets) = transfer.finish().ok_or_else(|| {
        Fault::new(codes::TRANSFER, FaultKind::Invalid, &op, "it ended before its last record")
            .hint("see the server's log, then try again")
    })?;
    Ok(Contents { soa, sets })
}

/// Why a transfer did not begin or end.
enum Refused {
    Key(Fault),
    Server(Trouble),
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self::Key(fault)
    }
}

impl From<Trouble> for Refused {
    fn from(trouble: Trouble) -> Self {
        Self::Server(trouble)
    }
}
