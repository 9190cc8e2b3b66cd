//! Where a webhook endpoint may be, as far as its address alone says. A host name is checked again by the sink on the
//! address it resolves to, each time it connects.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use url::{Host, Url};

/// Characters of the longest address.
const MAX_CHARS: usize = 2_048;
/// What is reserved in IPv4 (IANA IPv4 Special-Purpose Address Registry), beside what the standard library names.
const RESERVED_V4: [([u8; 4], u8); 6] = [
    ([0, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([192, 0, 0, 0], 24),
    ([192, 88, 99, 0], 24),
    ([198, 18, 0, 0], 15),
    ([240, 0, 0, 0], 4),
];
/// What is not in the global unicast space of IPv6, or embeds an IPv4 address that could be inside: (first segments, bits).
const RESERVED_V6: [(u128, u32); 5] = [
    (0x2001_0db8 << 96, 32),
    (0x2001_0000 << 96, 23),
    (0x2002 << 112, 16),
    (0x3fff << 112, 20),
    (0x5f00 << 112, 16),
];

/// Checks an endpoint's address. The error is what is wrong and what to do.
pub(crate) fn check(text: &str, allowed: &[IpNet]) -> Result<Url, String> {
    if text.chars().count() > MAX_CHARS {
        return Err(format!("longer than {MAX_CHARS} characters: use a shorter address"));
    }
    let url = Url::parse(text)
        .map_err(|error| format!("not an address: {error}; use for example `https://example.com/hook`"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user or password in it: leave them out, deliveries are signed".to_owned());
    }
    if url.fragment().is_some() {
        return Err("has a fragment (`#…`): leave it out".to_owned());
    }
    let literal = literal(&url)?;
    let is_allowed = literal.is_some_and(|address| allowed.iter().any(|network| network.contains(&address)));
    let remedy = "or have the operator list its network in `[webhooks] allowed_networks`";
    match url.scheme() {
        "https" | "http" if is_allowed => Ok(url),
        "https" if literal.is_some_and(is_inside) => {
            Err(format!("the address is not on the public internet: use one that is, {remedy}"))
        }
        "https" => Ok(url),
        "http" => Err(format!("plain http: use https, {remedy} and use the address itself")),
        scheme => Err(format!("the scheme is `{scheme}`: use https")),
    }
}

/// The address, where the host is one. `localhost` is 127.0.0.1 (RFC 6761, section 6.3).
fn literal(url: &Url) -> Result<Option<IpAddr>, String> {
    match url.host() {
        Some(Host::Ipv4(address)) => Ok(Some(address.into())),
        Some(Host::Ipv6(address)) => Ok(Some(IpAddr::V6(address).to_canonical())),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            let is_localhost = name == "localhost" || name.ends_with(".localhost");
            Ok(is_localhost.then_some(IpAddr::V4(Ipv4Addr::LOCALHOST)))
        }
        None => Err("has no host: use for example `https://example.com/hook`".to_owned()),
    }
}

/// Whether an address is anything but one of the public internet.
fn is_inside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_inside_v4(v4),
        IpAddr::V6(v6) => is_inside_v6(v6),
    }
}

fn is_inside_v4(v4: Ipv4Addr) -> bool {
    let reserved = |(network, bits): &([u8; 4], u8)| {
        let shift = 32 - u32::from(*bits);
        v4.to_bits() >> shift == u32::from_be_bytes(*network) >> shift
    };
    v4.is_private()
        || v4.is_loopback()
        || v4.is_link_local()
        || v4.is_multicast()
        || v4.is_documentation()
        || RESERVED_V4.iter().any(reserved)
}

fn is_inside_v6(v6: Ipv6Addr) -> bool {
    // Only 2000::/3 is global unicast; loopback, link-local, unique-local, multicast and NAT64 lie outside it.
    let is_global_unicast = v6.to_bits() >> 125 == 1;
    let reserved = |(network, bits): &(u128, u32)| v6.to_bits() >> (128 - bits) == network >> (128 - bits);
    !is_global_unicast || RESERVED_V6.iter().any(reserved)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, allowed: &[&str]) -> Option<String> {
        let allowed: Vec<IpNet> = allowed.iter().map(|network| network.parse().unwrap()).collect();
        check(text, &allowed).err()
    }

    #[test]
    fn public_https_is_fine_and_everything_inside_is_not() {
        for good in [
            "https://example.com/hook?a=1",
            "https://example.com:8443/",
            "https://8.8.8.8/",
            "https://[2606:4700::1]/",
        ] {
            assert_eq!(refused(good, &[]), None, "{good}");
        }
        let inside = [
            "https://127.0.0.1/",
            "https://localhost/",
            "https://a.localhost/",
            "https://10.1.2.3/",
            "https://192.168.1.1/",
            "https://172.16.0.1/",
            "https://169.254.169.254/",
            "https://100.64.0.1/",
            "https://0.0.0.0/",
            "https://[::1]/",
            "https://[fe80::1]/",
            "https://[fd00::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://[64:ff9b::a00:1]/",
            "https://[2002:a00:1::]/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://224.0.0.1/",
            "https://255.255.255.255/",
        ];
        for bad in inside {
            assert!(refused(bad, &[]).is_some_and(|why| why.contains("allowed_networks")), "{bad}");
        }
    }

    #[test]
    fn plain_http_and_inside_addresses_need_the_operators_list() {
        assert!(refused("http://example.com/", &["127.0.0.0/8"]).is_some());
        assert!(refused("http://127.0.0.1:9/", &["10.0.0.0/8"]).is_some());
        for good in
            ["http://127.0.0.1:9/", "https://127.0.0.1/", "http://localhost:9/", "http://[::ffff:127.0.0.1]/"]
        {
            assert_eq!(refused(good, &["127.0.0.0/8"]), None, "{good}");
        }
    }

    #[test]
    fn credentials_fragments_and_other_schemes_are_refused() {
        for bad in [
            "https://u:p@example.com/",
            "https://u@example.com/",
            "https://example.com/#x",
            "ftp://example.com/",
            "x",
            "https://",
            "mailto:a@b",
        ] {
            assert!(refused(bad, &["0.0.0.0/0"]).is_some(), "{bad}");
        }
        assert!(refused(&format!("https://example.com/{}", "x".repeat(2_048)), &[]).is_some());
    }
}
