//! Uploads: files that appear whole or not at all.

use super::answer::{Body, Refusal, text};
use super::is_name;
use super::serve::{Shop, field};
use super::sessions::at_files;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

/// Largest body that the shop takes.
const LARGEST: usize = 16 << 20;

/// Stores the body as `uploads/<first 2 of key>/<key>`; answers with its BLAKE3 hash.
pub(crate) async fn upload(
    shop: &Shop,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let key = field(request.uri().query().unwrap_or_default(), "key")
        .filter(|key| is_name(key) && key.len() > 2)
        .ok_or_else(|| Refusal::bad("upload needs a key"))?
        .to_owned();
    let body = whole_body(request).await?;
    let uploads = shop.tree.join("uploads");
    let hash = at_files(move || store(uploads, &key, &body)).await??;
    Ok(text(StatusCode::CREATED, "text/plain", hash))
}

/// Writes aside, syncs, renames, syncs the folder.
fn store(uploads: PathBuf, key: &str, body: &Bytes) -> std::io::Result<String> {
    let folder = uploads.join(&key[..2]);
    std::fs::create_dir_all(&folder)?;
    let part = folder.join(format!(".{key}.{:08x}", rand::random::<u32>()));
    let mut file = File::create(&part)?;
    file.write_all(body)?;
    file.sync_all()?;
    std::fs::rename(&part, folder.join(key))?;
    File::open(&folder)?.sync_all()?;
    Ok(blake3::hash(body).to_hex().to_string())
}

/// Reads a request's body to its end.
pub(crate) async fn whole_body(request: Request<Incoming>) -> Result<Bytes, Refusal> {
    let body = Limited::new(request.into_body(), LARGEST);
    let whole = body.collect().await.map_err(|error| Refusal::bad(format!("body: {error}")))?;
    Ok(whole.to_bytes())
}
