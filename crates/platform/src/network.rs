//! The client network that limits by address are kept for: an IPv4 address, or an IPv6 /64.

use std::net::{IpAddr, Ipv4Addr};

/// Whom a limit is for: an IPv4 address, or the /64 that an IPv6 user has for himself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// The first 64 bits of an IPv6 address.
    V6([u16; 4]),
    /// No address, or one of too many.
    Other,
}

impl Network {
    /// That of an address; what is none is [`Other`](Self::Other).
    #[must_use]
    pub fn of(address: &str) -> Self {
        address.parse().map_or(Self::Other, IpAddr::into)
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_user_is_his_64() {
        assert_eq!(Network::of("2001:db8:1:2::1"), Network::of("2001:db8:1:2:ffff::9"));
        assert_ne!(Network::of("2001:db8:1:2::1"), Network::of("2001:db8:1:3::1"));
        assert_eq!(Network::of("::ffff:192.0.2.1"), Network::of("192.0.2.1"));
        assert_ne!(Network::of("192.0.2.1"), Network::of("192.0.2.2"));
        assert_eq!(Network::of("local"), Network::Other);
    }
}
