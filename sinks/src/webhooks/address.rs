//! Which addresses messages may go to. A merchant names the host, so without this rule an endpoint could reach into the
//! operator's network (server-side request forgery). The rule looks at the resolved address, at the moment of connecting.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// An address that messages may not go to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// It is inside the network.
    #[error("{0} is not a public address: the operator can allow its network in [webhooks] allowed_networks")]
    Private(IpAddr),
    /// Every address of the host is inside the network.
    #[error(
        "{0} resolves to no public address: the operator can allow its network in [webhooks] allowed_networks"
    )]
    Host(String),
    /// It is neither HTTPS nor to an allowed network.
    #[error("plain HTTP is refused: use https, or an address in [webhooks] allowed_networks")]
    PlainHttp,
    /// It is not a URL that can be posted to.
    #[error("{0} is not an http or https URL with a host")]
    NotHttp(String),
}

/// Public addresses, and the networks the operator allows beside them.
#[derive(Debug, Clone, Default)]
pub struct AddressRule {
    allowed: Vec<IpNet>,
}

impl AddressRule {
    /// With these networks allowed.
    pub fn new(allowed: &[IpNet]) -> Self {
        Self { allowed: allowed.to_vec() }
    }

    /// Whether an address may be connected to.
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.lists(address) || is_public(address)
    }

    fn lists(&self, address: IpAddr) -> bool {
        self.allowed.iter().any(|network| network.contains(&address))
    }

    /// Checks what can be told from the URL alone; host names are checked when they are resolved.
    pub fn check_url(&self, url: &Url) -> Result<(), Forbidden> {
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address).to_canonical()),
            Some(Host::Domain(_)) => None,
            None => return Err(Forbidden::NotHttp(url.to_string())),
        };
        match (url.scheme(), literal) {
            ("http" | "https", Some(address)) if !self.permits(address) => Err(Forbidden::Private(address)),
            ("https", _) => Ok(()),
            ("http", Some(address)) if self.lists(address) => Ok(()),
            ("http", _) => Err(Forbidden::PlainHttp),
            _ => Err(Forbidden::NotHttp(url.to_string())),
        }
    }
}

/// Neither private, shared, loopback, link-local, multicast, documentation nor reserved (IANA special-purpose
/// registries, RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b));
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    // Global unicast is 2000::/3; within it, documentation, 6to4, Teredo and other protocol assignments are special.
    let global = first & 0xe000 == 0x2000;
    let documentation = (first == 0x2001 && second == 0x0db8) || first == 0x3fff;
    let protocol = first == 0x2001 && second < 0x0200;
    global && !documentation && !protocol && first != 0x2002
}

/// Resolves host names and leaves out every address the rule forbids.
pub(super) struct GuardedResolver {
    pub(super) rule: AddressRule,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let rule = self.rule.clone();
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            let permitted: Vec<SocketAddr> = found.filter(|address| rule.permits(address.ip())).collect();
            if permitted.is_empty() {
                return Err(Box::new(Forbidden::Host(host)) as Box<dyn std::error::Error + Send + Sync>);
            }
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(allowed: &[&str], url: &str, expect: bool) {
        let allowed: Vec<IpNet> = allowed.iter().map(|network| network.parse().unwrap()).collect();
        let verdict = AddressRule::new(&allowed).check_url(&url.parse().unwrap());
        assert_eq!(verdict.is_ok(), expect, "{url} with {allowed:?}: {verdict:?}");
    }

    #[test]
    fn only_public_addresses_over_https_are_reachable_by_default() {
        check(&[], "https://example.com/hook", true);
        check(&[], "https://93.184.215.14/hook", true);
        check(&[], "http://example.com/hook", false);
        check(&[], "ftp://example.com/hook", false);
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "[::1]",
            "[::]",
            "[fe80::1]",
            "[fc00::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:10.0.0.1]",
            "[64:ff9b::a00:1]",
            "[2002:7f00:1::]",
            "[2001:db8::1]",
        ] {
            check(&[], &format!("https://{inside}/hook"), false);
        }
    }

    #[test]
    fn the_operator_can_allow_a_network_for_plain_http_too() {
        check(&["127.0.0.0/8"], "http://127.0.0.1:9000/hook", true);
        check(&["127.0.0.0/8"], "http://[::ffff:127.0.0.1]/hook", true);
        check(&["127.0.0.0/8"], "http://10.0.0.1/hook", false);
        check(&["127.0.0.0/8"], "http://93.184.215.14/hook", false);
    }
}
