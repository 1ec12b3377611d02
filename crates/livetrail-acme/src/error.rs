//! Why there is no new certificate.

use std::{io, path::PathBuf};

use livetrail_tls::CertificateError;

/// Why there is no new certificate. The one before, if any, is still served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcmeError {
    /// The authority's address is not one.
    #[error("expected the address of a directory, such as https://acme.example/directory")]
    Directory,
    /// There are no names, or too many.
    #[error("expected 1 to {limit} names")]
    Names {
        /// The most names of a certificate.
        limit: usize,
    },
    /// It is not the name of a host. Wildcards and addresses cannot be proven.
    #[error("`{name}` is not a host name; wildcards and addresses are not supported")]
    Name {
        /// The name.
        name: String,
    },
    /// It is not an address of mail.
    #[error("expected an address of mail")]
    Contact,
    /// A file cannot be read, written or parsed.
    #[error("{}: {error}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        #[source]
        error: io::Error,
    },
    /// Others may read the folder with the keys.
    #[error("{}: others than its owner have access; expected mode 0700", path.display())]
    Permissions {
        /// The folder.
        path: PathBuf,
    },
    /// The authorities for the directory cannot be used.
    #[error("{}: has no certificate of an authority", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
    },
    /// There are no authorities for the directory.
    #[error("this system has no certificate authorities; name a file with them")]
    NoAuthorities,
    /// The authority cannot be reached, or refuses.
    #[error("the authority: {0}")]
    Authority(#[from] instant_acme::Error),
    /// The authority does not offer the proof that this server can give.
    #[error("the authority offers no tls-alpn-01 for `{name}`")]
    NoChallenge {
        /// The name.
        name: String,
    },
    /// The authority did not accept a proof.
    #[error("the authority did not accept the proof of a name: {detail}")]
    Refused {
        /// What the authority says.
        detail: String,
    },
    /// The certificate for a proof cannot be made.
    #[error("cannot make a certificate: {0}")]
    Made(#[from] rcgen::Error),
    /// A key cannot be used.
    #[error(transparent)]
    Tls(#[from] livetrail_tls::Error),
    /// What the authority has issued cannot be served.
    #[error("what the authority has issued cannot be served: {0}")]
    Unusable(#[from] CertificateError),
    /// The certificate is not for the names that were ordered.
    #[error("the authority has issued a certificate for other names")]
    OtherNames,
    /// The order took too long.
    #[error("the order took longer than {seconds} s")]
    Late {
        /// The limit.
        seconds: u64,
    },
}
