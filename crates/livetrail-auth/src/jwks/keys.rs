//! The keys of an issuer (RFC 7517), each with the algorithms that it may be used with.

use aws_lc_rs::{
    rsa::PublicKeyComponents,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
        RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
        RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
        RsaParameters,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use livetrail_engine::UntrustedToken;
use serde::Deserialize;

/// The maximum number of keys in a set. Each may have to be tried for a token that names no key.
pub(crate) const MAX_KEYS: usize = 64;

/// The maximum length of a number in a key: 8,192 bits.
const MAX_NUMBER_BYTES: usize = 1_024;

/// An algorithm of a signature (RFC 7518 section 3.1, RFC 8037). Those with a shared secret, and
/// `none`, are not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            // RFC 9864 section 2.2 names the curve.
            "EdDSA" | "Ed25519" => Self::EdDsa,
            _ => return None,
        })
    }
}

/// The algorithms of RSA keys. A key that names one of them is used with that one alone.
const RSA: [(Algorithm, &RsaParameters); 6] = [
    (Algorithm::Rs256, &RSA_PKCS1_2048_8192_SHA256),
    (Algorithm::Rs384, &RSA_PKCS1_2048_8192_SHA384),
    (Algorithm::Rs512, &RSA_PKCS1_2048_8192_SHA512),
    (Algorithm::Ps256, &RSA_PSS_2048_8192_SHA256),
    (Algorithm::Ps384, &RSA_PSS_2048_8192_SHA384),
    (Algorithm::Ps512, &RSA_PSS_2048_8192_SHA512),
];

/// A key that verifies signatures.
struct Key {
    id: Option<String>,
    /// What it may be used with. A token cannot choose another algorithm.
    uses: Vec<(Algorithm, ParsedPublicKey)>,
}

/// A set of keys.
pub(crate) struct KeySet {
    keys: Vec<Key>,
    skipped: usize,
}

/// What a set says about a token's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// One of the keys has made it.
    Valid,
    /// It is wrong, or of an algorithm for which the key is not meant.
    Wrong,
    /// The set may lack the token's key.
    UnknownKey,
}

/// A set that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetError {
    #[error("not a set of keys (RFC 7517)")]
    NotASet,
    #[error("{0} keys; at most {MAX_KEYS} are allowed")]
    TooMany(usize),
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default, rename = "use")]
    purpose: Option<String>,
    #[serde(default)]
    key_ops: Option<Vec<String>>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
}

impl KeySet {
    /// Reads a set. Keys that are not for verifying, or are of a kind that is not known here, are
    /// skipped, so that an issuer may add others.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, SetError> {
        let document: Document = serde_json::from_slice(json).map_err(|_| SetError::NotASet)?;
        if document.keys.len() > MAX_KEYS {
            return Err(SetError::TooMany(document.keys.len()));
        }
        let all = document.keys.len();
        let keys = document.keys.into_iter();
        let keys: Vec<_> = keys
            // A list would be read as the fields in their order.
            .filter(serde_json::Value::is_object)
            .filter_map(|key| Key::of(serde_json::from_value(key).ok()?))
            .collect();
        Ok(Self {
            skipped: all.saturating_sub(keys.len()),
            keys,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// How many keys of the document are not used.
    pub(crate) fn skipped(&self) -> usize {
        self.skipped
    }

    pub(crate) fn check(&self, token: &UntrustedToken<'_>) -> Check {
        let Some(algorithm) = Algorithm::from_name(token.algorithm()) else {
            return Check::Wrong;
        };
        let id = token.key_id();
        let mut named = false;
        for key in &self.keys {
            if id.is_some() && key.id.as_deref() != id {
                continue;
            }
            named |= id.is_some();
            let public = key.uses.iter().find(|(of, _)| *of == algorithm);
            if public.is_some_and(|(_, public)| verifies(public, token)) {
                return Check::Valid;
            }
        }
        match named {
            true => Check::Wrong,
            false => Check::UnknownKey,
        }
    }
}

fn verifies(public: &ParsedPublicKey, token: &UntrustedToken<'_>) -> bool {
    let signed = token.signed().as_bytes();
    public.verify_sig(signed, token.signature()).is_ok()
}

impl Key {
    fn of(jwk: Jwk) -> Option<Self> {
        let is_for_signatures = jwk
            .purpose
            .as_deref()
            .is_none_or(|purpose| purpose == "sig");
        let ops = jwk.key_ops.as_deref();
        let verifies = ops.is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !is_for_signatures || !verifies {
            return None;
        }
        // A name that is not known here is not for one of these algorithms.
        let pinned = match &jwk.alg {
            Some(name) => Some(Algorithm::from_name(name)?),
            None => None,
        };
        let mut uses = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => rsa(&jwk, pinned)?,
            ("EC", Some("P-256")) => {
                let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point::<32>(&jwk)?);
                vec![(Algorithm::Es256, key.ok()?)]
            }
            ("EC", Some("P-384")) => {
                let key = ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point::<48>(&jwk)?);
                vec![(Algorithm::Es384, key.ok()?)]
            }
            ("OKP", Some("Ed25519")) => {
                let key = ParsedPublicKey::new(&ED25519, number::<32>(jwk.x.as_deref())?);
                vec![(Algorithm::EdDsa, key.ok()?)]
            }
            _ => return None,
        };
        uses.retain(|(algorithm, _)| pinned.is_none_or(|pinned| pinned == *algorithm));
        (!uses.is_empty()).then_some(Self { id: jwk.kid, uses })
    }
}

fn rsa(jwk: &Jwk, pinned: Option<Algorithm>) -> Option<Vec<(Algorithm, ParsedPublicKey)>> {
    let parts = PublicKeyComponents {
        n: bytes(jwk.n.as_deref())?,
        e: bytes(jwk.e.as_deref())?,
    };
    let wanted = RSA
        .iter()
        .filter(|(algorithm, _)| pinned.is_none_or(|pinned| pinned == *algorithm));
    wanted
        .map(|(algorithm, parameters)| {
            let key = parts.to_parsed_public_key(parameters).ok()?;
            Some((*algorithm, key))
        })
        .collect()
}

/// A point of an elliptic curve, not compressed (SEC 1 section 2.3.3).
fn point<const N: usize>(jwk: &Jwk) -> Option<Vec<u8>> {
    let (x, y) = (
        number::<N>(jwk.x.as_deref())?,
        number::<N>(jwk.y.as_deref())?,
    );
    Some([&[4][..], &x, &y].concat())
}

/// A number of this many bytes.
fn number<const N: usize>(text: Option<&str>) -> Option<[u8; N]> {
    bytes(text)?.try_into().ok()
}

fn bytes(text: Option<&str>) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text?).ok()?;
    (1..=MAX_NUMBER_BYTES)
        .contains(&bytes.len())
        .then_some(bytes)
}
