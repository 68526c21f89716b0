//! The owner of a loopback connection: which user's process holds its other end.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
};

use tokio::task::spawn_blocking;

/// State of a connection that both ends hold open.
const ESTABLISHED: &str = "01";

/// State of a socket that others can connect to.
const LISTENING: &str = "0A";

/// The user whose process holds that end; `None`: nobody does any more, or this system does not tell.
pub(crate) async fn owner(end: SocketAddr, other: SocketAddr) -> io::Result<Option<u32>> {
    let found = spawn_blocking(move || {
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
        tables.into_iter().flatten().find_map(|table| find(&table, end, other))
    });
    found.await.map_err(io::Error::other)
}

/// Whether whoever listens on that address is that user; also where this system does not tell.
pub(crate) async fn is_listener(address: SocketAddr, user: u32) -> bool {
    let found = spawn_blocking(move || {
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
        let tables: Vec<String> = tables.into_iter().flatten().collect();
        let owners: Vec<u32> = tables.iter().flat_map(|table| listeners(table, address)).collect();
        tables.is_empty() || (!owners.is_empty() && owners.iter().all(|owner| *owner == user))
    });
    found.await.unwrap_or(false)
}

/// The users that listen on that address, or on its port of every address.
fn listeners(table: &str, address: SocketAddr) -> Vec<u32> {
    let found = table.lines().skip(1).filter_map(|line| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let at = columns.next().and_then(parse)?;
        let is_there = same(at, address) || (at.ip().to_canonical().is_unspecified() && at.port() == address.port());
        let listens = columns.nth(1) == Some(LISTENING);
        (is_there && listens).then(|| columns.nth(3)?.parse().ok())?
    });
    found.collect()
}

fn find(table: &str, end: SocketAddr, other: SocketAddr) -> Option<u32> {
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let is = |address: Option<&str>, wanted| address.and_then(parse).is_some_and(|found| same(found, wanted));
        let here = is(columns.next(), end) && is(columns.next(), other) && columns.next() == Some(ESTABLISHED);
        here.then(|| columns.nth(3)?.parse().ok())?
    })
}

fn same(one: SocketAddr, other: SocketAddr) -> bool {
    one.ip().to_canonical() == other.ip().to_canonical() && one.port() == other.port()
}

/// `0100007F:1F90`: words as this machine keeps them, the port as people write it.
fn parse(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let words = ip.as_bytes().chunks(8).map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok());
    let bytes: Vec<u8> = words.collect::<Option<Vec<_>>>()?.into_iter().flat_map(u32::to_ne_bytes).collect();
    let ip = match bytes.as_slice() {
        four if four.len() == 4 => IpAddr::from(<[u8; 4]>::try_from(four).ok()?),
        sixteen => IpAddr::from(<[u8; 16]>::try_from(sixteen).ok()?),
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn our_own_ends_are_ours() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address).await else { continue };
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (server, peer) = listener.accept().await.unwrap();
            let own = rustix::process::geteuid().as_raw();
            assert_eq!(owner(peer, server.local_addr().unwrap()).await.unwrap(), Some(own));
            drop(client);
            // Whoever has gone is nobody, and not root, as which the system lists what nobody holds.
            assert_eq!(owner(peer, server.local_addr().unwrap()).await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn our_own_listener_is_ours() {
        let own = rustix::process::geteuid().as_raw();
        for address in ["127.0.0.1:0", "0.0.0.0:0"] {
            let listener = TcpListener::bind(address).await.unwrap();
            let there = SocketAddr::from(([127, 0, 0, 1], listener.local_addr().unwrap().port()));
            assert!(is_listener(there, own).await && !is_listener(there, own + 1).await);
            drop(listener);
            assert!(!is_listener(there, own).await, "nobody listens");
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn lines_as_linux_writes_them() {
        let line =
            "h\n   1: 0100007F:E0A2 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 4711 1\n";
        let find = |end: &str, other: &str| find(line, end.parse().unwrap(), other.parse().unwrap());
        assert_eq!(find("127.0.0.1:57506", "127.0.0.1:8080"), Some(1000));
        assert_eq!(find("[::ffff:127.0.0.1]:57506", "127.0.0.1:8080"), Some(1000));
        assert_eq!(find("127.0.0.1:8080", "127.0.0.1:57506"), None);
        let six = parse("00000000000000000000000001000000:0050");
        assert_eq!(six, Some("[::1]:80".parse().unwrap()));
    }
}
