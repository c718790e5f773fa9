//! Which addresses are never sent to, checked after the name was resolved.

use std::net::{IpAddr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::domain::address::{Reach, reach};

/// The product's name or address leads to a place that no product is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the product's address {0} is not one to send to")]
pub struct Forbidden(pub IpAddr);

/// The name has no address.
#[derive(Debug, thiserror::Error)]
#[error("the name could not be resolved")]
pub struct Unresolved(#[source] std::io::Error);

/// Resolves as the system does and refuses a name if any of its addresses is forbidden.
#[derive(Debug, Clone, Copy)]
pub struct Guarded;

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(Unresolved)?;
            let addresses: Vec<SocketAddr> = found.collect();
            match addresses.iter().find(|address| is_forbidden(address.ip())) {
                Some(address) => Err(Forbidden(address.ip()).into()),
                None => Ok(Box::new(addresses.into_iter()) as Addrs),
            }
        })
    }
}

/// An address written as digits is resolved by nobody.
pub fn literal(url: &url::Url) -> Result<(), Forbidden> {
    let ip = match url.host() {
        Some(url::Host::Ipv4(v4)) => IpAddr::V4(v4),
        Some(url::Host::Ipv6(v6)) => IpAddr::V6(v6),
        Some(url::Host::Domain(_)) | None => return Ok(()),
    };
    if is_forbidden(ip) { Err(Forbidden(ip)) } else { Ok(()) }
}

/// Private and loopback addresses are fine: the operator configures them, nobody else can.
fn is_forbidden(ip: IpAddr) -> bool {
    reach(ip) == Reach::Forbidden
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_and_non_hosts_are_forbidden() {
        for (address, forbidden) in [
            ("169.254.169.254", true),
            ("::ffff:169.254.169.254", true),
            ("64:ff9b::a9fe:a9fe", true),
            ("168.63.129.16", true),
            ("100.100.100.200", true),
            ("fd00:ec2::254", true),
            ("fd20:ce::254", true),
            ("fe80::1", true),
            ("0.0.0.0", true),
            ("0.1.2.3", true),
            ("224.0.0.1", true),
            ("127.0.0.1", false),
            ("10.1.2.3", false),
            ("203.0.113.7", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_forbidden(address.parse().unwrap()), forbidden, "{address}");
        }
    }

    #[test]
    fn digits_of_any_spelling_are_judged() {
        for url in
            ["http://169.254.169.254/", "http://0xa9fea9fe/", "http://2852039166/", "http://[fe80::1]/"]
        {
            assert!(literal(&url.parse().unwrap()).is_err(), "{url}");
        }
        for url in ["http://127.0.0.1:3000/", "https://app.example.com/"] {
            assert_eq!(literal(&url.parse().unwrap()), Ok(()), "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_is_judged_by_its_addresses() {
        let found = Guarded.resolve("localhost".parse().unwrap()).await.map(Iterator::count);
        assert!(found.is_ok_and(|count| count > 0));
        let refused = Guarded.resolve("0.0.0.0".parse().unwrap()).await.map(|_| ()).unwrap_err();
        assert_eq!(refused.downcast_ref::<Forbidden>(), Some(&Forbidden("0.0.0.0".parse().unwrap())));
    }
}
