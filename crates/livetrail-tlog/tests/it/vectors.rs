//! Every one of the test vectors.

use std::fmt::Write as _;

use livetrail_tlog::{
    AddCheckpoint, Bundle, Checkpoint, CosignatureSigner, Ed25519Signer, Error, Hash, KeyId,
    KeyName, KeyType, Note, NoteSignature, ProofFile, Signer, TileTree, TreeHead, Verifier,
    VerifierKey, consistency_proof, cosignature_message, encode_bundle, inclusion_proof, leaf_hash,
    node_hash, parse_bundle, tree_root,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::{
    ORIGIN, entry, files, hash, hashes, hex, leaves, log_only, log_signer, text, vectors,
    with_witness, witness, witness_verifier,
};

fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        })
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().unwrap().iter()
}

#[test]
fn keys() {
    let keys = &vectors()["keys"];
    let log = log_signer();
    assert_eq!(log.verifier_key().to_string(), text(&keys["log_vkey"]));
    assert_eq!(log.to_text().as_str(), text(&keys["log_skey_go"]));
    assert_eq!(log.key_id().to_string(), text(&keys["log_keyid"]));
    let parsed = Ed25519Signer::parse(text(&keys["log_skey_go"])).unwrap();
    assert_eq!(parsed.verifier_key(), log.verifier_key());
    let key: VerifierKey = text(&keys["log_vkey"]).parse().unwrap();
    assert_eq!(key.public_key(), hex(text(&keys["log_pub"])));
    assert_eq!(
        witness().verifier_key().to_string(),
        text(&keys["wit_vkey"])
    );
    assert_eq!(
        witness().verifier_key().id().to_string(),
        text(&keys["wit_keyid"])
    );
    let again = CosignatureSigner::parse(&witness().to_text()).unwrap();
    assert_eq!(again.verifier_key(), witness().verifier_key());
}

#[test]
fn a_tiny_tree_and_its_files() {
    let tiny = &vectors()["tiny"];
    let leaves = leaves(3);
    assert_eq!(leaves, hashes(&tiny["leaf_hashes"]));
    assert_eq!(node_hash(&leaves[0], &leaves[1]), hash(&tiny["n01"]));
    for (size, root) in members(&tiny["roots"]) {
        let size: usize = size.parse().unwrap();
        assert_eq!(tree_root(&leaves[..size]), hash(root), "size {size}");
    }
    assert_eq!(tree_root(&leaves).to_string(), text(&tiny["root_b64"]));
    let (files, builder) = files(3);
    for (path, contents) in members(&tiny["files"]) {
        assert_eq!(files.0[path], hex(text(contents)), "{path}");
    }
    assert_eq!(
        inclusion_proof(&leaves, 1).unwrap(),
        hashes(&tiny["inclusion_1_of_3"])
    );
    assert_eq!(
        consistency_proof(&leaves, 2).unwrap(),
        hashes(&tiny["consistency_2_3"])
    );
    let tree = TileTree::new(&files, builder.head());
    let (leaf, proof) = tree.inclusion_proof(1).unwrap();
    assert_eq!(
        (leaf, proof),
        (leaves[1], hashes(&tiny["inclusion_1_of_3"]))
    );
    let (old, proof) = tree.consistency_proof(2).unwrap();
    assert_eq!(old.root, hash(&tiny["roots"]["2"]));
    assert_eq!(proof, hashes(&tiny["consistency_2_3"]));
}

#[test]
fn checkpoints_are_signed_and_cosigned_to_the_byte() {
    let vectors = vectors();
    let tiny = &vectors["tiny"];
    let empty = Checkpoint::new(ORIGIN, TreeHead::EMPTY).unwrap();
    let signed = Note::sign(empty.encode(), &[&log_signer()]).unwrap();
    assert_eq!(signed.encode(), text(&tiny["checkpoint_size0"]));

    let (_, builder) = files(3);
    let checkpoint = Checkpoint::new(ORIGIN, builder.head()).unwrap();
    assert_eq!(
        checkpoint.encode().as_bytes(),
        hex(text(&tiny["checkpoint_text_hex"]))
    );
    let time = vectors["keys"]["cosig_time"].as_u64().unwrap();
    assert_eq!(
        cosignature_message(time, &checkpoint.encode()).unwrap(),
        hex(text(&tiny["cosignature_signed_message_hex"]))
    );
    let witness = witness();
    let note = Note::sign(checkpoint.encode(), &[&log_signer(), &witness.at(time)]).unwrap();
    assert_eq!(note.encode(), text(&tiny["checkpoint"]));
    assert_eq!(
        note.encode().len() as u64,
        tiny["checkpoint_file_len"].as_u64().unwrap()
    );
    assert_eq!(
        sha256_hex(note.encode().as_bytes()),
        text(&tiny["checkpoint_file_sha256"])
    );
    assert_eq!(
        sha256_hex(ORIGIN.as_bytes()),
        text(&tiny["witness_origin_hash"])
    );

    let verified = with_witness()
        .with_quorum(1)
        .verify(note.encode().as_bytes())
        .unwrap();
    assert_eq!(verified.head(), builder.head());
    assert_eq!(verified.log_signatures().len(), 1);
    assert_eq!(verified.cosignatures()[0].timestamp_s, Some(time));
    assert_eq!(
        with_witness().with_quorum(2).verify_note(note),
        Err(Error::Quorum {
            wanted: 2,
            found: 1
        })
    );
}

#[test]
fn a_proof_file_to_the_byte() {
    let tiny = &vectors()["tiny"];
    let note = Note::parse(text(&tiny["checkpoint"]).as_bytes()).unwrap();
    let file = ProofFile::new(1, hashes(&tiny["inclusion_1_of_3"]), note).unwrap();
    assert_eq!(file.encode(), text(&tiny["tlog_proof_index1"]));
    assert_eq!(
        sha256_hex(file.encode().as_bytes()),
        text(&tiny["tlog_proof_sha256"])
    );
    let read = ProofFile::parse(file.encode().as_bytes()).unwrap();
    assert_eq!(read, file);
    let verified = read
        .verify(&leaf_hash(b"entry-1"), &with_witness())
        .unwrap();
    assert_eq!(verified.head().size, 3);
    assert_eq!(
        read.verify(&leaf_hash(b"entry-2"), &with_witness()),
        Err(Error::InclusionRoot { index: 1, size: 3 })
    );
}

#[test]
fn a_witness_takes_the_request_and_its_answer_completes_the_checkpoint() {
    let tiny = &vectors()["tiny"];
    let body = text(&tiny["add_checkpoint_body_old2"]);
    let request = AddCheckpoint::parse(body.as_bytes()).unwrap();
    assert_eq!(request.encode(), body);
    let verified = log_only()
        .verify_note(request.checkpoint().clone())
        .unwrap();
    let old = TreeHead {
        size: request.old_size(),
        root: hash(&tiny["roots"]["2"]),
    };
    verified
        .head()
        .verify_consistency(&old, request.proof())
        .unwrap();

    let cosigned = Note::parse(text(&tiny["checkpoint"]).as_bytes()).unwrap();
    let mut note = request.checkpoint().clone();
    let lines = vec![cosigned.signatures()[1].clone()];
    let added = note.add_verified(lines, &[&witness_verifier()]).unwrap();
    assert_eq!(added[0].timestamp_s, Some(1_700_000_000));
    assert_eq!(note.encode(), text(&tiny["checkpoint"]));
}

#[test]
fn limits() {
    let limits = &vectors()["limits"];
    let longest = vec![b'A'; 65_535];
    assert_eq!(
        livetrail_tlog::MAX_ENTRY_BYTES as u64,
        limits["max_entry_len"].as_u64().unwrap()
    );
    assert_eq!(leaf_hash(&longest), hash(&limits["leaf_hash_65535_A"]));
    let bundle = encode_bundle(&[&longest]).unwrap();
    assert_eq!(
        sha256_hex(&bundle),
        text(&limits["bundle_one_65535_A_sha256"])
    );
    let one = Bundle::new(0, 1).unwrap();
    assert_eq!(parse_bundle(one, &bundle).unwrap(), [longest]);
    assert_eq!(leaf_hash(b""), hash(&limits["empty_entry_leaf"]));
    assert_eq!(
        encode_bundle(&[b""]).unwrap(),
        hex(text(&limits["empty_entry_bundle"]))
    );
    for (index, path) in members(&limits["path_examples"]) {
        let bundle = Bundle::new(index.parse().unwrap(), 256).unwrap();
        assert_eq!(
            bundle.to_string(),
            format!("tile/entries/{}", text(path)),
            "{index}"
        );
    }
}

#[test]
fn rule_a() {
    let rule = &vectors()["rule_A"];
    let leaves = leaves(70_000);
    for (size, root) in members(&rule["roots"]) {
        let size: usize = size.parse().unwrap();
        assert_eq!(tree_root(&leaves[..size]), hash(root), "size {size}");
    }
    for (name, wanted) in members(&rule["inclusion"]) {
        let (index, size) = name.split_once('/').unwrap();
        let tree = &leaves[..size.parse::<usize>().unwrap()];
        let proof = inclusion_proof(tree, index.parse().unwrap()).unwrap();
        assert_proof(&proof, wanted, name);
    }
    for (name, wanted) in members(&rule["consistency"]) {
        let (old_size, size) = name.split_once('-').unwrap();
        let tree = &leaves[..size.parse::<usize>().unwrap()];
        let proof = consistency_proof(tree, old_size.parse().unwrap()).unwrap();
        assert_proof(&proof, wanted, name);
    }
    for (size, wanted) in members(&rule["manifests"]) {
        let (files, _) = files(size.parse().unwrap());
        let manifest: String = files
            .0
            .iter()
            .map(|(path, contents)| format!("{path} {} {}\n", contents.len(), sha256_hex(contents)))
            .collect();
        assert_eq!(
            sha256_hex(manifest.as_bytes()),
            text(wanted),
            "size {size}: {manifest}"
        );
    }
}

fn assert_proof(proof: &[Hash], wanted: &Value, name: &str) {
    assert_eq!(
        proof.len() as u64,
        wanted["len"].as_u64().unwrap(),
        "{name}"
    );
    let bytes: Vec<u8> = proof.iter().flat_map(|hash| *hash.as_bytes()).collect();
    assert_eq!(
        sha256_hex(&bytes),
        text(&wanted["sha256_of_concat"]),
        "{name}"
    );
    if let (Some(first), Some(last)) = (proof.first(), proof.last()) {
        assert_eq!(*first, hash(&wanted["first"]), "{name}");
        assert_eq!(*last, hash(&wanted["last"]), "{name}");
    }
}

#[test]
fn what_must_be_refused_is_refused_for_its_own_reason() {
    let vectors = vectors();
    let mut reasons: Vec<_> = members(&vectors["checkpoint_must_reject"])
        .map(|(name, note)| {
            let error = log_only().verify(text(note).as_bytes()).unwrap_err();
            (name.as_str(), error)
        })
        .collect();
    reasons.sort_by_key(|(name, _)| *name);
    let decimal = |text: &str| Error::Decimal {
        text: text.to_owned(),
    };
    assert_eq!(
        reasons,
        [
            ("crlf", Error::ControlCharacter { offset: 17 }),
            ("no_blank_line", Error::NoteSeparator),
            ("no_final_newline", Error::NoteEnd),
            ("root_31_bytes", Error::HashLength { bytes: 31 }),
            ("root_unpadded_b64", Error::Base64),
            ("root_urlsafe_b64", Error::Base64),
            ("size_leading_zero", decimal("03")),
            ("size_negative", decimal("-3")),
            ("size_plus", decimal("+3")),
            ("tab_in_text", Error::ControlCharacter { offset: 17 }),
        ]
    );
}

#[test]
fn what_must_be_accepted_is_accepted() {
    let vectors = vectors();
    for (name, note) in members(&vectors["checkpoint_must_accept"]) {
        let verified = log_only().verify(text(note).as_bytes());
        let verified = verified.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(verified.head().size, 3, "{name}");
        assert_eq!(verified.note().encode(), text(note), "{name}");
    }
}

#[test]
fn the_origin_is_checked_after_the_signature() {
    let tiny = &vectors()["tiny"];
    let note = text(&tiny["checkpoint"]);
    let other = livetrail_tlog::CheckpointVerifier::new(
        "example.com/other",
        crate::support::log_verifier(),
    );
    assert_eq!(
        other.verify(note.as_bytes()),
        Err(Error::OriginMismatch {
            wanted: "example.com/other".to_owned(),
            found: ORIGIN.to_owned()
        })
    );
    let forged = note.replacen("example.com/audit\n3", "example.com/audit\n4", 1);
    assert!(matches!(
        other.verify(forged.as_bytes()),
        Err(Error::SignatureInvalid { .. })
    ));
}

#[test]
fn a_cosigner_does_not_stand_for_the_log() {
    let head = files(3).1.head();
    let text = Checkpoint::new(ORIGIN, head).unwrap().encode();
    let note = Note::sign(text, &[&witness().at(5)]).unwrap();
    assert_eq!(
        with_witness().verify_note(note.clone()),
        Err(Error::NoLogSignature)
    );
    assert_eq!(
        log_only().verify_note(note),
        Err(Error::NoVerifiedSignature)
    );
}

#[test]
fn the_logs_own_cosignature_is_neither_its_signature_nor_a_witness() {
    let head = files(3).1.head();
    let text = Checkpoint::new(ORIGIN, head).unwrap().encode();
    let own = || log_only().with_log_cosigner(witness_verifier());
    let note = Note::sign(text.as_str(), &[&log_signer(), &witness().at(5)]).unwrap();
    let verified = own().verify_note(note.clone()).unwrap();
    assert_eq!(verified.log_cosignatures()[0].timestamp_s, Some(5));
    assert!(verified.cosignatures().is_empty());
    let found = 0;
    assert_eq!(
        own().with_quorum(1).verify_note(note),
        Err(Error::Quorum { wanted: 1, found })
    );
    let alone = Note::sign(text, &[&witness().at(5)]).unwrap();
    assert_eq!(own().verify_note(alone), Err(Error::NoLogSignature));
}

#[test]
fn after_a_rotation_either_key_of_the_log_is_enough() {
    let text = Checkpoint::new(ORIGIN, files(3).1.head()).unwrap().encode();
    let next = Ed25519Signer::from_seed(ORIGIN.parse().unwrap(), &[9; 32]);
    let next_key = || livetrail_tlog::Ed25519Verifier::new(&next.verifier_key()).unwrap();
    for signers in [
        vec![&log_signer() as &dyn Signer],
        vec![&next],
        vec![&log_signer(), &next],
    ] {
        let note = Note::sign(text.as_str(), &signers).unwrap();
        let verified = log_only().with_log_key(next_key()).verify_note(note);
        assert_eq!(verified.unwrap().log_signatures().len(), signers.len());
    }
    let note = Note::sign(text, &[&next]).unwrap();
    assert_eq!(
        log_only().verify_note(note),
        Err(Error::NoVerifiedSignature)
    );
}

/// A stand-in for a post-quantum cosigner of type 0x06: a signature is 2,420 bytes, each the text's
/// length.
struct PostQuantum(VerifierKey);

impl Verifier for PostQuantum {
    fn name(&self) -> &KeyName {
        self.0.name()
    }
    fn key_id(&self) -> KeyId {
        self.0.id()
    }
    fn verify(&self, text: &str, signature: &[u8]) -> Result<Option<u64>, Error> {
        let good =
            signature.len() == 2420 && signature.iter().all(|b| usize::from(*b) == text.len());
        good.then_some(Some(7)).ok_or(Error::SignatureInvalid {
            name: self.0.name().to_string(),
            key_id: self.0.id(),
        })
    }
}

#[test]
fn a_key_type_that_is_not_built_in_plugs_in() {
    let name = KeyName::new("pq.example/w").unwrap();
    let key = VerifierKey::new(name.clone(), KeyType::ML_DSA_44, vec![5; 1312]);
    let key: VerifierKey = key.to_string().parse().unwrap();
    let text = Checkpoint::new(ORIGIN, files(3).1.head()).unwrap().encode();
    let mut note = Note::sign(text.as_str(), &[&log_signer()]).unwrap();
    let signature = vec![u8::try_from(text.len()).unwrap(); 2420];
    note.push(NoteSignature::new(name, key.id(), signature).unwrap())
        .unwrap();
    let bytes = note.encode();
    let verified = log_only()
        .with_cosigner(PostQuantum(key))
        .with_quorum(1)
        .verify(bytes.as_bytes())
        .unwrap();
    assert_eq!(verified.cosignatures()[0].timestamp_s, Some(7));
    // A verifier that does not know the type ignores the line.
    assert!(
        log_only()
            .verify(bytes.as_bytes())
            .unwrap()
            .cosignatures()
            .is_empty()
    );
}

#[test]
fn a_signer_that_cannot_sign_says_why() {
    struct Unreachable(KeyName);
    impl Signer for Unreachable {
        fn name(&self) -> &KeyName {
            &self.0
        }
        fn key_id(&self) -> KeyId {
            KeyId([0; 4])
        }
        fn sign(&self, _text: &str) -> Result<Vec<u8>, Error> {
            Err(Error::Signer {
                name: self.0.to_string(),
                reason: "the token was pulled out".to_owned(),
            })
        }
    }
    let signer = Unreachable("hsm.example".parse().unwrap());
    let error = Note::sign("text\n", &[&log_signer(), &signer]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "hsm.example could not sign: the token was pulled out"
    );
}

#[test]
fn a_signed_empty_tree_with_another_root_is_refused() {
    let text = format!("{ORIGIN}\n0\n{}\n", leaf_hash(&entry(0)));
    let note = Note::sign(text, &[&log_signer()]).unwrap();
    assert_eq!(log_only().verify_note(note), Err(Error::EmptyTreeRoot));
}
