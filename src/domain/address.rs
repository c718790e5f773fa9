//! Which addresses a request of ours may go to. A check file names an address on the internet; without this,
//! it could name the cloud's metadata service or a neighbour in the private network just as well.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Who is behind an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    Public,
    /// Our own machine or network: allowed only where somebody said so.
    Private,
    /// Link-local addresses hold the cloud's metadata services; the others are no hosts at all.
    Forbidden,
}

/// Judges the address that is really behind `ip`: IPv4 in its IPv6 disguises is judged as IPv4.
pub fn reach(ip: IpAddr) -> Reach {
    match ip.to_canonical() {
        IpAddr::V4(v4) => reach_v4(v4),
        IpAddr::V6(v6) => embedded(v6).map_or_else(|| reach_v6(v6), reach_v4),
    }
}

/// Whether a request may go there, given the private networks that are allowed.
pub fn is_allowed(ip: IpAddr, private: &[IpNet]) -> bool {
    match reach(ip) {
        Reach::Public => true,
        Reach::Private => private.iter().any(|network| network.contains(&ip.to_canonical())),
        Reach::Forbidden => false,
    }
}

/// Metadata services of clouds that are not link-local: Azure, Alibaba, Oracle.
const METADATA: [Ipv4Addr; 3] =
    [Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];

fn reach_v4(ip: Ipv4Addr) -> Reach {
    let [a, b, c, _] = ip.octets();
    if ip.is_link_local() || ip.is_multicast() || a == 0 || a >= 240 || METADATA.contains(&ip) {
        return Reach::Forbidden;
    }
    // 100.64.0.0/10 is the inside of providers' networks, 198.18.0.0/15 that of laboratories.
    let shared = a == 100 && b & 0xc0 == 64 || a == 198 && b & 0xfe == 18 || (a, b, c) == (192, 0, 0);
    if ip.is_loopback() || ip.is_private() || shared { Reach::Private } else { Reach::Public }
}

fn reach_v6(ip: Ipv6Addr) -> Reach {
    let segments = ip.segments();
    let metadata = matches!((segments[0], segments[1]), (0xfd00, 0x0ec2) | (0xfd20, 0x00ce));
    if ip.is_unicast_link_local() || ip.is_multicast() || ip.is_unspecified() || metadata {
        return Reach::Forbidden;
    }
    // Deprecated site-local addresses are still routed by some.
    let site_local = segments[0] & 0xffc0 == 0xfec0;
    if ip.is_loopback() || ip.is_unique_local() || site_local { Reach::Private } else { Reach::Public }
}

/// The IPv4 address that a translator or a tunnel would go to: NAT64 and 6to4.
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let [high, low] = match (a, b, c, d, e, f) {
        (0x64, 0xff9b, ..) => [g, h],
        (0x2002, ..) => [b, c],
        (0, 0, 0, 0, 0, 0) if g != 0 => [g, h],
        _ => return None,
    };
    Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_and_non_hosts_are_forbidden_and_private_ones_need_a_word() {
        use Reach::{Forbidden, Private, Public};
        for (address, expected) in [
            ("169.254.169.254", Forbidden),
            ("::ffff:169.254.169.254", Forbidden),
            ("64:ff9b::a9fe:a9fe", Forbidden),
            ("2002:a9fe:a9fe::1", Forbidden),
            ("fd00:ec2::254", Forbidden),
            ("fd20:ce::254", Forbidden),
            ("168.63.129.16", Forbidden),
            ("100.100.100.200", Forbidden),
            ("fe80::1", Forbidden),
            ("0.0.0.0", Forbidden),
            ("::", Forbidden),
            ("255.255.255.255", Forbidden),
            ("224.0.0.1", Forbidden),
            ("127.0.0.1", Private),
            ("::1", Private),
            ("::ffff:10.0.0.1", Private),
            ("10.1.2.3", Private),
            ("172.16.0.1", Private),
            ("192.168.1.1", Private),
            ("100.64.0.1", Private),
            ("fd12:3456::1", Private),
            ("::7f00:1", Private),
            ("203.0.113.7", Public),
            ("8.8.8.8", Public),
            ("2001:db8::1", Public),
        ] {
            assert_eq!(reach(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn an_allowed_network_opens_itself_and_never_the_metadata_service() {
        let networks: Vec<IpNet> = ["10.0.0.0/8", "169.254.0.0/16"].map(|n| n.parse().unwrap()).to_vec();
        for (address, expected) in [
            ("10.9.9.9", true),
            ("::ffff:10.9.9.9", true),
            ("192.168.0.1", false),
            ("169.254.169.254", false),
        ] {
            assert_eq!(is_allowed(address.parse().unwrap(), &networks), expected, "{address}");
        }
    }
}
