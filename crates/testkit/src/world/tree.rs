//! The site's files at the start.

use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Folders of the static files.
const FOLDERS: u32 = 200;
/// Files that clients of the past uploaded, and their dormant login sessions.
const PAST: u32 = 200;

/// Returns over how many folders the static files are spread.
pub fn folder_count() -> u32 {
    FOLDERS
}

/// Returns the request path of static file `number`: `/files/NN/NNNNN.txt`.
pub fn static_path(number: u32) -> String {
    format!("/files/{:02}/{number:05}.txt", number % FOLDERS)
}

/// Fills the tree at `root`: `files/`, `uploads/`, `sessions/`.
pub(crate) fn fill(root: &Path, files: u32) -> Result<()> {
    for folder in ["files", "uploads", "sessions"] {
        std::fs::create_dir_all(root.join(folder))?;
    }
    for folder in 0..FOLDERS.min(files) {
        std::fs::create_dir_all(root.join(format!("files/{folder:02}")))?;
    }
    past(root)?;
    let threads = 2;
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|part| scope.spawn(move || statics(root, (part..files).step_by(threads as usize))))
            .collect();
        parts.into_iter().try_for_each(|part| match part.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

/// Writes static files: half of them below 2 KB, one in two thousand 200 KB.
fn statics(root: &Path, numbers: impl Iterator<Item = u32>) -> Result<()> {
    let mut noise = vec![0_u8; 256 * 1024];
    StdRng::seed_from_u64(1).fill_bytes(&mut noise);
    for byte in &mut noise {
        *byte = b'a' + *byte % 26;
    }
    for number in numbers {
        let mut random = StdRng::seed_from_u64(u64::from(number));
        let size = match number % 2_000 {
            1_999 => 200_000,
            _ => 2_f64.powf(random.random_range(8.0..14.0)) as usize,
        };
        let start = random.random_range(0..noise.len() - size);
        let mut body = format!("file {number:05}\n").into_bytes();
        body.extend_from_slice(&noise[start..start + size]);
        let age = Duration::from_secs(86_400 + u64::from(number % 300) * 86_400);
        write(&root.join(&static_path(number)[1..]), &body, age)?;
    }
    Ok(())
}

/// Writes uploads and sessions of clients of the past.
fn past(root: &Path) -> Result<()> {
    let mut random = StdRng::seed_from_u64(2);
    for number in 0..PAST {
        let key = format!("{:02x}past{number:05}", number % 40);
        let folder = root.join("uploads").join(&key[..2]);
        std::fs::create_dir_all(&folder)?;
        let mut body = vec![0_u8; if number % 50 == 0 { 1 << 20 } else { 4096 }];
        random.fill_bytes(&mut body);
        write(&folder.join(key), &body, Duration::from_secs(7_200))?;
        let session = format!("client|s:h{number};visits|i:{:010};", number % 50);
        let name = format!("sess_{:032x}", random.random::<u128>());
        write(&root.join("sessions").join(name), session.as_bytes(), Duration::from_secs(3_600))?;
    }
    Ok(())
}

/// Writes one file, `age` old: a live site's files were not all written a moment ago.
fn write(path: &Path, body: &[u8], age: Duration) -> Result<()> {
    let mut file =
        File::create(path).with_context(|| format!("create file `{}`", path.display()))?;
    file.write_all(body).with_context(|| format!("write file `{}`", path.display()))?;
    file.set_modified(SystemTime::now() - age)
        .with_context(|| format!("set the time of file `{}`", path.display()))
}
