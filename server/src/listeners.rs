//! Ports, and the addresses that are told to others.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;

use crate::error::ServerError;

/// A bound port and where it really is.
pub(crate) struct Bound {
    pub(crate) listener: TcpListener,
    pub(crate) address: SocketAddr,
}

/// Takes a port before anything on disk is touched.
pub(crate) async fn bind(address: &str) -> Result<Bound, ServerError> {
    let failed = |cause| ServerError::Listen { address: address.to_owned(), cause };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Bound { listener, address })
}

/// The address that other nodes are told.
pub(crate) fn advertised(bound: SocketAddr, wish: Option<&str>) -> Result<String, ServerError> {
    match wish {
        Some(wish) if has_port(wish) => Ok(wish.to_owned()),
        Some("") => Err(ServerError::Advertise("\"\"".to_owned())),
        Some(host) => Ok(format!("{host}:{}", bound.port())),
        None if bound.ip().is_unspecified() => Err(ServerError::Advertise(bound.to_string())),
        None => Ok(bound.to_string()),
    }
}

fn has_port(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']')))
}

/// A whole line on stdout; who started the process waits for it.
pub(crate) fn say_ready(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody has to listen.
    _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// How to connect to where clients are served.
pub(crate) fn psql(bound: SocketAddr) -> String {
    let host = match bound.ip() {
        ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    format!("psql -h {host} -p {} -U postgres", bound.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_are_told() {
        let bound: SocketAddr = "10.0.0.1:7401".parse().unwrap();
        let everywhere: SocketAddr = "0.0.0.0:7401".parse().unwrap();
        assert_eq!(advertised(bound, None).unwrap(), "10.0.0.1:7401");
        assert!(advertised(everywhere, None).is_err());
        assert_eq!(advertised(everywhere, Some("worker1")).unwrap(), "worker1:7401");
        assert_eq!(advertised(everywhere, Some("worker1:1")).unwrap(), "worker1:1");
        assert_eq!(advertised(everywhere, Some("[::1]:1")).unwrap(), "[::1]:1");
        assert_eq!(advertised(everywhere, Some("[::1]")).unwrap(), "[::1]:7401");
        assert_eq!(psql(everywhere), "psql -h 127.0.0.1 -p 7401 -U postgres");
    }
}
