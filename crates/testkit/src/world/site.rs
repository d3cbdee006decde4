//! The site of both sides: shop, web server, cron, and the neighbour.

use super::daemon::{Ending, Recipe, wait_until};
use super::description::{Description, Side};
use super::keeper::Kept;
use super::web::Web;
use anyhow::Result;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Starts shop, web servers, cron and the neighbour.
pub(crate) fn start(kept: &mut Kept, description: &Description) -> Result<()> {
    std::fs::write(description.shop_dir.source.join("cron.enabled"), b"")?;
    for side in Side::BOTH {
        let side_text = side.as_str();
        let recipe =
            shop_recipe(description, &format!("shop-{side}"), &["serve", "--side", side_text]);
        kept.start(&recipe)?;
        let home = description.dir.join(side_text).join("web");
        let web = Web {
            name: format!("nginx-{side}"),
            home: &home,
            side,
            listen: *description.backend.get(side),
            shop: *description.shop.get(side),
            tree: description.trees.get(side),
        };
        kept.start(&web.recipe(&kept.programs)?)?;
    }
    for side in Side::BOTH {
        let address = *description.backend.get(side);
        wait_until(&format!("the site at {address} answers"), Duration::from_secs(20), || {
            kept.all_run()?;
            Ok(healthy(address))
        })?;
        let recipe =
            shop_recipe(description, &format!("cron-{side}"), &["cron", "--side", side.as_str()]);
        kept.start(&recipe)?;
    }
    kept.start(&shop_recipe(description, "tenant", &["tenant"]))?;
    Ok(())
}

/// Returns how to start one mode of `segue-shop`.
pub(crate) fn shop_recipe(description: &Description, name: &str, args: &[&str]) -> Recipe {
    let mut all: Vec<_> = args.iter().map(|arg| (*arg).into()).collect();
    all.push("--world".into());
    all.push(description.path().into());
    Recipe {
        name: name.to_owned(),
        program: description.shop_program.clone(),
        args: all,
        log: description.dir.join("run").join(format!("{name}.log")),
        ending: Ending::Ask,
    }
}

/// Returns whether `/healthz` answers 200 at `address`.
pub(crate) fn healthy(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(300))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.split(' ').nth(1) == Some("200"))
}
