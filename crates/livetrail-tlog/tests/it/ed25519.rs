//! Ed25519 against external constants: RFC 8032 §7.1, notes signed with Go's `note` package, and a
//! signature that lenient verifiers accept. All were checked with OpenSSL.

use livetrail_tlog::{
    Ed25519Signer, Ed25519Verifier, Error, KeyName, Note, Signer, Verifier, VerifierKey,
};

use crate::support::{hex, log_verifier};

#[test]
fn rfc_8032_tests_1_and_2() {
    for (seed, public, message, signature) in [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "r",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
    ] {
        let name = KeyName::new("rfc8032").unwrap();
        let signer = Ed25519Signer::from_seed(name, &hex(seed).try_into().unwrap());
        assert_eq!(signer.verifier_key().public_key(), hex(public));
        assert_eq!(signer.sign(message).unwrap(), hex(signature));
        let verifier = Ed25519Verifier::new(&signer.verifier_key()).unwrap();
        assert_eq!(verifier.verify(message, &hex(signature)), Ok(None));
    }
}

#[test]
fn a_note_with_two_signatures_made_by_go() {
    let key = |text: &str| {
        let key: VerifierKey = text.parse().unwrap();
        assert_eq!(key.to_string(), text);
        Ed25519Verifier::new(&key).unwrap()
    };
    let peter = key("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
    let enoch = key("EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop");
    let note = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\
        \n\
        — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n\
        — EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";
    let parsed = Note::parse(note.as_bytes()).unwrap();
    assert_eq!(parsed.encode(), note);
    assert_eq!(parsed.verify(&[&peter, &enoch]).unwrap().len(), 2);
    assert_eq!(parsed.verify(&[&enoch]).unwrap().len(), 1);
    assert_eq!(
        parsed.verify(&[&log_verifier()]),
        Err(Error::NoVerifiedSignature)
    );
}

#[test]
fn a_signature_whose_r_is_of_small_order_is_refused() {
    // R is the neutral element and S = k·a, so S·B = R + k·A holds: OpenSSL accepts it.
    let signature = hex(
        "01000000000000000000000000000000000000000000000000000000000000009a9d4d6ba8cbbffd7527f783948c57738a4b96e033683cec566a822ebb88360a",
    );
    assert!(matches!(
        log_verifier().verify("text\n", &signature),
        Err(Error::SignatureInvalid { .. })
    ));
}
