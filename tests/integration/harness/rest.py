# SPDX-License-Identifier: Apache-2.0
"""A client of a node's REST interface."""
import base64
import http.client
import json
import re

JSON = {"Content-Type": "application/json"}


class Rest:
    """One client with its cookie; each call is a connection of its own."""

    def __init__(self, port, token=None, host="127.0.0.1"):
        self.port, self.token, self.host, self.cookie = port, token, host, None

    def call(self, method, path, body=None, headers=None, seconds=30):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=seconds)
        headers = dict(headers or {})
        if self.token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        if self.cookie:
            headers.setdefault("Cookie", self.cookie)
        if isinstance(body, (dict, list)):
            body, headers = json.dumps(body), {**JSON, **headers}
        try:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        if answer.headers.get_content_type() not in ("application/json", "application/problem+json"):
            return answer.status, raw, answer.headers
        value = json.loads(raw) if raw else None
        if answer.status >= 400 and "problem" in answer.headers["Content-Type"]:
            assert value["status"] == answer.status and value["title"] and value["detail"], value
        return answer.status, value, answer.headers

    def get(self, path, **kwargs):
        return self.call("GET", path, **kwargs)

    def post(self, path, body=None, **kwargs):
        return self.call("POST", path, body, **kwargs)

    def login(self, user, password):
        status, value, headers = self.post("/login", {"user": user, "password": password})
        if status == 200:
            self.cookie = headers["Set-Cookie"].partition(";")[0]
        return status, value, headers


def port_of(node):
    return int(re.findall(r"REST: http://127\.0\.0\.1:(\d+)", node.log())[-1])


def submit(rest, source="result = 1", headers=None, **fields):
    status, value, _ = rest.post("/api/v1/tasks", {"task_type": "python", "source": source, **fields}, headers=headers)
    assert status == 201 and value["success"], value
    return value["task_id"]


def wait(rest, task):
    status, value, _ = rest.get(f"/api/v1/tasks/{task}/wait?include_result=true")
    assert status == 200, value
    return value["task"], base64.b64decode(value["result"])


class Events:
    """A stream of server-sent events; iterating gives (id, kind, data)."""

    def __init__(self, port, path, headers=None):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.connection.request("GET", path, headers=headers or {})
        self.answer = self.connection.getresponse()

    def __iter__(self):
        number = kind = data = None
        for line in self.answer:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "id":
                number = int(value)
            elif name == "event":
                kind = value
            elif name == "data":
                data = json.loads(value)
            elif not line.strip() and kind:
                yield number, kind, data
                number = kind = data = None

    def close(self):
        self.connection.close()
