//! Which cryptography TLS is made of: ring, in the whole process.

/// Chooses it, unless the program has chosen already.
pub(crate) fn choose_cryptography() {
    // It fails when somebody was first, and then it is theirs.
    drop(rustls::crypto::ring::default_provider().install_default());
}
