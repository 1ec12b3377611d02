"""Writes the golden vectors of openings, commitments, disclosures and tokens to standard output.

It is an implementation of its own, made from docs/personal.md. The test in personal.rs compares its
output with personal.txt, and personal.txt with the crate.
"""

import base64
import hashlib
import hmac
import json
import sys
import uuid

SESSION = uuid.UUID("019aa5c5-8000-7000-8000-000000000001")
BOOT = uuid.UUID("019aa5c0-0000-7abc-9def-0123456789ab")


def b64(data):
    return base64.b64encode(data).decode()


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def named(name):
    return bytes([len(name)]) + name.encode()


def salt_of(salt, name):
    return sha256(b"livetrail salt 1\0", salt, name.encode())[:16]


def digest_of(salt, name, value):
    return sha256(b"livetrail field 1\0", salt, named(name), value.encode())


def commitment(session, digests):
    parts = (named(name) + digests[name] for name in sorted(digests))
    return sha256(b"livetrail personal 1\0", session.bytes, *parts)


def digests_of(opening):
    salt = base64.b64decode(opening["salt"])
    fields = {name: value for name, value in opening.items() if name not in ("salt", "session")}
    return {name: digest_of(salt_of(salt, name), name, value) for name, value in fields.items()}


def disclosure(opening, name):
    digests = digests_of(opening)
    del digests[name]
    return {
        "field": name,
        "value": opening[name],
        "salt": b64(salt_of(base64.b64decode(opening["salt"]), name)),
        "others": {other: b64(digest) for other, digest in digests.items()},
    }


def verifies(shown, personal, session):
    """What somebody does who has only the disclosure and the entry."""
    digests = {name: base64.b64decode(digest) for name, digest in shown["others"].items()}
    salt = base64.b64decode(shown["salt"])
    digests[shown["field"]] = digest_of(salt, shown["field"], shown["value"])
    return commitment(session, digests) == personal


def session_of(boot, seq):
    return uuid.UUID(bytes=sha256(boot.bytes, seq.to_bytes(8, "big"))[:16])


def token(secret, name):
    mac = hmac.new(secret, name.encode(), "sha256").digest()
    return "s:" + base64.urlsafe_b64encode(mac[:12]).decode()


def fill(piece, length):
    """Repeats the piece up to this length in bytes. The last byte that is missing is a dot."""
    size = len(piece.encode())
    text = piece * (length // size)
    return text + "." * (length - len(text.encode()))


def openings():
    client = "FMLE/3.0 (compatible; FMSc/1.0)"
    hard = 'a "quoted"\\\b\f\n\r\t\u0001\u001f\u007f — größe \U0001f600 \u2028'
    yield "no field", SESSION, {}
    yield "one field", SESSION, {"peer": "192.0.2.7:50312"}
    yield "two fields, one of them empty", SESSION, {"principal": "studio-1", "user_agent": ""}
    yield "three fields", SESSION, {"principal": "studio-1", "peer": "192.0.2.7:50312", "user_agent": client}
    yield (
        "four fields",
        SESSION,
        {"detail": "from the lobby", "principal": "studio-1", "peer": "[2001:db8::7]:50312", "user_agent": client},
    )
    yield "UTF-8 and escapes", SESSION, {"principal": hard, "detail.room": "Größenwahn 東京"}
    yield "no session", session_of(BOOT, 17), {"by": "Ada Lovelace"}
    yield (
        "64 KiB",
        SESSION,
        {"detail": fill("é\U0001f600 64 KiB ", 65536), "peer": "192.0.2.7:50312", "stream": "dr-smith-room"},
    )


def main():
    out = []
    for number, (title, session, fields) in enumerate(openings()):
        salt = hashlib.md5(bytes([number])).digest()
        opening = dict(fields, salt=b64(salt), session=str(session))
        personal = commitment(session, digests_of(opening))
        out += ["# " + title, "opening " + canonical(opening), "personal " + b64(personal)]
        for name in sorted(fields):
            shown = disclosure(opening, name)
            assert verifies(shown, personal, session)
            assert not verifies(shown, personal, BOOT)
            if len(shown["value"]) < 1000:
                out.append("disclosure " + canonical(shown))
    out.append("# what takes a session's place")
    for seq in (0, 17, 2**53 - 1):
        out.append("session_of %s %d %s" % (BOOT, seq, session_of(BOOT, seq)))
    out.append("# tokens of names, all with the secret 00 01 02 … 1f")
    for name in ("cam", "dr-smith-room", "größe \U0001f600", "x" * 200):
        out.append("token %s %s" % (token(bytes(range(32)), name), name))
    sys.stdout.buffer.write(("\n".join(out) + "\n").encode())


main()
