//! Trusted proxies and `X-Forwarded-For`: whom the proxies in front of the platform speak for.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// Addresses that begin alike, such as `10.0.0.0/8`; a bare address is itself alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let problem = || format!("'{text}' is no address or range: give one such as 10.0.0.0/8, 192.0.2.7 or fd00::/8");
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| problem())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(prefix) => prefix.parse().ok().filter(|prefix| *prefix <= longest).ok_or_else(problem)?,
        };
        Ok(Self { address, prefix })
    }
}

impl Cidr {
    fn contains(self, other: IpAddr) -> bool {
        let differing = match (self.address, other) {
            (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
            (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
            _ => return false,
        };
        differing >= u32::from(self.prefix)
    }
}

/// Those who are believed about whom they speak for.
#[derive(Clone, Debug, Default)]
pub struct Proxies(pub Vec<Cidr>);

impl Proxies {
    /// Who sent a request: the peer, unless that is one of ours; then the last address in `X-Forwarded-For` that is none
    /// of ours. What stands before that, anybody may have written.
    #[must_use]
    pub fn client<'a>(&self, peer: IpAddr, forwarded: impl DoubleEndedIterator<Item = &'a str>) -> IpAddr {
        let mut client = peer.to_canonical();
        let mut hops = forwarded.flat_map(|header| header.split(',')).rev();
        while self.include(client) {
            let Some(address) = hops.next().and_then(address) else { break };
            client = address.to_canonical();
        }
        client
    }

    /// Whether some of ours may be on this machine.
    #[must_use]
    pub fn include_loopback(&self) -> bool {
        let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let within = |proxy: &Cidr| loopback.into_iter().any(|address| proxy.contains(address));
        self.0.iter().any(|proxy| proxy.address.is_loopback() || within(proxy))
    }

    /// Whether that is one of ours.
    #[must_use]
    pub fn include(&self, address: IpAddr) -> bool {
        self.0.iter().any(|proxy| proxy.contains(address.to_canonical()))
    }
}

/// As proxies write one: with or without a port, and of IPv6 then in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let contains = |range: &str, address: &str| range.parse::<Cidr>().unwrap().contains(address.parse().unwrap());
        assert!(contains("10.0.0.0/8", "10.255.0.1") && !contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("0.0.0.0/0", "192.0.2.1") && !contains("0.0.0.0/0", "::1"));
        assert!(contains("192.0.2.7", "192.0.2.7") && !contains("192.0.2.7", "192.0.2.6"));
        assert!(contains("fd00::/8", "fdff::1") && !contains("fd00::/8", "fe00::1"));
        for bad in ["", "10", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "host", "10.0.0.0/8/8"] {
            assert!(bad.parse::<Cidr>().unwrap_err().contains("10.0.0.0/8, "), "{bad}");
        }
    }

    #[test]
    fn those_on_this_machine() {
        let loopback = |range: &str| Proxies(vec![range.parse().unwrap()]).include_loopback();
        for range in ["127.0.0.1", "127.0.0.0/8", "127.1.2.3", "0.0.0.0/0", "::1", "::/0"] {
            assert!(loopback(range), "{range}");
        }
        assert!(!loopback("10.0.0.0/8") && !loopback("fd00::/8") && !Proxies::default().include_loopback());
    }

    #[test]
    fn only_ours_are_believed() {
        let proxies = Proxies(vec!["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()]);
        let client =
            |peer: &str, headers: &[&str]| proxies.client(peer.parse().unwrap(), headers.iter().copied()).to_string();
        assert_eq!(client("192.0.2.1", &["198.51.100.1"]), "192.0.2.1", "a stranger says what he likes");
        assert_eq!(client("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["203.0.113.9, 198.51.100.1, 10.0.0.2"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["203.0.113.9", "198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("::ffff:10.0.0.1", &[" 2001:db8::1 "]), "2001:db8::1");
        assert_eq!(client("10.0.0.1", &["203.0.113.9, 198.51.100.1:54321"]), "198.51.100.1", "Azure's write a port");
        assert_eq!(client("10.0.0.1", &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(client("10.0.0.1", &["[2001:db8::1]"]), "2001:db8::1");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["garbage"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["203.0.113.9, garbage, 10.0.0.3"]), "10.0.0.3");
        assert_eq!(Proxies::default().client("::1".parse().unwrap(), ["192.0.2.1"].into_iter()).to_string(), "::1");
    }
}
