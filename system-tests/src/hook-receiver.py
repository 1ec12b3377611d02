"""A receiver of web hooks: checks each request's signature with another implementation of HMAC, writes what is in it to a file, and answers
then. What it answers is changed by a file beside it.

    hook-receiver.py ADDRESS PORT FOLDER

In FOLDER: `received`, a JSON object an event, with `origin`; `requests`, one a request; `secret`, the key; `behaviour`, how to answer: {} as
it should, else some of status, headers, and `until`, the number of requests that this process answers so, before it fails; `server.pem` and `server.key`, with which it speaks TLS.
"""

import hmac
import http.server
import json
import os
import ssl
import sys
import threading
import time

ADDRESS, PORT, FOLDER = sys.argv[1], int(sys.argv[2]), sys.argv[3]
WRITING = threading.Lock()
ANSWERED = []


def path(name):
    return os.path.join(FOLDER, name)


def append(name, objects):
    # In one call, and on lines of its own whatever a kill has left.
    text = "".join("\n" + json.dumps(one, separators=(",", ":"), ensure_ascii=False) for one in objects)
    with WRITING, open(path(name), "ab", buffering=0) as file:
        file.write(text.encode())


def exact(text, events):
    """Adds the exact bytes of each record, as text."""
    at = 0
    for event in events:
        if "record" in event:
            at = text.index('"record":', at) + len('"record":')
            _, end = json.JSONDecoder().raw_decode(text, at)
            event["exact"], at = text[at:end], end


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def is_genuine(self, body):
        with open(path("secret"), "rb") as file:
            key = file.read()
        sent = self.headers["Livetrail-Timestamp"]
        wanted = "v1=" + hmac.new(key, sent.encode() + b"." + body, "sha256").hexdigest()
        given = self.headers["Livetrail-Signature"]
        return hmac.compare_digest(wanted, given) and abs(time.time() - int(sent)) < 300

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with open(path("behaviour")) as file:
            behaviour = json.load(file)
        delivery = json.loads(body)
        events = delivery["events"]
        exact(body.decode(), events)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = {"path": self.path, "headers": headers, "events": len(events), "lost": delivery.get("lost")}
        append("requests", [request])
        status = behaviour.get("status", 204) if self.is_genuine(body) else 401
        if len(ANSWERED) >= behaviour.get("until", sys.maxsize):
            status = 500
        ANSWERED.append(status)
        if status // 100 == 2:
            append("received", [{"origin": delivery["origin"], "lost": delivery.get("lost")} | event for event in events])
        self.send_response(status)
        self.send_header("Content-Length", "0")
        for name, value in behaviour.get("headers", {}).items():
            self.send_header(name, value)
        self.end_headers()

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
