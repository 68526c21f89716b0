//! Downloads an answer with reqwest alone: the lower bound that the benchmarks compare the client with.
//!
//!     BENCH_SESSION=mlpa_… plain_reqwest lines URL
//!     BENCH_SESSION=mlpa_… plain_reqwest save URL FILE

#![allow(clippy::print_stdout, reason = "its output is the result")]

use std::{error::Error, fs::File, io::Write as _};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let session = std::env::var("BENCH_SESSION")?;
    let [how, url, rest @ ..] = arguments.as_slice() else { return Err("usage: plain_reqwest lines|save URL".into()) };
    let request = reqwest::Client::builder().no_proxy().build()?.get(url).bearer_auth(session);
    let mut response = request.send().await?.error_for_status()?;
    let count = match (how.as_str(), rest) {
        ("lines", []) => {
            let (mut lines, mut line) = (0_usize, Vec::new());
            while let Some(chunk) = response.chunk().await? {
                for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
                    line.extend_from_slice(piece);
                    if line.ends_with(b"\n") {
                        lines += usize::from(std::str::from_utf8(&line).is_ok());
                        line.clear();
                    }
                }
            }
            lines
        }
        ("save", [file]) => {
            let (mut size, mut file) = (0, File::create(file)?);
            while let Some(chunk) = response.chunk().await? {
                size += chunk.len();
                file.write_all(&chunk)?;
            }
            size
        }
        _ => return Err("usage: plain_reqwest lines URL, or plain_reqwest save URL FILE".into()),
    };
    println!("{count}");
    Ok(())
}
