//! A web server of one side, configured as Debian does it.

use super::daemon::{Ending, Recipe};
use super::description::Side;
use super::programs::Programs;
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::path::Path;

/// What one web server needs to know.
pub(crate) struct Web<'a> {
    pub(crate) name: String,
    pub(crate) home: &'a Path,
    pub(crate) side: Side,
    pub(crate) listen: SocketAddr,
    pub(crate) shop: SocketAddr,
    pub(crate) tree: &'a Path,
}

impl Web<'_> {
    /// Writes the configuration and returns how to start it.
    pub(crate) fn recipe(&self, programs: &Programs) -> Result<Recipe> {
        let temporary = self.home.join("tmp");
        std::fs::create_dir_all(&temporary)?;
        let file = self.home.join("nginx.conf");
        std::fs::write(&file, self.config())
            .with_context(|| format!("write `{}`", file.display()))?;
        Ok(Recipe {
            name: self.name.clone(),
            program: programs.nginx.clone(),
            args: vec![
                "-p".into(),
                self.home.into(),
                "-e".into(),
                self.home.join("error.log").into(),
                "-c".into(),
                file.into(),
            ],
            log: self.home.join("nginx.out"),
            // Its workers outlive a killed master.
            ending: Ending::Ask,
        })
    }

    /// Debian's `nginx.conf` with its own paths, and a site in front of the shop.
    fn config(&self) -> String {
        let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
        let home = self.home.display();
        let types = if Path::new("/etc/nginx/mime.types").is_file() {
            "include /etc/nginx/mime.types;"
        } else {
            "types { text/html html; text/plain txt; image/jpeg jpg; }"
        };
        format!(
            "{user}daemon off;\nworker_processes auto;\npid {home}/nginx.pid;\n\
             error_log {home}/error.log;\nevents {{ worker_connections 768; }}\nhttp {{\n  \
             sendfile on; tcp_nopush on; types_hash_max_size 2048;\n  {types}\n  \
             default_type application/octet-stream;\n  access_log {home}/access.log combined;\n  \
             gzip on;\n  client_body_temp_path {home}/tmp/body; proxy_temp_path {home}/tmp/proxy;\n  \
             fastcgi_temp_path {home}/tmp/fastcgi; uwsgi_temp_path {home}/tmp/uwsgi; \
             scgi_temp_path {home}/tmp/scgi;\n  \
             server {{\n    listen {listen};\n    root {tree};\n    \
             add_header X-Shop-Side {side} always;\n    \
             location /files/ {{ try_files $uri =404; }}\n    \
             location /uploads/ {{ try_files $uri =404; }}\n    \
             location / {{\n      proxy_pass http://{shop};\n      proxy_hide_header X-Shop-Side;\n      \
             proxy_set_header Host $host;\n      proxy_set_header X-Real-IP $remote_addr;\n      \
             proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n    }}\n  }}\n}}\n",
            listen = self.listen,
            tree = self.tree.display(),
            side = self.side,
            shop = self.shop,
        )
    }
}
