# SPDX-License-Identifier: Apache-2.0
"""REST, from outside: its routes, who may use them, and what it makes of bad input."""
import contextlib
import http.client
import re
import socket
import threading

import pytest

from harness import waiting
from harness.node import StartError
from harness.rest import JSON, Rest, port_of

SLEEP = "import time; time.sleep(600)"


def test_the_documented_fields(open_node):
    rest = Rest(port_of(open_node))
    status, value, headers = rest.get("/api/status")
    assert status == 200 and headers["Content-Type"] == "application/json"
    for name, kind in {"node_id": str, "status": str, "is_registered": bool, "docker_available": bool, "cpu_percent": float,
                       "memory_percent": float, "available_resources": dict, "total_resources": dict, "running_tasks": int}.items():
        assert isinstance(value[name], kind), name
    assert {"trust_score", "trust_group"} <= set(value)
    assert set(value["total_resources"]) == set(value["available_resources"]) == {"cpu", "memory_gb", "gpu", "gpu_memory_gb"}
    assert 0 < value["memory_percent"] < 100 and value["total_resources"]["memory_gb"] > 0
    assert rest.get("/api/tasks")[1] == {"tasks": []}
    task = open_node.submit(SLEEP, limits=open_node.stubs.pb.Limits(memory_bytes=512 << 20, cpu_millis=500))
    waiting.wait_until(lambda: rest.get("/api/status")[1]["running_tasks"] == 1)
    waiting.wait_until(lambda: [t["status"] for t in rest.get("/api/tasks")[1]["tasks"]] == ["RUNNING"])
    row = rest.get("/api/tasks")[1]["tasks"][0]
    assert row["task_id"] == task and row["elapsed"] > 0 and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", row["start_time"])
    assert row["resources"] == {"cpu": 0.5, "memory_gb": 0.5, "gpu": 0, "gpu_memory_gb": 0.0}
    assert set(rest.get("/api/resources")[1]) == {"cpu_available", "memory_available", "disk_available", "running_tasks"}
    assert rest.post(f"/api/stop_task/{task}")[:2] == (200, {"success": True, "message": f"Task {task} stopped"})
    assert open_node.wait(task)[0].state == open_node.stubs.pb.Task.STOPPED
    assert rest.post("/api/stop_task/none")[:2] == (404, {"success": False, "error": "Task not found"})
    assert rest.get("/api/tasks")[1] == {"tasks": []}


def test_health(open_node):
    rest = Rest(port_of(open_node))
    status, value, _ = rest.get("/health")
    assert status == 200 and value["status"] == "healthy" and set(value["checks"]) == {"docker", "grpc", "resources", "vpn"}
    assert all(check["status"] == "healthy" and check["message"] for check in value["checks"].values())
    assert rest.get("/livez")[0] == rest.get("/readyz")[0] == 200


def test_a_node_that_drains(make_node):
    node = make_node(authenticated=False, web=True, web_port=0).start()
    rest = Rest(port_of(node))
    task = node.submit("import time, signal; signal.signal(signal.SIGTERM, lambda *a: None); print('up', flush=True); time.sleep(600)")
    waiting.wait_until(lambda: node.stub.GetTask(node.stubs.pb.GetTaskRequest(task_id=task)).task.log_size > 0)
    node.process.terminate()
    waiting.wait_until(lambda: rest.get("/readyz")[0] == 503)
    assert rest.get("/livez")[0] == 200
    assert rest.get("/health")[0] == 503
    node.process.terminate()
    assert node.process.wait(60) == 0


def test_login_and_logout(guarded):
    rest = Rest(port_of(guarded))
    assert rest.get("/api/status")[0] == 401 and rest.get("/api/session")[0] == 401
    status, value, headers = rest.login("ann", "password of ann")
    assert status == 200 and value["user"] == "ann" and value["role"] == "submitter"
    cookie = headers["Set-Cookie"]
    assert "; HttpOnly" in cookie and "; SameSite=Strict" in cookie and "; Path=/" in cookie and "Max-Age=86400" in cookie
    assert rest.get("/api/session")[1]["user"] == "ann"
    again = Rest(port_of(guarded))
    again.cookie = rest.cookie
    assert again.login("ann", "password of ann")[0] == 200 and again.cookie != rest.cookie, "a session that was brought along"
    guarded.stop()
    guarded.start()
    rest.port = again.port = port_of(guarded)
    assert rest.get("/api/session")[1]["user"] == "ann", "it survives a restart"
    status, value, headers = rest.post("/logout")
    assert status == 200 and "Max-Age=0" in headers["Set-Cookie"]
    assert rest.get("/api/status")[0] == 401, "its token is revoked, not only forgotten"
    assert again.get("/api/status")[0] == 200, "the other session goes on"


@pytest.mark.parametrize("user, password", [("ann", "wrong"), ("nobody", "password of ann"), ("ann", ""), ("", "")])
def test_wrong_logins_sound_alike(guarded, user, password):
    status, value, headers = Rest(port_of(guarded)).login(user, password)
    assert status in (400, 401) and "Set-Cookie" not in headers
    if user and password:
        assert (status, value["detail"]) == (401, Rest(port_of(guarded)).login("ann", "another wrong one")[1]["detail"])


def test_a_session_is_a_token(guarded, pb, stubs):
    """It is listed with the others, and gone when it is revoked or its user disabled."""
    rest = Rest(port_of(guarded))
    rest.login("ann", "password of ann")
    accounts = stubs.grpc.AccountServiceStub(guarded.channel)
    tokens = [t for t in accounts.ListTokens(pb.ListTokensRequest(user="ann")).tokens if t.name.startswith("session ")]
    assert len(tokens) == 1 and tokens[0].expires_us > 0
    accounts.RevokeToken(pb.RevokeTokenRequest(token_id=tokens[0].token_id))
    assert rest.get("/api/status")[0] == 401
    rest.login("ann", "password of ann")
    accounts.SetUser(pb.SetUserRequest(name="ann", set_disabled=True, disabled=True))
    assert rest.get("/api/status")[0] == 401


def test_tasks_of_others(guarded, pb):
    port = port_of(guarded)
    ann, bob, vic, admin = Rest(port), Rest(port), Rest(port), Rest(port, token=guarded.token)
    for name, rest in (("ann", ann), ("bob", bob), ("vic", vic)):
        assert rest.login(name, f"password of {name}")[0] == 200
    task = guarded.submit(SLEEP)  # the administrator's
    waiting.wait_until(lambda: len(admin.get("/api/tasks")[1]["tasks"]) == 1)
    assert ann.get("/api/tasks")[1]["tasks"] == []
    assert bob.post(f"/api/stop_task/{task}")[0] == 404
    assert vic.post(f"/api/stop_task/{task}")[0] == 403
    assert admin.post(f"/api/stop_task/{task}")[0] == 200


def test_the_audit_log_knows_from_where(guarded, pb, stubs):
    Rest(port_of(guarded)).login("ann", "password of ann")
    accounts = stubs.grpc.AccountServiceStub(guarded.channel)
    records = [m.record for m in accounts.QueryAudit(pb.QueryAuditRequest(user="ann")) if m.HasField("record")]
    assert any(r.action.startswith("login") and getattr(r, "from").startswith("127.0.0.1:") for r in records), records


def test_a_login_that_another_page_wants(guarded):
    assert Rest(port_of(guarded)).post("/login", {"user": "ann", "password": "password of ann"},
                                       headers={"Origin": "https://evil.example"})[0] == 403


def test_pages_of_others(open_node):
    port = port_of(open_node)
    rest = Rest(port)
    assert rest.post("/api/stop_task/x", headers={"Origin": "https://evil.example"})[0] == 403
    assert rest.post("/api/stop_task/x", headers={"Origin": "null"})[0] == 403
    assert rest.post("/api/stop_task/x", headers={"Origin": f"http://127.0.0.1:{port}"})[0] == 404
    for host in ("evil.example", "127.0.0.1.evil.example", f"localhost.evil.example:{port}", "[::2]"):
        assert rest.get("/api/status", headers={"Host": host})[0] == 421, host
    for host in ("localhost", f"localhost:{port}", f"[::1]:{port}", "127.0.0.2"):
        assert rest.get("/api/status", headers={"Host": host})[0] == 200, host


@pytest.mark.parametrize("method, path, status", [
    ("GET", "/", 200), ("GET", "//api/status", 404), ("GET", "/api/status/", 404), ("GET", "/api/%73tatus", 404),
    ("GET", "/api/../api/status", 404), ("GET", "/livez%00", 404), ("POST", "/api/stop_task/", 404), ("POST", "/api/stop_task/a/b", 404),
    ("POST", "/api/stop_task/a%2fb", 404), ("POST", "/api/stop_task/%00", 404), ("POST", "/api/stop_task/%", 404),
    ("POST", "/api/stop_task/%ff", 404), ("POST", "/api/stop_task/" + "x" * 5000, 404), ("POST", "/api/status", 405),
    ("DELETE", "/api/tasks", 405), ("GET", "/api/stop_task/x", 405), ("PROPFIND", "/livez", 405), ("GET", "/api/status?x=" + "y" * 4000, 200),
])
def test_paths_and_methods(open_node, method, path, status):
    answer, value, headers = Rest(port_of(open_node)).call(method, path)
    assert answer == status, value
    assert status != 405 or headers["Allow"] in ("GET", "POST")


@pytest.mark.parametrize("body, headers, status", [
    ("{", JSON, 400), ("", JSON, 400), ("[]", JSON, 400), ("{}", JSON, 400), ('{"user": 1, "password": "x"}', JSON, 400),
    ('{"user": "a", "password": "b", "more": 1}', JSON, 400), ('{"user": "a", "user": "b", "password": "c"}', JSON, 400),
    ('{"user": "a\\u0000b", "password": "c"}', JSON, 400), (b'{"user": "\xff", "password": "c"}', JSON, 400),
    ("[" * 5000, JSON, 400), ('{"user": "a", "password": "b"}', {"Content-Type": "text/plain"}, 415),
    ("user=a&password=b", {"Content-Type": "application/x-www-form-urlencoded"}, 415), ("x" * 9000, JSON, 413),
])
def test_bodies(guarded, body, headers, status):
    answer, value, _ = Rest(port_of(guarded)).post("/login", body, headers=headers, seconds=10)
    assert answer == status, value


def test_a_body_where_none_is_taken(open_node):
    assert Rest(port_of(open_node)).post("/api/stop_task/x", "much", headers={"Content-Type": "text/plain"})[0] == 413


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "Bearer " + "x" * 10000, "Bearer a b", "Bearer a\x01b", "Bearer twt_" + "0" * 48])
def test_bad_tokens(guarded, header):
    assert Rest(port_of(guarded)).get("/api/status", headers={"Authorization": header})[0] in (401, 431)


def test_headers_of_a_task_do_not_lead_out(open_node):
    """What comes back in an answer cannot end a header."""
    status, value, headers = Rest(port_of(open_node)).post("/api/stop_task/a%0d%0aSet-Cookie:%20x=y")
    assert status in (400, 404) and "Set-Cookie" not in headers


@contextlib.contextmanager
def raw(port):
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        yield connection


@pytest.mark.parametrize("noise", [
    b"\x00" * 4096, b"GET / HTTP/9.9\r\n\r\n", b"GET\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00" + b"x" * 500,
    b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n",
    b"POST /login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    b"POST /login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4000\r\n" + b"x" * 0x4000,
    b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
])
def test_noise(guarded, noise):
    """It takes nothing with it."""
    with raw(port_of(guarded)) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(noise)
    assert Rest(port_of(guarded)).get("/livez")[0] == 200


def test_connections_of_one_address(open_node):
    """There are so many and no more; those who go make room."""
    port = port_of(open_node)
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(raw(port)).sendall(b"GET /livez HTTP/1.1\r\n")
        with pytest.raises((OSError, http.client.HTTPException)):
            Rest(port).get("/livez", seconds=5)
        assert open_node.run("result = 1")[1] == b"1", "tasks come in all the same"
    waiting.wait_until(lambda: reached(port))


def reached(port):
    with contextlib.suppress(OSError, http.client.HTTPException):
        return Rest(port).get("/livez", seconds=5)[0] == 200
    return False


def test_many_at_once(guarded):
    """Each gets its own answer."""
    port, seen = port_of(guarded), []
    rest = {name: Rest(port) for name in ("ann", "bob", "vic")}
    for name, one in rest.items():
        one.login(name, f"password of {name}")

    def ask(name):
        for _ in range(50):
            seen.append((name, rest[name].get("/api/session")[1]["user"]))

    threads = [threading.Thread(target=ask, args=(name,)) for name in rest for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 450 and all(asked == told for asked, told in seen)


def test_where_it_listens(make_node):
    for settings, words in (({"web_host": "0.0.0.0"}, "WEB_HOST is"), ({"web_host": "0.0.0.0", "authenticated": True}, "--insecure-listen")):
        with pytest.raises(StartError) as caught:
            make_node(web=True, web_port=0, **{"authenticated": False, **settings}).start()
        assert words in caught.value.log
    first = make_node(authenticated=False, web=True, web_port=0).start()
    with pytest.raises(StartError) as caught:
        make_node(authenticated=False, web=True, web_port=port_of(first)).start()
    assert "--web-port" in caught.value.log
