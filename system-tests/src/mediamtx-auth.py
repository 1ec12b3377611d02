"""An authentication service for MediaMTX, written from its documentation of `authHTTPAddress`.

MediaMTX sends a POST with a JSON body: user, password, token, ip, action (publish, read, playback,
api, metrics, pprof), path, protocol, id, query. A status that begins with 20 means yes, another
one no. A client without credentials gets 401, so that it may ask for them.
"""

import http.server
import json
import socketserver
import sys

FIELDS = {"user", "password", "token", "ip", "action", "path", "protocol", "id", "query"}
# Who may do what: the password, the actions, and the beginning of paths.
USERS = {
    "studio": ("letmein-44-7001", {"publish"}, "live/"),
    "fan": ("iwatch-18-7001", {"read", "playback"}, "live/"),
}


class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        question = json.loads(body)
        assert FIELDS <= question.keys(), question
        print(json.dumps(question), flush=True)
        status = self.judge(question)
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def judge(self, question):
        if not question["user"]:
            return 401
        password, actions, beginning = USERS.get(question["user"], (None, set(), ""))
        allowed = (
            question["password"] == password
            and question["action"] in actions
            and question["path"].startswith(beginning)
        )
        return 200 if allowed else 403

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingTCPServer):
    """Unlike http.server's, it asks no name server for its own name."""

    allow_reuse_address = True
    daemon_threads = True


host, port = sys.argv[1].rsplit(":", 1)
Server((host, int(port)), Service).serve_forever()
