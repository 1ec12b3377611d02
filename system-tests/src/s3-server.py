#!/usr/bin/env python3
"""An S3 server that enforces Object Lock, on loopback alone, for tests. Ends when its standard input does, and removes DIRECTORY.

usage: s3-server.py PORT DIRECTORY

LocalStack 4.14.0 binds every IPv4 address whatever it is told, so the endpoint class is wrapped to bind 127.0.0.1.
Known gaps against the real thing: it takes lock headers on a bucket without lock and retain-until dates in the past, checks no
credentials, does not insist on a checksum with lock headers, and keeps nothing when it ends.
"""
import os
import shutil
import sys
import threading

port, data = sys.argv[1], os.path.abspath(sys.argv[2])
os.makedirs(data, exist_ok=True)
os.environ.update(
    GATEWAY_LISTEN=f"127.0.0.1:{port}", SERVICES="s3", STRICT_SERVICE_LOADING="1", EAGER_SERVICE_LOADING="1",
    DISABLE_EVENTS="1", SKIP_SSL_CERT_DOWNLOAD="1", LOCALSTACK_VOLUME_DIR=data, FILESYSTEM_ROOT=data, DNS_ADDRESS="0",
    TMPDIR=data, LS_LOG="error",
)


def end_with_the_parent():
    sys.stdin.buffer.read()
    shutil.rmtree(data, ignore_errors=True)
    os._exit(0)


threading.Thread(target=end_with_the_parent, daemon=True).start()

import twisted.internet.endpoints as endpoints  # noqa: E402

original = endpoints.TCP4ServerEndpoint
endpoints.TCP4ServerEndpoint = lambda reactor, p, **kw: original(reactor, p, interface="127.0.0.1")
import localstack.services.s3.provider as provider  # noqa: E402

# Else it makes a folder for each bucket in a place that all servers of a machine share.
provider.DEFAULT_S3_TMP_DIR = os.path.join(data, "objects")
from localstack.runtime.main import main  # noqa: E402

main()
