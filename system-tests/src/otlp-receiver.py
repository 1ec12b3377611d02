"""A receiver of OTLP logs over HTTP: reads requests with the messages that OpenTelemetry publishes, writes what is in them to a file, and answers
then. What it answers is changed by a file beside it.

    otlp-receiver.py ADDRESS PORT FOLDER

In FOLDER: `received`, a JSON object a record; `requests`, one a request; `behaviour`, how to answer: {} as it should, else some of
status, headers, words, rejected; `server.pem` and `server.key`, with which it speaks TLS.
"""

import base64
import gzip
import http.server
import json
import os
import ssl
import sys
import threading

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

ADDRESS, PORT, FOLDER = sys.argv[1], int(sys.argv[2]), sys.argv[3]
WRITING = threading.Lock()


def path(name):
    return os.path.join(FOLDER, name)


def append(name, objects):
    # In one call, and on lines of its own whatever a kill has left.
    text = "".join("\n" + json.dumps(one) for one in objects)
    with WRITING, open(path(name), "ab", buffering=0) as file:
        file.write(text.encode())


def plain(value):
    kind = value.WhichOneof("value")
    found = getattr(value, kind) if kind else None
    return base64.b64encode(found).decode() if isinstance(found, bytes) else found


def attributes(of):
    return {one.key: plain(one.value) for one in of.attributes}


def records(request):
    for resource in request.resource_logs:
        for scope in resource.scope_logs:
            for record in scope.log_records:
                yield {
                    "resource": attributes(resource.resource),
                    "scope": scope.scope.name,
                    "time": record.time_unix_nano,
                    "severity": record.severity_number,
                    "severity_text": record.severity_text,
                    "event": record.event_name,
                    "kind": record.body.WhichOneof("value"),
                    "body": plain(record.body),
                    "attributes": attributes(record),
                }


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        request = ExportLogsServiceRequest.FromString(body)
        found = list(records(request))
        with open(path("behaviour")) as file:
            behaviour = json.load(file)
        headers = {name.lower(): value for name, value in self.headers.items()}
        append("requests", [{"path": self.path, "headers": headers, "records": len(found)}])
        status = behaviour.get("status", 200)
        answer = ExportLogsServiceResponse()
        if status == 200:
            rejected = behaviour.get("rejected", 0)
            append("received", found[: len(found) - rejected])
            answer.partial_success.rejected_log_records = rejected
            answer.partial_success.error_message = behaviour.get("words", "")
        body = answer.SerializeToString() if status == 200 else b""
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(body)))
        for name, value in behaviour.get("headers", {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass


server = Server((ADDRESS, PORT), Handler)
if os.path.exists(path("server.pem")):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path("server.pem"), path("server.key"))
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
