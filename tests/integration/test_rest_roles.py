# SPDX-License-Identifier: Apache-2.0
"""Every route of REST, by every role and by none."""
import json
import time

import pytest

from harness.rest import Events, Rest, port_of, submit, wait

ROLES = ("viewer", "submitter", "operator", "admin")
# Method, path, body, the lowest role, and what those with the role are answered where nothing is there.
ROUTES = [
    ("GET", "/openapi.json", None, "none+", 200), ("GET", "/api/session", None, "viewer", 200), ("GET", "/api/status", None, "viewer", 200),
    ("GET", "/api/resources", None, "viewer", 200), ("GET", "/api/history", None, "viewer", 200), ("GET", "/metrics", None, "viewer", 200),
    ("GET", "/api/logs", None, "operator", 200), ("GET", "/api/tasks", None, "viewer", 200),
    ("POST", "/api/stop_task/none", None, "submitter", 404),
    ("GET", "/api/v1/node", None, "viewer", 200), ("POST", "/api/v1/node/shutdown", {"timeout_ms": -1}, "operator", 400),
    ("GET", "/api/v1/tasks", None, "viewer", 200), ("POST", "/api/v1/tasks", {"task_type": "none"}, "submitter", 400),
    ("POST", "/api/v1/batches", {"tasks": []}, "submitter", 400), ("GET", "/api/v1/tasks/none", None, "viewer", 404),
    ("GET", "/api/v1/tasks/none/attempts", None, "viewer", 404), ("GET", "/api/v1/tasks/none/wait", None, "viewer", 404),
    ("GET", "/api/v1/tasks/none/result", None, "viewer", 404), ("GET", "/api/v1/tasks/none/log", None, "viewer", 404),
    ("GET", "/api/v1/tasks/none/log/chunks", None, "viewer", 404), ("GET", "/api/v1/tasks/none/log/events", None, "viewer", 404),
    ("POST", "/api/v1/tasks/none/stop", None, "submitter", 404), ("POST", "/api/v1/tasks/none/pause", None, "submitter", 404),
    ("POST", "/api/v1/tasks/none/resume", None, "submitter", 404), ("POST", "/api/v1/tasks/none/retry", {}, "submitter", 404),
    ("POST", "/api/v1/functions/none", {}, "submitter", 400), ("GET", "/api/v1/files", None, "viewer", 200),
    ("GET", "/api/v1/files/none", None, "viewer", 404), ("GET", "/api/v1/files/none/content", None, "viewer", 404), ("DELETE", "/api/v1/files/none", None, "submitter", 404),
    ("GET", "/api/v1/storage?one_user=true", None, "viewer", 200), ("GET", "/api/v1/whoami", None, "viewer", 200),
    ("GET", "/api/v1/users", None, "admin", 200), ("POST", "/api/v1/users", {"name": "X"}, "admin", 400),
    ("PATCH", "/api/v1/users/nobody", {"role": "VIEWER"}, "admin", 404), ("DELETE", "/api/v1/users/nobody", None, "admin", 404),
    ("POST", "/api/v1/password", {"new_password": "short"}, "viewer", 400), ("GET", "/api/v1/tokens", None, "viewer", 200),
    ("POST", "/api/v1/tokens", {"token_name": ""}, "viewer", 400), ("DELETE", "/api/v1/tokens/none", None, "viewer", 404),
    ("GET", "/api/v1/audit?action=nothing", None, "admin", 200), ("GET", "/api/v1/audit/check", None, "admin", 200),
]
UNLISTED = {("GET", "/livez"), ("GET", "/readyz"), ("GET", "/health"), ("POST", "/login"), ("POST", "/logout"), ("GET", "/api/events")}


@pytest.fixture(scope="module")
def guarded_node(module_maker, stubs, pb):
    node = module_maker(authenticated=True, web=True, web_port=0).start()
    accounts = stubs.grpc.AccountServiceStub(node.channel)
    node.tokens = {"none": None}
    for role in ROLES:
        accounts.AddUser(pb.AddUserRequest(name=f"{role}-1", role=pb.User.Role.Value(role.upper())))
        node.tokens[role] = accounts.AddToken(pb.AddTokenRequest(user=f"{role}-1", token_name="test")).secret
    return node


def test_every_route_is_walked(guarded_node):
    """What the node describes is what the test of the roles knows, so that no route comes without."""
    described = {(method.upper(), "/".join("*" if part.startswith("{") else part for part in path.split("/")))
                 for path, methods in Rest(port_of(guarded_node), token=guarded_node.token).get("/openapi.json")[1]["paths"].items() for method in methods}
    known = {(method, path.partition("?")[0].replace("nobody", "*").replace("none", "*")) for method, path, *_ in ROUTES}
    assert described - UNLISTED == known


@pytest.mark.parametrize("method, path, body, least, status", ROUTES)
def test_roles(guarded_node, method, path, body, least, status):
    for role in ("none", *ROLES):
        rest = Rest(port_of(guarded_node), token=guarded_node.tokens[role])
        answer, value, _ = rest.call(method, path, body)
        if role == "none":
            assert answer == 401, value
        elif least != "none+" and ROLES.index(role) < ROLES.index(least):
            assert answer == 403, (role, value)
        else:
            assert answer == status, (role, value)


def test_what_belongs_to_others(guarded_node):
    port = port_of(guarded_node)
    own, other = Rest(port, token=guarded_node.tokens["submitter"]), Rest(port, token=guarded_node.tokens["viewer"])
    task = submit(own, "print('secret')\nresult = 'secret'")
    wait(own, task)
    for path in ("", "/attempts", "/wait", "/result", "/log", "/log/chunks", "/log/events"):
        assert own.get(f"/api/v1/tasks/{task}{path}")[0] == 200
        status, value, _ = other.get(f"/api/v1/tasks/{task}{path}")
        assert status == 404 and b"secret" not in json.dumps(value).encode()
    assert other.get("/api/v1/tasks")[1]["tasks"] == []


def test_accounts(guarded_node):
    admin = Rest(port_of(guarded_node), token=guarded_node.tokens["admin"])
    assert admin.post("/api/v1/users", {"name": "eve", "role": "VIEWER"})[1]["user"]["role"] == "VIEWER"
    assert admin.call("PATCH", "/api/v1/users/eve", {"role": "SUBMITTER"})[1]["user"]["role"] == "SUBMITTER"
    assert admin.post("/api/v1/password", {"user": "eve", "new_password": "a long password"})[0] == 200
    eve = Rest(port_of(guarded_node))
    assert eve.login("eve", "a long password")[0] == 200
    made = eve.post("/api/v1/tokens", {"token_name": "script", "role": "VIEWER", "lifetime_ms": 3600000})[1]
    script = Rest(port_of(guarded_node), token=made["secret"])
    assert script.get("/api/v1/whoami")[1]["role"] == "VIEWER"
    assert script.post("/api/v1/tasks", {"task_type": "python", "source": ""})[0] == 403
    assert {t["name"].partition(" ")[0] for t in eve.get("/api/v1/tokens")[1]["tokens"]} == {"session", "script"}
    assert eve.call("DELETE", f"/api/v1/tokens/{made['token']['token_id']}")[0] == 200
    assert script.get("/api/v1/whoami")[0] == 401
    assert admin.call("DELETE", "/api/v1/users/eve")[0] == 200
    assert eve.get("/api/status")[0] == 401
    assert admin.get("/api/v1/audit/check")[1]["problem"] == "NONE"
    records = admin.get("/api/v1/audit?object=eve&limit=1000")[1]["records"]
    assert {"user.add", "user.remove"} <= {r["action"] for r in records} and all(r["user"] and len(r["hash"]) == 64 for r in records)
    seqs = [r["seq"] for r in admin.get("/api/v1/audit?limit=3")[1]["records"]]
    assert len(seqs) == 3 and seqs == sorted(seqs, reverse=True)
    assert [r["seq"] for r in admin.get(f"/api/v1/audit?limit=1&before_seq={seqs[0]}")[1]["records"]] == seqs[1:2]
    assert admin.get("/api/v1/audit?action=nothing")[1] == {"records": []}


def test_a_watcher_whose_token_is_revoked(guarded_node):
    admin = Rest(port_of(guarded_node), token=guarded_node.tokens["admin"])
    made = admin.post("/api/v1/tokens", {"token_name": "short"})[1]
    events = Events(port_of(guarded_node), "/api/events", headers={"Authorization": f"Bearer {made['secret']}"})
    assert events.answer.status == 200
    assert admin.call("DELETE", f"/api/v1/tokens/{made['token']['token_id']}")[0] == 200
    deadline = time.monotonic() + 30
    assert [kind for _, kind, _ in events] == ["failed"] and time.monotonic() < deadline
    events.close()
