//! Variables that Kubernetes sets in every pod for each service of its namespace. A service called `my-app`
//! causes `MY_APP_PORT=tcp://10.0.0.1:80`, `MY_APP_SERVICE_HOST` and others, which look like settings of this
//! program.

const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

/// Whether Kubernetes has set the variable.
pub(super) fn is_link(name: &str, value: &str) -> bool {
    let address = PROTOCOLS.iter().any(|protocol| {
        let rest = value.trim().strip_prefix(&protocol.to_ascii_lowercase());
        rest.is_some_and(|rest| rest.starts_with("://"))
    });
    let service =
        name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_");
    service || (name.ends_with("_PORT") && address) || is_of_port(name)
}

/// Whether the name is `…_PORT_80_TCP`, or the same with `_PROTO`, `_PORT` or `_ADDR`.
fn is_of_port(name: &str) -> bool {
    let name = ["_PROTO", "_PORT", "_ADDR"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    let Some((rest, protocol)) = name.rsplit_once('_') else { return false };
    let Some((service, port)) = rest.rsplit_once('_') else { return false };
    PROTOCOLS.contains(&protocol) && service.ends_with("_PORT") && port.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_settings_are_distinguished() {
        for (name, value) in [
            ("MY_APP_PORT", "tcp://10.96.0.1:80"),
            ("TOKEND_PORT", "udp://10.96.0.1:80"),
            ("TOKEND_SERVICE_HOST", "10.96.0.1"),
            ("TOKEND_SERVICE_PORT", "8000"),
            ("TOKEND_SERVICE_PORT_HTTPS", "8000"),
            ("TOKEND_PORT_8000_TCP", "tcp://10.96.0.1:8000"),
            ("TOKEND_PORT_8000_TCP_PROTO", "tcp"),
            ("TOKEND_PORT_8000_TCP_PORT", "8000"),
            ("TOKEND_PORT_8000_TCP_ADDR", "10.96.0.1"),
            ("TOKEND_OTHER_PORT_53_UDP", "udp://10.96.0.1:53"),
        ] {
            assert!(is_link(name, value), "{name}");
        }
        for (name, value) in [
            ("MY_APP_PORT", "8000"),
            ("MY_APP_PORT", "tcp"),
            ("MY_APP_PROT", "tcp://10.96.0.1:80"),
            ("TOKEND_TLS_KEY", "/tcp/key"),
            ("TOKEND_PORT_X_TCP", "1"),
            ("TOKEND_BIND", "tcp://10.96.0.1"),
        ] {
            assert!(!is_link(name, value), "{name}");
        }
    }
}
