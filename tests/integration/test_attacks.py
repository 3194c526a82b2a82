# SPDX-License-Identifier: Apache-2.0
"""Attackers on the port of a live node: each is refused or bounded, the node stays up, and another client is served meanwhile."""
import contextlib
import pathlib
import ssl
import subprocess
import time

import grpc
import pytest

from harness import attacks
from harness.node import CALL_SECONDS
from harness.wire import END_HEADERS, END_STREAM, HEADERS, Closed, Connection, frame, grpc_headers, message

OK, RESOURCE_EXHAUSTED, UNAUTHENTICATED = 0, 8, 16
ATTACKER, NEIGHBOUR = "127.0.0.66", "127.0.0.67"
HEALTH = "/grpc.health.v1.Health/Check"
SECONDS = 1.0
PATIENCE_SECONDS = 10  # for one call of another client: with sanitizers and on a busy machine; bench/flood.py measures it
MEMORY = 100 * 1024 * 1024

# What has to come of each: connections are cut off, or it goes on and is bounded.
CUT_OFF = ["rapid reset", "headers beyond the limit", "endless CONTINUATION", "empty CONTINUATION", "HPACK bomb", "PING", "PING, unread",
           "SETTINGS", "SETTINGS, unread", "SETTINGS acknowledgements", "PRIORITY", "WINDOW_UPDATE", "empty DATA", "garbage",
           "10,000 connections", "slow loris"]
BOUNDED = ["headers within the limit", "silent streams", "announced lengths", "lengths beyond all", "gzip bombs", "answers unread",
           "watchers", "bad tokens", "bad messages"]


def is_sanitized(node):
    return "libasan" in pathlib.Path(f"/proc/{node.process.pid}/maps").read_text(encoding="utf-8", errors="replace")


def resident(node):
    with open(f"/proc/{node.process.pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) * 1024


def serve_while(node, attacker, tls=None, **headers):
    """Another client calls as long as the attacker is at it; it may come anew, too. Returns how often it was served."""
    served = 0
    with Connection(node.address, tls=tls, seconds=PATIENCE_SECONDS) as old:
        while attacker.poll() is None:
            assert old.call("GetStatus", stream=2 * served + 1, **headers).grpc_status == OK
            served += 1
            if served % 50 == 1:
                with Connection(node.address, tls=tls, seconds=PATIENCE_SECONDS) as new:
                    assert new.call(HEALTH).grpc_status == OK
    return served


def attack(node, name, tls=None, seconds=SECONDS, **headers):
    """`headers` are those of the other client."""
    lines = node.log().count("\n")
    attacker = attacks.begin(name, node.address, seconds, ATTACKER)
    try:
        assert serve_while(node, attacker, tls, **headers) > 0
    finally:
        if attacker.poll() is None:
            attacker.kill()
    count = attacks.outcome(attacker)
    assert node.process.poll() is None
    if not is_sanitized(node):
        assert resident(node) < MEMORY
    assert node.log().count("\n") - lines < 20, "an attacker fills the log"
    return count


def test_every_attack_is_here():
    assert sorted(CUT_OFF + BOUNDED + ["none"]) == sorted(attacks.ATTACKS)


@pytest.mark.parametrize("name", CUT_OFF)
def test_attackers_are_cut_off(node, name):
    assert attack(node, name, seconds=4 if name in ("10,000 connections", "slow loris") else SECONDS).get("cut off", 0) > 0


@pytest.mark.parametrize("name", BOUNDED)
def test_attackers_are_bounded(node, name):
    count = attack(node, name)
    assert not count.get("not taken"), count
    if name == "bad messages":
        assert set(count) == {"status 3"}


def test_tokens_that_are_guessed(make_node):
    """None of them is let in, and who has one is served as before."""
    node = make_node(authenticated=True).start()
    count = attack(node, "bad tokens", authorization=f"Bearer {node.token}")
    count.pop("connections", None)
    assert count.pop(f"status {UNAUTHENTICATED}", 0) > 0
    assert set(count) <= {f"status {RESOURCE_EXHAUSTED}", "cut off"}, count


def open_all(node, wanted, source):
    """So many connections; stops at the first that is refused, and returns with it how."""
    held = []
    for _ in range(wanted):
        c = Connection(node.address, source=source, seconds=CALL_SECONDS, preface=False)
        try:
            c.send(attacks.GREETING)
            c.ping()
        except Closed:
            return held, c
        held.append(c)
    return held, None


def close_all(connections):
    for c in connections:
        c.socket.close()


def test_connections_of_one_address_leave_room_for_others(make_node):
    node = make_node(max_connections=8).start()
    held, refused = open_all(node, 9, ATTACKER)
    assert len(held) == 6, "three quarters"
    others, refused = open_all(node, 3, NEIGHBOUR)
    assert len(others) == 2 and refused
    assert others[0].call("GetStatus").grpc_status == OK
    assert node.log().count("is refused") == 1, "one line in ten seconds"
    assert f"of the client {ATTACKER}:" in node.log() and "its address has 6" in node.log()
    close_all(held + others)
    deadline = time.monotonic() + CALL_SECONDS
    while True:  # once the node has seen that they are closed
        held, refused = open_all(node, 6, NEIGHBOUR)
        close_all(held)
        if not refused:
            break
        assert time.monotonic() < deadline


def test_a_client_of_grpc_hears_at_once_that_it_is_refused(make_node, pb):
    """And does not try again and again until its deadline, as it would after a GOAWAY."""
    node = make_node(max_connections_per_address=1).start()
    with Connection(node.address, source="127.0.0.1") as first:
        first.ping()
        begun = time.monotonic()
        with pytest.raises(grpc.RpcError) as caught:
            node.stub.GetStatus(pb.GetStatusRequest(), timeout=CALL_SECONDS)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert time.monotonic() - begun < CALL_SECONDS / 2
        assert first.call("GetStatus").grpc_status == OK


def begin_waits(c, node, pb, count, task_id, first=1):
    body = message(pb.WaitTaskRequest(task_id=task_id).SerializeToString())
    block = attacks.plain_block("WaitTask", x_pad="x" * 100)
    for i in range(count):
        c.send(frame(HEADERS, END_HEADERS, first + 2 * i, block) + frame(0, END_STREAM, first + 2 * i, body))
    c.ping()


@pytest.fixture
def small_node(make_node):
    """One with little memory for clients: 1 MiB for each address, connections aside."""
    return make_node(client_memory="4M", max_concurrent_tasks=1).start()


def test_calls_of_one_address_leave_room_for_others(small_node, pb):
    node = small_node
    task_id = node.submit("import time; time.sleep(1000)")
    with Connection(node.address, source=ATTACKER) as c, Connection(node.address, source=NEIGHBOUR) as other:
        begin_waits(c, node, pb, 990, task_id)
        refused = [r for r in c.responses.values() if r.over]
        assert refused, "990 waits with their headers are more than 1 MiB"
        assert all(r.grpc_status == RESOURCE_EXHAUSTED for r in refused)
        assert all(0 < int(r.headers["grpc-retry-pushback-ms"]) < 5000 for r in refused)
        assert c.call("GetStatus", stream=2001).grpc_status == RESOURCE_EXHAUSTED
        assert c.call(HEALTH, stream=2003).grpc_status == OK
        assert other.call("GetStatus").grpc_status == OK
        begin_waits(other, node, pb, 10, task_id, first=3)
        assert not [s for s, r in other.responses.items() if r.over and s > 1]
    deadline = time.monotonic() + CALL_SECONDS
    with Connection(node.address, source=ATTACKER) as c:
        stream = 1
        while c.call("GetStatus", stream=stream).grpc_status != OK:
            stream += 2
            assert time.monotonic() < deadline, "the memory does not come back"
    node.stop_task(task_id)


def test_health_is_answered_when_nothing_else_is(small_node, pb):
    """The whole budget is in use, by several addresses together."""
    node = small_node
    task_id = node.submit("import time; time.sleep(1000)")
    with contextlib.ExitStack() as stack:
        for i in range(4):
            begin_waits(stack.enter_context(Connection(node.address, source=f"127.0.0.{70 + i}")), node, pb, 990, task_id)
        newcomer = stack.enter_context(Connection(node.address, source=NEIGHBOUR))
        assert newcomer.call("GetStatus").grpc_status == RESOURCE_EXHAUSTED
        for i in range(20):
            assert newcomer.call(HEALTH, stream=2 * i + 3).grpc_status == OK
    node.stop_task(task_id)


def test_half_sent_requests_leave_room_for_others(small_node):
    node, body = small_node, message(b"x" * 50_000, length=60_000)
    with Connection(node.address, source=ATTACKER) as c, Connection(node.address, source=NEIGHBOUR) as other:
        for stream in range(1, 161, 2):
            c.send_headers(stream, grpc_headers("ExecuteTask"))
            for i in range(0, len(body), 16000):
                c.send_data(stream, body[i:i + 16000], 0)
            c.ping()
        refused = {r.grpc_status for r in c.responses.values() if r.over}
        assert refused == {RESOURCE_EXHAUSTED}
        other.send_headers(1, grpc_headers("GetTask"))
        other.send_data(1, message(b"\x0a\x04none"))
        assert other.response().grpc_status == 5  # NOT_FOUND: it was looked at


@pytest.fixture(scope="module")
def secure(programs_for_all, stubs, folder):
    from conftest import Maker
    path = folder / "attacked-tls"
    subprocess.run([programs_for_all.cli, "tls", "init", "--dir", path], check=True, capture_output=True)
    maker = Maker(programs_for_all, stubs, folder)
    node = maker(tls_cert=path / "node.crt", tls_key=path / "node.key").start()
    node.tls = ssl.create_default_context(cafile=path / "ca.crt")
    node.tls.set_alpn_protocols(["h2"])
    yield node
    maker.close()


@pytest.mark.parametrize("name", attacks.TLS_ATTACKS)
def test_handshakes_that_stop_halfway_are_bounded(secure, name):
    count = attack(secure, name, secure.tls, seconds=3)
    assert count["cut off"] > 0
    assert count["held"] <= 256


def test_the_table_of_attacks_is_true():
    """What SECURITY.md says about where each attack is tried."""
    root = pathlib.Path(__file__).resolve().parents[2]
    table = (root / "SECURITY.md").read_text(encoding="utf-8").partition("## Attacks tried")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| ---")][1:]
    assert len(rows) > 40
    for line in rows:
        places = [part for part in line.split("`") if part.startswith("tests/")]
        assert places, f"no test: {line}"
        for place in places:
            path, _, name = place.partition("::")
            assert not name or f"def {name}(" in (root / path).read_text(encoding="utf-8"), place
            assert (root / path).is_file(), place
