# SPDX-License-Identifier: Apache-2.0
"""An index of packages for pip, on loopback."""
import contextlib
import hashlib
import http.server
import threading

from .archives import zipped


class Index:
    """Serves wheels as "simple" pages. What is asked for is noted; a folder of a project can be held back."""

    def __init__(self):
        self.files, self.asked, self.held = {}, [], {}
        self.server = None
        self.port = 0

    def start(self):
        index = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                index.asked.append(self.path)
                project = self.path.strip("/").split("/")[-1]
                if project in index.held:
                    index.held[project][0].set()
                    index.held[project][1].wait(60)
                with contextlib.suppress(OSError):  # it may have been killed meanwhile
                    index.answer(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()
        return self

    def stop(self):
        for _, go in self.held.values():
            go.set()
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.thread.join()
            self.server = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def answer(self, handler):
        parts = handler.path.strip("/").split("/")
        body = None
        if parts[0] == "simple" and len(parts) == 2:
            names = [name for name in self.files if name.split("-")[0].replace("_", "-").lower() == parts[1]]
            links = [f'<a href="/files/{n}#sha256={hashlib.sha256(self.files[n]).hexdigest()}">{n}</a>' for n in names]
            body, kind = f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode() if names else None, "text/html"
        elif parts[0] == "files":
            body, kind = self.files.get(parts[1]), "application/octet-stream"
        handler.send_response(200 if body is not None else 404)
        handler.send_header("Content-Type", kind if body is not None else "text/plain")
        handler.send_header("Content-Length", str(len(body or b"")))
        handler.end_headers()
        handler.wfile.write(body or b"")

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/simple/"

    def add(self, name, version, code, requires=(), **more):
        meta = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + "".join(f"Requires-Dist: {r}\n" for r in requires)
        self.files[f"{name}-{version}-py3-none-any.whl"] = zipped({
            f"{name}/__init__.py": code, f"{name}-{version}.dist-info/METADATA": meta,
            f"{name}-{version}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{name}-{version}.dist-info/RECORD": "", **more})

    def hold(self, project):
        """The event that it was asked for, and the one that lets the answer go."""
        self.held[project] = (threading.Event(), threading.Event())
        return self.held[project]

    def fetched(self, name):
        return len([path for path in self.asked if path.startswith(f"/files/{name}-")])
