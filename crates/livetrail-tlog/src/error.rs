//! The errors: one variant for each rule that can be broken.

use thiserror::Error as ThisError;

use crate::key::{KeyId, KeyType};

/// Why an input was refused. Outside text is cut to 64 characters; no error contains a secret.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
#[non_exhaustive]
pub enum Error {
    // Shared by the formats.
    /// Not standard base64 with padding, or not the canonical spelling.
    #[error("not canonical base64")]
    Base64,
    /// Not a canonical decimal number.
    #[error("not a decimal number below 2^64 without sign or leading zeros: {text:?}")]
    Decimal {
        /// The text.
        text: String,
    },
    /// Not UTF-8.
    #[error("not UTF-8 at byte {offset}")]
    NotUtf8 {
        /// The first bad byte.
        offset: usize,
    },
    /// A byte below 0x20 that is not LF.
    #[error("control character at byte {offset}")]
    ControlCharacter {
        /// The first one.
        offset: usize,
    },
    /// A hash is not of 32 bytes.
    #[error("a hash has 32 bytes, not {bytes}")]
    HashLength {
        /// The number of bytes found.
        bytes: usize,
    },

    // Trees and proofs.
    /// The tree has `u64::MAX` leaves.
    #[error("the tree is full: it has 2^64 - 1 leaves")]
    TreeFull,
    /// A size of 0 with a root that is not the empty tree's.
    #[error("a tree of size 0 has the hash of no bytes as its root")]
    EmptyTreeRoot,
    /// Not a frontier's length.
    #[error("{bytes} bytes are not a frontier: 8, and 32 for each of at most 64 hashes")]
    FrontierLength {
        /// The number of bytes found.
        bytes: usize,
    },
    /// Not as many hashes as the size has 1 bits.
    #[error("the frontier of a tree of size {size} has {wanted} hashes, not {found}")]
    FrontierHashes {
        /// Leaves.
        size: u64,
        /// The number of 1 bits of the size.
        wanted: u32,
        /// The number found.
        found: usize,
    },
    /// The index is not below the size.
    #[error("there is no leaf {index} in a tree of size {size}")]
    IndexBeyondTree {
        /// The index asked for.
        index: u64,
        /// Leaves.
        size: u64,
    },
    /// The older tree is larger.
    #[error("a tree of size {size} cannot have grown out of one of size {old_size}")]
    OldSizeBeyondTree {
        /// Leaves of the older tree.
        old_size: u64,
        /// Leaves.
        size: u64,
    },
    /// The proof has too many hashes or too few.
    #[error("the proof must have {wanted} hashes and has {found}")]
    ProofLength {
        /// The only correct number.
        wanted: usize,
        /// The number found.
        found: usize,
    },
    /// The inclusion proof does not lead to the root.
    #[error("the proof does not lead from leaf {index} to the root of size {size}")]
    InclusionRoot {
        /// The leaf's index.
        index: u64,
        /// Leaves.
        size: u64,
    },
    /// The consistency proof does not lead to the older root.
    #[error("the proof from size {old_size} to {size} does not lead to the older root")]
    ConsistencyOldRoot {
        /// Leaves of the older tree.
        old_size: u64,
        /// Leaves.
        size: u64,
    },
    /// The consistency proof does not lead to the newer root.
    #[error("the proof from size {old_size} to {size} does not lead to the newer root")]
    ConsistencyRoot {
        /// Leaves of the older tree.
        old_size: u64,
        /// Leaves.
        size: u64,
    },
    /// Two trees of one size with different roots: a fork.
    #[error("two roots for the same size {size}")]
    SameSizeOtherRoot {
        /// Leaves.
        size: u64,
    },

    // Tiles, paths and bundles.
    /// The level is above 63.
    #[error("there is no tile level {level}; the highest is 63")]
    TileLevel {
        /// The value given.
        level: u8,
    },
    /// The width is not 1 to 256.
    #[error("a tile or bundle has a width of 1 to 256, not {width}")]
    TileWidth {
        /// The value given.
        width: u16,
    },
    /// A tile's contents are not 32 bytes for each of its hashes.
    #[error("{path} has {wanted} bytes, not {found}")]
    TileLength {
        /// The tile's path.
        path: String,
        /// Bytes that it has.
        wanted: usize,
        /// Bytes that there were.
        found: usize,
    },
    /// Longer than any path.
    #[error("a tile's path is not {bytes} bytes long")]
    PathTooLong {
        /// The number of bytes found.
        bytes: usize,
    },
    /// It does not begin with `tile/<level or entries>/`.
    #[error("not a path of a tile or bundle: {path:?}")]
    PathPrefix {
        /// The value given.
        path: String,
    },
    /// The level is neither `entries` nor 0 to 63.
    #[error("the path has no level from 0 to 63: {path:?}")]
    PathLevel {
        /// The value given.
        path: String,
    },
    /// The index is not in groups of three digits, or is too large.
    #[error("the path has no index in groups of three digits: {path:?}")]
    PathIndex {
        /// The value given.
        path: String,
    },
    /// The width after `.p/` is not 1 to 255.
    #[error("the path has no width from 1 to 255: {path:?}")]
    PathWidth {
        /// The value given.
        path: String,
    },
    /// A valid tile or bundle, but not its canonical path.
    #[error("the path is not the canonical one: {path:?}")]
    PathNotCanonical {
        /// The value given.
        path: String,
    },
    /// An entry is longer than its 16-bit length field can express.
    #[error("an entry has at most 65,535 bytes, not {bytes}")]
    EntryTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The bundle ends within an entry or before one.
    #[error("the bundle ends in entry {found} of {wanted}, which begins at byte {offset}")]
    BundleShort {
        /// The bundle's width.
        wanted: u16,
        /// The number of entries before the broken one, which is also its position.
        found: usize,
        /// Where it begins.
        offset: usize,
    },
    /// Bytes after the last entry.
    #[error("{bytes} bytes are left behind the {wanted} entries of the bundle")]
    BundleTrailing {
        /// The bundle's width.
        wanted: u16,
        /// The number of bytes left.
        bytes: usize,
    },

    // Keys.
    /// An empty name, or one with white space, `+` or a control character.
    #[error("not a name of a key: {name:?}")]
    KeyName {
        /// The value given.
        name: String,
    },
    /// Not the text of a key.
    #[error("not the text of a key: <name>+<id>+<base64>")]
    KeyText,
    /// Longer than any key's text.
    #[error("the text of a key is not {bytes} bytes long")]
    KeyTextTooLong {
        /// The number of bytes found.
        bytes: usize,
    },
    /// Not eight hexadecimal digits.
    #[error("the id of a key is eight hexadecimal digits")]
    KeyIdText,
    /// The id is not that of this name, type and key.
    #[error("the key's text has id {written}, but its name and key give id {computed}")]
    KeyIdMismatch {
        /// The id in the text.
        written: KeyId,
        /// The id of name, type and key.
        computed: KeyId,
    },
    /// A key of another type.
    #[error("a key of type {wanted} is needed, not {found}")]
    KeyType {
        /// The type needed.
        wanted: KeyType,
        /// The value given.
        found: KeyType,
    },
    /// Not 32 bytes.
    #[error("an Ed25519 key has 32 bytes, not {bytes}")]
    KeyLength {
        /// The number of bytes found.
        bytes: usize,
    },
    /// Not a point of the curve, or not its canonical encoding.
    #[error("not an Ed25519 public key")]
    KeyInvalid,
    /// A point of small order, for which almost any signature verifies.
    #[error("the Ed25519 public key is of small order")]
    KeyWeak,

    // Notes and signatures.
    /// More bytes than a note may have.
    #[error("the note has {bytes} bytes and may have {most}")]
    NoteTooLong {
        /// The number of bytes found.
        bytes: usize,
        /// The bound.
        most: usize,
    },
    /// The text does not end in LF.
    #[error("the text of a note ends in a newline")]
    NoteText,
    /// No empty line.
    #[error("no empty line between the note's text and its signatures")]
    NoteSeparator,
    /// The last line has no LF.
    #[error("the note does not end in a newline")]
    NoteEnd,
    /// No signature line.
    #[error("the note has no signature line")]
    NoSignatures,
    /// More signature lines than are read.
    #[error("there are more than {most} signature lines")]
    TooManySignatures {
        /// The bound.
        most: usize,
    },
    /// Not `— <name> <base64 of at least 4 bytes>`.
    #[error("not a signature line")]
    SignatureLine,
    /// A longer signature line than is read.
    #[error("the signature line is too long: {bytes} bytes")]
    SignatureLineTooLong {
        /// The number of bytes found.
        bytes: usize,
    },
    /// A key id without a signature.
    #[error("the signature line has no signature")]
    SignatureEmpty,
    /// Not an Ed25519 signature's length.
    #[error("the signature of {name} has {bytes} bytes, not 64")]
    SignatureLength {
        /// The key's name.
        name: String,
        /// The number of bytes found.
        bytes: usize,
    },
    /// A known key did not make this signature.
    #[error("the signature of {name}+{key_id} is not valid")]
    SignatureInvalid {
        /// The key's name.
        name: String,
        /// Its id.
        key_id: KeyId,
    },
    /// A signer could not sign.
    #[error("{name} could not sign: {reason}")]
    Signer {
        /// The key's name.
        name: String,
        /// The reason that it gave.
        reason: String,
    },
    /// Two known keys have the same name and id.
    #[error("two known keys are {name}+{key_id}")]
    AmbiguousKey {
        /// Their name.
        name: String,
        /// Their id.
        key_id: KeyId,
    },
    /// No line is from a known key.
    #[error("no known key has signed the note")]
    NoVerifiedSignature,

    // Checkpoints and cosignatures.
    /// An empty origin, or one with a control character.
    #[error("not an origin: {origin:?}")]
    Origin {
        /// The value given.
        origin: String,
    },
    /// Fewer than three lines, or one that is empty or without its LF.
    #[error("a checkpoint is at least three lines, none of them empty")]
    CheckpointLines,
    /// Only cosigners have signed.
    #[error("no key of the log has signed the checkpoint")]
    NoLogSignature,
    /// The key was retired under a smaller tree, or under another one of this size.
    #[error(
        "the key {key_id} was given up at {until} entries: its signature does not count for a tree \
         of {size}"
    )]
    KeyGivenUp {
        /// Which key.
        key_id: KeyId,
        /// The number of leaves of the tree under which it was retired.
        until: u64,
        /// The number of leaves of the tree that it signed.
        size: u64,
    },
    /// A hand-over that one of its two keys has not signed.
    #[error("not a hand-over: {key_id} has not signed it")]
    HandOver {
        /// Which of the two.
        key_id: KeyId,
    },
    /// Not the line of a retired key.
    #[error("not `<verifier key> <size> <root>`: {line:?}")]
    RetiredKeyLine {
        /// The line found.
        line: String,
    },
    /// More retired keys than any log has.
    #[error("more than 4096 keys that were given up")]
    TooManyRetiredKeys,
    /// A checkpoint of another log.
    #[error("the checkpoint is of {found:?}, not of {wanted:?}")]
    OriginMismatch {
        /// The origin expected.
        wanted: String,
        /// The origin in the text.
        found: String,
    },
    /// Too few cosigners.
    #[error("{found} cosigners have signed and {wanted} are needed")]
    Quorum {
        /// The number needed.
        wanted: usize,
        /// The number of different cosigners whose cosignature verified.
        found: usize,
    },
    /// Not a time and an Ed25519 signature.
    #[error("a cosignature has 72 bytes, not {bytes}")]
    CosignatureLength {
        /// The number of bytes found.
        bytes: usize,
    },
    /// A time of 2^63 seconds or more.
    #[error("a cosignature's time is below 2^63 seconds: {timestamp_s}")]
    CosignatureTime {
        /// Seconds since 1970.
        timestamp_s: u64,
    },

    // Witnesses and proof files.
    /// More hashes than any proof has.
    #[error("there are more than {most} hashes in the proof")]
    TooManyProofHashes {
        /// The bound.
        most: usize,
    },
    /// A longer request than is read.
    #[error("the request has {bytes} bytes, which is too many")]
    WitnessRequestTooLong {
        /// The number of bytes found.
        bytes: usize,
    },
    /// The request does not begin with `old <size>`.
    #[error("the request does not begin with a line `old <size>`")]
    WitnessOldLine,
    /// The request has no empty line above the checkpoint.
    #[error("the request has no empty line above the checkpoint")]
    WitnessSeparator,
    /// A status that the protocol does not know.
    #[error("a witness does not answer with status {status}")]
    WitnessStatus {
        /// The status.
        status: u16,
    },
    /// A longer answer than is read.
    #[error("the answer has {bytes} bytes, which is too many")]
    WitnessAnswerTooLong {
        /// The number of bytes found.
        bytes: usize,
    },
    /// A 200 without a line, or whose last one has no LF.
    #[error("the witness's answer is not lines of signatures")]
    WitnessLines,
    /// A 409 of another content type.
    #[error("the content type of the witness's 409 is not text/x.tlog.size: {found:?}")]
    WitnessSizeType {
        /// The content type found.
        found: String,
    },
    /// A 409 whose body is not a size and LF.
    #[error("the body of the witness's 409 is not a size")]
    WitnessSize,
    /// A longer proof file than is read.
    #[error("the proof file has {bytes} bytes, which is too many")]
    ProofFileTooLong {
        /// The number of bytes found.
        bytes: usize,
    },
    /// The first line is not that of the format.
    #[error("not a proof file: its first line is not c2sp.org/tlog-proof@v1")]
    ProofFileHeader,
    /// The extra data are not base64, or are too long.
    #[error("the proof file's extra data are not base64, or more than 64 KiB")]
    ProofFileExtra,
    /// No line `index <n>`.
    #[error("the proof file has no line `index <n>`")]
    ProofFileIndex,
    /// The proof file has no empty line above the checkpoint.
    #[error("the proof file has no empty line above the checkpoint")]
    ProofFileSeparator,
}
