//! Whatever bytes a browser or an agent sends, reading them ends, without a panic: `cargo fuzz run upgrade` in proxy/core.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meridian_proxy_core::{Credential, RequestHost, Upgrade, parse_request, parse_response};

fuzz_target!(|bytes: &[u8]| {
    let _ = parse_response(bytes);
    if let Ok(Some(head)) = parse_request(bytes) {
        assert!(head.length <= bytes.len());
        let _ = RequestHost::read(head.message.headers());
        if let Ok(upgrade) = Upgrade::read(&head.message, "desktop") {
            let (Credential::Ticket(token) | Credential::Pass(token)) = &upgrade.credential;
            assert!(!token.contains([',', ' ', '\r', '\n']));
        }
    }
});
