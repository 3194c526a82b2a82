# SPDX-License-Identifier: Apache-2.0
"""TLS of a real node with clients of other makes: grpcio, openssl, and the command line."""
import itertools
import json
import os
import select
import signal
import socket
import ssl
import stat
import struct
import subprocess
import threading
import time

import grpc
import pytest

from harness.node import CALL_SECONDS, CHANNEL_OPTIONS, StartError
from harness.wire import PING, SETTINGS, WINDOW_UPDATE, Closed, Connection, frame, grpc_headers, message

numbers = itertools.count()


class Certificates:
    """A folder that `hivemind tls` has filled."""

    def __init__(self, cli, folder):
        self.cli, self.path = cli, folder / f"tls{next(numbers)}"
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("HIVEMIND_")}

    def run(self, *arguments, code=0):
        done = subprocess.run([self.cli, "tls", *arguments, "--dir", self.path], capture_output=True, text=True,
                              timeout=CALL_SECONDS, env=self.environment)
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    def init(self, *arguments):
        self.told = self.run("init", *arguments)
        return self

    def client(self, name):
        self.run("client", name)
        return self.path / f"client-{name}.crt", self.path / f"client-{name}.key"

    def read(self, name):
        return (self.path / name).read_bytes()

    @property
    def pin(self):
        return json.loads(self.run("show", "--json", self.path / "node.crt"))["pin"]

    @property
    def settings(self):
        return {"tls_cert": self.path / "node.crt", "tls_key": self.path / "node.key"}


@pytest.fixture
def certificates(programs_for_all, folder):
    return lambda: Certificates(programs_for_all.cli, folder)


def stub_of(node, certs, client=None, host="127.0.0.1"):
    """Of grpcio, which verifies the chain and the name."""
    pair = [path.read_bytes() for path in client] if client else (None, None)
    credentials = grpc.ssl_channel_credentials(certs.read("ca.crt"), pair[1], pair[0])
    channel = grpc.secure_channel(f"{host}:{node.port}", credentials, options=CHANNEL_OPTIONS)
    node.channels.append(channel)
    # A certificate says who it is, where the node asks in this test alone.
    return node.stubs.grpc.TaskWorkerServiceStub(node.with_token(channel) if node.as_a_whole else channel)


def status_of(stub, pb):
    return stub.GetStatus(pb.GetStatusRequest(), timeout=CALL_SECONDS)


def refused(call, *words):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE, caught.value
    for word in words:
        assert word in caught.value.details(), caught.value.details()


def cli(node, *arguments, server=None, environment=None):
    return subprocess.run([node.programs.cli, "--server", server or f"tls://127.0.0.1:{node.port}", *arguments],
                          capture_output=True, text=True, timeout=60, env={**node.environment(), **(environment or {})})


def wait_for_log(node, words, count=1, seconds=30):
    deadline = time.monotonic() + seconds
    while node.log().count(words) < count:
        assert time.monotonic() < deadline, node.log()
        select.select([], [], [], 0.01)


# --- who gets in ---


def test_grpcio_and_the_command_line(make_node, certificates, pb):
    certs = certificates().init()
    node = make_node(**certs.settings).start()
    assert " with TLS as " in node.log() and f"with the pin {certs.pin}" in node.log()
    for host in ("127.0.0.1", "localhost"):
        assert status_of(stub_of(node, certs, host=host), pb).state == pb.GetStatusResponse.SERVING
    stub = stub_of(node, certs)
    done = stub.ExecuteTask(pb.ExecuteTaskRequest(task_type="python", task_data=b"result = 6 * 7"), timeout=CALL_SECONDS)
    answer = stub.WaitTask(pb.WaitTaskRequest(task_id=done.task_id, include_result=True), timeout=60)
    assert answer.result == b"42"
    ca = ["--ca", str(certs.path / "ca.crt")]
    assert cli(node, *ca, "result", done.task_id).stdout == "42"
    assert cli(node, *ca, "result", done.task_id, server=f"localhost:{node.port}").stdout == "42"
    assert cli(node, "--pin", certs.pin, "result", done.task_id).stdout == "42"
    assert cli(node, "result", done.task_id, environment={"HIVEMIND_CA": ca[1]}).stdout == "42"


def test_the_command_line_believes_nobody_else(make_node, certificates):
    certs, others = certificates().init(), certificates().init()
    node = make_node(**certs.settings).start()
    for arguments, words in ((), "is not signed by any CA that this machine trusts"), \
            (("--ca", others.path / "ca.crt"), f"is not signed by the CA in {others.path}/ca.crt"), \
            (("--pin", others.pin), "has another pin"):
        done = cli(node, *map(str, arguments), "status")
        assert done.returncode == 125 and words in done.stderr, done
    assert f"--pin {certs.pin}" in cli(node, "status").stderr
    done = cli(node, "--ca", "/nowhere", "status")
    assert done.returncode == 2 and "cannot read the certificate file /nowhere" in done.stderr
    done = cli(node, "status", server=node.address)
    assert done.returncode == 125 and "takes TLS only" in done.stderr
    wait_for_log(node, "no connection with the client 127.0.0.1:")
    assert node.log().count("no connection with the client") < 5  # however many came


def test_a_node_without_tls_says_so(node):
    done = cli(node, "--tls", "status")
    assert done.returncode == 125 and "does not speak TLS" in done.stderr, done
    wait_for_log(node, "it speaks TLS, and this port does not")


def test_client_certificates(make_node, certificates, pb):
    certs, others = certificates().init(), certificates().init()
    alice, mallory = certs.client("alice"), others.client("alice")
    node = make_node(tls_client_ca=certs.path / "ca.crt", tls_client_auth="required", **certs.settings).start()
    assert status_of(stub_of(node, certs, alice), pb).state == pb.GetStatusResponse.SERVING
    refused(lambda: status_of(stub_of(node, certs), pb))
    refused(lambda: status_of(stub_of(node, certs, mallory), pb))
    ca = ("--ca", str(certs.path / "ca.crt"))
    assert cli(node, *ca, "--cert", str(alice[0]), "--key", str(alice[1]), "status").returncode == 0
    done = cli(node, *ca, "status")
    assert done.returncode == 125 and "wants to see a certificate of this client" in done.stderr
    done = cli(node, *ca, "--cert", str(mallory[0]), "--key", str(mallory[1]), "status")
    assert done.returncode == 125 and "does not know the CA that has signed this client's certificate" in done.stderr
    done = cli(node, *ca, "--cert", str(alice[0]), "status")
    assert done.returncode == 2 and "the key is missing" in done.stderr


def test_other_machines_may_come_with_tls(make_node, certificates, pb):
    certs = certificates().init()
    alice, admin = certs.client("alice"), certs.client("admin")
    for settings in ({}, {"tls_client_ca": certs.path / "ca.crt", "tls_client_auth": "required"}):
        with pytest.raises(StartError) as caught:
            make_node(grpc_host="0.0.0.0", dev=True, **certs.settings, **settings).start()
        assert caught.value.returncode == 2 and "no authentication" in caught.value.log
        node = make_node(grpc_host="0.0.0.0", authenticated=True, **certs.settings, **settings).start()
        assert "INSECURE" not in node.log()
        if not settings:
            node.stop()
    assert status_of(stub_of(node, certs, admin), pb).state == pb.GetStatusResponse.SERVING
    with pytest.raises(grpc.RpcError) as caught:
        status_of(stub_of(node, certs, alice), pb)
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


# --- files ---


def test_what_init_makes(certificates):
    certs = certificates().init("--host", "node7.example", "--host", "10.0.0.7")
    for name in ("ca.key", "node.key"):
        assert stat.S_IMODE((certs.path / name).stat().st_mode) == 0o600
    assert f"TLS_CERT='{certs.path}/node.crt'\n" in certs.told and "--pin sha256:" in certs.told
    shown = json.loads(certs.run("show", "--json", certs.path / "node.crt"))
    for host in ("node7.example", "10.0.0.7", "localhost", "127.0.0.1", "::1"):
        assert host in shown["hosts"].split(", ")
    first = {name: certs.read(name) for name in ("ca.crt", "ca.key", "node.crt", "node.key")}
    assert "--force" in certs.run("init", code=2)
    assert {name: certs.read(name) for name in first} == first
    certs.init("--force")
    assert certs.read("ca.crt") == first["ca.crt"] and certs.read("node.crt") != first["node.crt"]
    verified = subprocess.run(["openssl", "verify", "-purpose", "sslserver", "-CAfile", certs.path / "ca.crt",
                               certs.path / "node.crt"], capture_output=True, text=True)
    assert verified.returncode == 0, verified.stderr
    for bad in ("a b", "-x", "a..b", "1.2.3", "10.0.0.1:50053"):
        assert "has to be the name of a host" in certs.run("init", f"--host={bad}", "--force", code=2)
    for bad in ("../alice", "a/b", ".hidden", "a" * 65):
        assert "cannot be the name of a client" in certs.run("client", bad, code=2)


def test_what_init_prints_works(make_node, certificates):
    """Its lines as the node's configuration, and its commands but for the port."""
    certs = certificates().init()
    lines = [line for line in certs.told.splitlines() if line.startswith("TLS_")]
    assert len(lines) == 4
    config = certs.path / "worker.conf"
    config.write_text("\n".join(lines[:2]) + "\n")
    node = make_node(config=config).start()
    commands = [line.strip() for line in certs.told.splitlines() if line.startswith("  hivemind ")]
    assert len(commands) == 2
    for command in commands:
        host = command.split("tls://")[1].split(":50053")[0]
        command = command.replace(f"{host}:50053", node.address).replace("hivemind", str(node.programs.cli), 1)
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, env=node.environment())
        assert done.returncode == 0, done
    node.stop()
    told = certs.run("client", "alice")
    config.write_text("\n".join(lines) + "\n")
    node.start()
    command = told.splitlines()[-1].strip().replace("HOST:50053", node.address)
    command = command.replace("hivemind", str(node.programs.cli), 1)
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, env=node.environment())
    assert done.returncode == 0, done


def test_files_that_will_not_do(make_node, certificates):
    certs, others = certificates().init(), certificates().init()
    key = certs.path / "node.key"
    key.chmod(0o644)
    with pytest.raises(StartError) as caught:
        make_node(**certs.settings).start()
    assert caught.value.returncode == 1 and f"key file {key} (mode 644): chmod 600 it" in caught.value.log
    for settings, words in (({"tls_key": others.path / "node.key"}, "is not that of the first certificate"),
                            ({"tls_cert": "/dev/null"}, "is not a file"),
                            ({"tls_cert": certs.path / "node.key.pub"}, "No such file")):
        with pytest.raises(StartError) as caught:
            make_node(**{**certificates().init().settings, **settings}).start()
        assert caught.value.returncode == 1 and words in caught.value.log


def test_new_files_while_a_stream_runs(make_node, certificates, pb):
    certs = certificates().init()
    node = make_node(**certs.settings).start()
    stub, old_pin = stub_of(node, certs), certs.pin
    task = stub.ExecuteTask(pb.ExecuteTaskRequest(task_type="shell", task_data=b"echo one; sleep 1000"),
                            timeout=CALL_SECONDS).task_id
    stream = stub.StreamLogs(pb.StreamLogsRequest(task_id=task, follow=True), timeout=60)
    assert next(stream).data == b"one\n"
    # A bad certificate changes nothing.
    good = certs.read("node.crt")
    (certs.path / "node.crt").write_text("nothing\n")
    node.signal(signal.SIGHUP)
    wait_for_log(node, "reload: TLS stays as it was: there is no certificate in")
    assert cli(node, "--pin", old_pin, "status").returncode == 0
    (certs.path / "node.crt").write_bytes(good)
    certs.init("--force")
    assert certs.pin != old_pin
    node.signal(signal.SIGHUP)
    wait_for_log(node, "reload: the files of TLS were read again")
    assert cli(node, "--pin", certs.pin, "status").returncode == 0
    assert "has another pin" in cli(node, "--pin", old_pin, "status").stderr
    # The stream has not noticed, nor has its connection.
    assert stub.StopTask(pb.StopTaskRequest(task_id=task), timeout=CALL_SECONDS).task.task_id == task
    assert b"".join(chunk.data for chunk in stream) == b""
    # New connections of a client that holds the CA need nothing new.
    assert status_of(stub_of(node, certs), pb).state == pb.GetStatusResponse.SERVING


# --- hostile and mistaken clients ---


def s_client(node, *arguments):
    return subprocess.run(["openssl", "s_client", "-connect", node.address, *arguments], input="", capture_output=True,
                          text=True, errors="replace", timeout=CALL_SECONDS)


@pytest.fixture(scope="module")
def tls_node(programs_for_all, stubs, folder):
    from conftest import Maker
    certs = Certificates(programs_for_all.cli, folder).init()
    maker = Maker(programs_for_all, stubs, folder)
    node = maker(**certs.settings).start()
    node.certs = certs
    yield node
    maker.close()


def test_old_versions_and_other_protocols_are_refused(tls_node):
    for arguments in (("-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"), ("-tls1", "-cipher", "DEFAULT@SECLEVEL=0")):
        done = s_client(tls_node, "-alpn", "h2", *arguments)
        assert "alert protocol version" in done.stderr, done
    for arguments in ((), ("-alpn", "http/1.1")):
        assert "alert no application protocol" in s_client(tls_node, *arguments).stderr
    for cipher in ("AES128-SHA", "ECDHE-ECDSA-AES128-SHA"):
        assert "alert handshake failure" in s_client(tls_node, "-tls1_2", "-alpn", "h2", "-cipher", cipher).stderr
    for version in ("-tls1_2", "-tls1_3"):
        done = s_client(tls_node, "-alpn", "h2", version)
        assert "ALPN protocol: h2" in done.stdout and "Compression: NONE" in done.stdout, done
        assert "New Session Ticket" not in done.stdout


def test_plain_text_is_answered_and_closed(tls_node):
    def say(data):
        with socket.create_connection(("127.0.0.1", tls_node.port), timeout=CALL_SECONDS) as s:
            s.sendall(data)
            answer = b""
            while piece := s.recv(65536):
                answer += piece
            return answer
    assert say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert say(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == b"\x15\x03\x03\0\2\2\x46"  # alert: protocol_version
    assert say(b"\0" * 1000) == b""
    say(b"\x16\x03\x01\x00\x05hello")
    channel = grpc.insecure_channel(tls_node.address, options=CHANNEL_OPTIONS)
    stub = tls_node.stubs.grpc.TaskWorkerServiceStub(channel)
    refused(lambda: status_of(stub, tls_node.stubs.pb))
    channel.close()


def test_many_that_stop_halfway_hinder_nobody(tls_node, pb):
    """Connections that begin a handshake and go silent, and some that break off."""
    stuck = []
    for i in range(200):
        s = socket.create_connection(("127.0.0.1", tls_node.port), timeout=CALL_SECONDS)
        s.sendall(b"\x16\x03\x01\x02\x00\x01"[: 1 + i % 6])
        if i % 2:
            s.close()
        else:
            stuck.append(s)
    assert status_of(stub_of(tls_node, tls_node.certs), pb).state == pb.GetStatusResponse.SERVING
    for s in stuck:
        assert s.recv(100) in (b"",)  # 10 s at most, and no reset
        s.close()


def wire_to(node):
    context = ssl.create_default_context(cafile=node.certs.path / "ca.crt")
    context.set_alpn_protocols(["h2"])
    return Connection(node.address, tls=context)


def resident(node):
    with open(f"/proc/{node.process.pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) * 1024


def test_a_client_that_never_reads_costs_little(tls_node, pb):
    """A log of many MB waits in the task's file, and answers to floods are not gathered without an end."""
    stub = stub_of(tls_node, tls_node.certs)
    task = stub.ExecuteTask(pb.ExecuteTaskRequest(
        task_type="python", task_data=b"import sys\nfor i in range(30): sys.stdout.write('x' * 1000000)"),
        timeout=CALL_SECONDS).task_id
    stub.WaitTask(pb.WaitTaskRequest(task_id=task), timeout=60)
    before = resident(tls_node)
    with wire_to(tls_node) as c:
        c.send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 2**31 - 1 - 65535)))
        c.send(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2**31 - 1)))  # all window at once
        c.ping()
        c.send_headers(1, grpc_headers("StreamLogs"))
        c.send_data(1, message(pb.StreamLogsRequest(task_id=task).SerializeToString()))
        for _ in range(20):
            assert status_of(stub, pb).state == pb.GetStatusResponse.SERVING
        assert resident(tls_node) - before < 24 * 1024 * 1024
    with wire_to(tls_node) as c:
        c.socket.settimeout(5)
        try:
            for _ in range(200):
                c.send(frame(PING, 0, 0, b"12345678") * 1000)
        except (Closed, TimeoutError):
            pass
        assert status_of(stub, pb).state == pb.GetStatusResponse.SERVING
    assert resident(tls_node) - before < 32 * 1024 * 1024


def test_cut_off_in_the_middle(tls_node, pb):
    """Resets within records and within answers."""
    for cut in (1, 7, 100, 1000):
        with wire_to(tls_node) as c:
            c.send_headers(1, grpc_headers("GetStatus"))
            raw = socket.socket(fileno=os.dup(c.socket.fileno()))
            raw.sendall(b"\x17\x03\x03\x40\x00" + b"x" * cut)  # a record that does not end
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raw.close()
    assert status_of(stub_of(tls_node, tls_node.certs), pb).state == pb.GetStatusResponse.SERVING


def test_large_and_many(tls_node, pb):
    stub, size, failed = stub_of(tls_node, tls_node.certs), 8_000_000, []

    def one(i):
        try:
            task = stub.ExecuteTask(pb.ExecuteTaskRequest(
                task_type="python", task_data=b"#" * size + b"\nresult = 'x' * %d" % size), timeout=60).task_id
            answer = stub.WaitTask(pb.WaitTaskRequest(task_id=task, include_result=True), timeout=120)
            assert answer.result == b'"' + b"x" * size + b'"', (answer.task, len(answer.result))
        except BaseException as error:
            failed.append((i, error))
    threads = [threading.Thread(target=one, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
