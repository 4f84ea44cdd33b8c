"""A stand-in for the hub on this machine: repositories that are created, uploaded to and downloaded from."""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_COMMIT = re.compile(r"/api/models/(.+)/(preupload|commit)/main")
_FILE = re.compile(r"/(.+?)/resolve/[^/]+/(.+)")


@contextmanager
def local_hub():
    """Yields its address, and the files of each repository: name -> path -> content."""
    repositories = {}

    class Hub(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def answer(self, content, status=200, **headers):
            content = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def do_POST(self):
            sent = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/api/repos/create":
                body = json.loads(sent)
                name = f"{body.get('organization') or 'me'}/{body['name']}"
                repositories.setdefault(name, {})
                return self.answer({"url": f"http://{self.headers['Host']}/{name}", "name": name})
            if self.path == "/api/validate-yaml":
                return self.answer({"errors": [], "warnings": []})
            name, action = _COMMIT.fullmatch(self.path.partition("?")[0]).groups()
            if action == "preupload":
                modes = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
                return self.answer({"files": [{"path": file["path"], **modes} for file in json.loads(sent)["files"]]})
            for line in map(json.loads, sent.splitlines()):
                if line["key"] == "file":
                    repositories[name][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            return self.answer(
                {"commitUrl": f"http://{self.headers['Host']}/{name}/commit/{'0' * 40}", "commitOid": "0" * 40}
            )

        def do_GET(self):
            path = self.path.partition("?")[0]
            if found := _FILE.fullmatch(path):
                content = repositories.get(found[1], {}).get(found[2])
                if content is None:
                    return self.answer(b"", 404, X_Error_Code="EntryNotFound", X_Repo_Commit="0" * 40)
                etag = hashlib.sha256(content).hexdigest()
                return self.answer(content, X_Repo_Commit="0" * 40, ETag=f'"{etag}"')
            name = re.sub(r"/(revision|tree)/.*", "", path.removeprefix("/api/models/"))
            files = [{"rfilename": file} for file in repositories.get(name, {})]
            if "/tree/" in path:
                return self.answer(
                    [{"type": "file", "path": file["rfilename"], "size": 1, "oid": "0"} for file in files]
                )
            return self.answer({"id": name, "sha": "0" * 40, "siblings": files, "tags": []})

        do_HEAD = do_GET  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", repositories
    finally:
        server.shutdown()
        server.server_close()
