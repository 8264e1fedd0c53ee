//! Certificates, keys and signing requests.

use pairgate_identity::{Credentials, PeerCertificate};
use pairgate_registry::authority::{Authority, RequestedKey};

pub(crate) fn signing_request(data: &[u8]) {
    if let Ok(key) = RequestedKey::from_signing_request(data) {
        assert!(!key.is(&[]), "it has no key");
        // Whoever can sign a request can do so again; with any bit flipped this one must be refused, or it proves nothing.
        let mut forged = data.to_vec();
        if let Some(last) = forged.last_mut() {
            *last ^= 1;
            assert!(
                RequestedKey::from_signing_request(&forged).is_err(),
                "an altered request is taken"
            );
        }
    }
}

pub(crate) fn certificate(data: &[u8]) {
    if let Ok(facts) = PeerCertificate::from_der(data) {
        let text = facts.identity.to_string();
        assert_eq!(text.parse(), Ok(facts.identity));
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let _ = Authority::from_pem(text, text);
    let _ = Credentials::from_pem(text, text, text);
}
