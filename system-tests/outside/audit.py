"""Checks the site of a trail with `aics-tlog`: signature, every tile and bundle, and proofs. No line of Livetrail takes part.

    audit.py DIRECTORY-OR-URL VERIFIER-KEY COSIGNER-KEY OLDER-CHECKPOINT
"""

import sys
from pathlib import Path

from aics_tlog import (
    HttpTileReader,
    VerifiedTileReader,
    audit_tiles,
    consistency_proof_from_tiles,
    inclusion_proof_from_tiles,
    parse_note,
    parse_vkey,
    verify_checkpoint,
    verify_consistency,
    verify_leaf_inclusion,
)

# Of so many entries, one has its inclusion proved; the last one always has.
PROVE_EVERY = 17


def opened(data, keys):
    """Size and root in a signed and cosigned checkpoint."""
    signer, cosigner = keys
    result = verify_checkpoint(parse_note(data), signer, [cosigner], quorum=1)
    if not result.ok:
        sys.exit(f"not signed by this log: {result}")
    return result


def main(place, signer, cosigner, older_path):
    keys = parse_vkey(signer), parse_vkey(cosigner)
    if not place.startswith("http://"):
        place = Path(place).resolve().as_uri()
    reader = HttpTileReader([place])
    head = opened(reader.read_checkpoint(), keys)
    with open(older_path, "rb") as file:
        older = opened(file.read(), keys)
    report = audit_tiles(reader, head.size, head.root)
    verified = VerifiedTileReader(reader, head.size, head.root)
    proofs = 0
    for index in range(head.size):
        if index % PROVE_EVERY and index != head.size - 1:
            continue
        proof = inclusion_proof_from_tiles(verified, index, head.size)
        entry = verified.entry(index)
        if not verify_leaf_inclusion(entry, index, head.size, proof, head.root):
            sys.exit(f"the proof of entry {index} does not hold")
        proofs += 1
    proof = consistency_proof_from_tiles(verified, older.size, head.size)
    if not verify_consistency(older.size, head.size, older.root, head.root, proof):
        sys.exit(f"not consistent with {older.size}")
    print(
        f"{head.size} entries, {report.tiles} tiles, {report.bundles} bundles, "
        f"{proofs + 1} proofs, consistent with {older.size}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
