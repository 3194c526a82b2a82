# SPDX-License-Identifier: Apache-2.0
"""A real hivemind-worker, started, watched, ended and examined."""
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import stat
import subprocess
import time

import grpc

from . import processes, wire

READY_SECONDS = 30
END_SECONDS = 30
CALL_SECONDS = 30
CHANNEL_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1),
                   # Otherwise channels to the same address share a connection, and its back-off after a kill.
                   ("grpc.use_local_subchannel_pool", 1),
                   ("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 500)]
SANITIZER_WORDS = re.compile(
    r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|UndefinedBehaviorSanitizer|runtime error:")


def free_port():
    """A port below the ephemeral range, so that no outgoing connection takes it before the daemon does."""
    for _ in range(1000):
        port = 20000 + int.from_bytes(os.urandom(2), "little") % 12000
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port between 20000 and 32000")


class Programs:
    """Where the built programs are."""

    def __init__(self, build):
        self.build = pathlib.Path(build).resolve()
        self.worker = self.build / "src" / "node" / "hivemind-worker"
        self.cli = self.build / "src" / "cli" / "hivemind"
        self.libexec = self.build / "src" / "slot"

    def missing(self):
        wanted = [self.worker, self.cli, self.libexec / "hivemind-launcher", self.libexec / "hivemind-slot"]
        return [str(p) for p in wanted if not os.access(p, os.X_OK)]

    def reachable_by_others(self):
        return all(p.stat().st_mode & stat.S_IXOTH for p in [self.libexec, *self.libexec.parents])

    def copied_to(self, folder):
        """The same programs in a folder that every user can reach, in the same layout (libraries are found by it)."""
        def unwanted(_, names):
            return [n for n in names if n.endswith((".p", ".o", ".a", ".c", ".h"))]
        target = pathlib.Path(folder) / "build"
        shutil.copytree(self.build / "src", target / "src", ignore=unwanted)
        for path in [target, *target.rglob("*")]:
            path.chmod(path.stat().st_mode | 0o055)
        return Programs(target)


class StartError(Exception):
    """The daemon ended instead of becoming ready."""

    def __init__(self, returncode, log):
        super().__init__(f"hivemind-worker ended with {returncode} while starting:\n{log}")
        self.returncode, self.log = returncode, log


class Details(grpc.ClientCallDetails):
    def __init__(self, of, metadata):
        self.method, self.timeout, self.metadata = of.method, of.timeout, metadata
        self.credentials = of.credentials
        self.wait_for_ready, self.compression = of.wait_for_ready, of.compression


class WithToken(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor, grpc.StreamUnaryClientInterceptor,
                grpc.StreamStreamClientInterceptor):
    """Says in each call who calls, unless it says so itself."""

    def __init__(self, node):
        self.node = node

    def intercept(self, go_on, details, request):
        metadata = list(details.metadata or [])
        if self.node.token and not any(key == "authorization" for key, _ in metadata):
            metadata.append(("authorization", f"Bearer {self.node.token}"))
        return go_on(Details(details, metadata), request)

    intercept_unary_unary = intercept_unary_stream = intercept_stream_unary = intercept_stream_stream = intercept


class Node:
    """One daemon and its storage. It can be started again on the same storage after it has ended."""

    def __init__(self, programs, stubs, folder, user=None, authenticated=None, **settings):
        self.programs, self.stubs, self.user = programs, stubs, user
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(exist_ok=True)
        self.settings = dict(settings)
        self.as_a_whole = authenticated is None
        if authenticated is None:
            authenticated = os.environ.get("HIVEMIND_TEST_AUTH", "") not in ("", "0")
        self.authenticated = authenticated and not self.settings.get("dev")
        self.token = None  # of its administrator
        if not self.authenticated:
            self.settings.setdefault("dev", True)
        self.port = int(self.settings.pop("grpc_port", 0)) or free_port()
        self.storage = self.folder / "storage"
        self.tmp = self.folder / "tmp"
        self.tmp.mkdir(exist_ok=True)
        self.log_path = self.folder / "worker.log"
        self.extra_environment = {}
        self.prefix = []  # what starts the daemon and becomes it
        self.process = None
        self.orphans = None
        self.left_running = False  # tasks go on without the daemon
        self.channels = []
        self._channel = None
        self.messages = []
        if user is not None:
            os.chown(self.folder, user, user)
        # Root's daemon lowers itself to a user that is not known here.
        self.folder.chmod(0o755)
        self.tmp.chmod(0o1777)

    # --- starting ---

    def command(self):
        settings = {"grpc_host": "127.0.0.1", "grpc_port": self.port, "storage_path": self.storage,
                    "libexec_dir": self.programs.libexec, "package_index": "off", **self.settings}
        flags = []
        for name, value in settings.items():
            if value is None:
                continue
            flag = "--" + name.replace("_", "-")
            flags.append(flag if value is True else f"{flag}={value}")
        return [str(self.programs.worker), *flags]

    def environment(self):
        kept = ("PATH", "LANG", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS")
        environment = {k: os.environ[k] for k in kept if k in os.environ}
        environment["TMPDIR"] = str(self.tmp)
        if self.token:
            environment["HIVEMIND_TOKEN"] = self.token  # for the command line
        environment.update(self.extra_environment)
        return environment

    def popen(self, command, **kwargs):
        """A process of the node's user with the node's environment."""
        if self.user is not None:
            kwargs.update(user=self.user, group=self.user, extra_groups=[])
        return subprocess.Popen(command, env=self.environment(), cwd="/", **kwargs)

    def start(self, seconds=READY_SECONDS):
        """Starts the daemon and returns when it says that it is ready. Raises StartError when it ends instead."""
        assert self.process is None
        if not self.left_running:
            self.orphans = processes.Orphans()
            self.mounts_before, self.launchers = processes.mounts(), set()
        notify = self.folder / "notify"
        notify.unlink(missing_ok=True)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.notify.bind(str(notify))
        notify.chmod(0o777)
        self.extra_environment["NOTIFY_SOCKET"] = str(notify)
        self.started_at = time.monotonic()
        with open(self.log_path, "ab") as log:
            self.log_offset = log.tell()
            self.process = self.popen([*self.prefix, *self.command()], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                      start_new_session=True)
        try:
            self.wait_for_notice("READY=1", seconds)
        except StartError:
            self._after_end()
            raise
        if self.authenticated and self.token is None:
            self.token = self.first_token()
        if self.authenticated and self.as_a_whole:
            wire.tokens[self.address] = self.token
        self.left_running = False
        self.ready_after = time.monotonic() - self.started_at
        self.launchers |= processes.children(self.process.pid)
        return self

    @property
    def me(self):
        """As whom the harness calls: the owner of what it hands in."""
        return "admin" if self.authenticated else ""

    def first_token(self):
        """What a new node leaves for its administrator."""
        return (self.storage / "first-token").read_text().strip()

    def wait_for_notice(self, wanted, seconds=END_SECONDS):
        """Waits for a message of sd_notify's protocol that holds the line `wanted`."""
        deadline = time.monotonic() + seconds
        pidfd = os.pidfd_open(self.process.pid)
        try:
            while True:
                ready, _, _ = select.select([self.notify, pidfd], [], [], max(0, deadline - time.monotonic()))
                if self.notify in ready:
                    message = self.notify.recv(65536).decode()
                    self.messages.append(message)
                    if wanted in message.splitlines():
                        return message
                elif pidfd in ready:
                    raise StartError(self.process.wait(), self.log())
                else:
                    raise AssertionError(f"no {wanted} within {seconds} s; the daemon's log:\n{self.log()}")
        finally:
            os.close(pidfd)

    # --- talking ---

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def new_channel(self, options=()):
        channel = grpc.insecure_channel(self.address, options=[*CHANNEL_OPTIONS, *options])
        self.channels.append(channel)
        return self.with_token(channel)

    def with_token(self, channel):
        """The same channel; where the node asks, its calls say who calls."""
        return grpc.intercept_channel(channel, WithToken(self)) if self.authenticated else channel

    @property
    def channel(self):
        if self._channel is None:
            self._channel = self.new_channel()
        return self._channel

    @property
    def stub(self):
        return self.stubs.grpc.TaskWorkerServiceStub(self.channel)

    def submit(self, data, **fields):
        """ExecuteTask; the task is python unless said otherwise. Returns the id."""
        if isinstance(data, str):
            data = data.encode()
        fields.setdefault("task_type", "python")
        request = self.stubs.pb.ExecuteTaskRequest(task_data=data, **fields)
        response = self.stub.ExecuteTask(request, timeout=CALL_SECONDS)
        assert response.success, response.message
        return response.task_id

    def wait(self, task_id, seconds=60):
        """WaitTask with its result: (Task, result)."""
        request = self.stubs.pb.WaitTaskRequest(task_id=task_id, include_result=True)
        response = self.stub.WaitTask(request, timeout=seconds)
        return response.task, response.result

    def run(self, data, seconds=60, **fields):
        return self.wait(self.submit(data, **fields), seconds)

    def get_bare(self, task_id):
        """Without what only GetTask tells: what the task has asked for."""
        task = self.get(task_id)
        for field in ("limits", "network", "grace_ms", "gpus", "gpu_memory_bytes"):
            task.ClearField(field)
        return task

    def get(self, task_id):
        return self.stub.GetTask(self.stubs.pb.GetTaskRequest(task_id=task_id), timeout=CALL_SECONDS).task

    def status(self):
        return self.stub.GetStatus(self.stubs.pb.GetStatusRequest(), timeout=CALL_SECONDS)

    def stop_task(self, task_id, seconds=CALL_SECONDS):
        return self.stub.StopTask(self.stubs.pb.StopTaskRequest(task_id=task_id), timeout=seconds)

    def chunks(self, task_id, follow=False, offset=0, seconds=60):
        request = self.stubs.pb.StreamLogsRequest(task_id=task_id, follow=follow, offset=offset)
        return self.stub.StreamLogs(request, timeout=seconds)

    def output(self, task_id, stream=None):
        """What the task printed, all of it or one stream's."""
        return b"".join(c.data for c in self.chunks(task_id) if stream is None or c.stream == stream)

    def wait_for_output(self, task_id, wanted, seconds=60):
        """Follows the log until `wanted` has appeared: the event that a task has come to a certain place."""
        seen = b""
        call = self.chunks(task_id, follow=True, seconds=seconds)
        try:
            for chunk in call:
                seen += chunk.data
                if wanted in seen:
                    return seen
        finally:
            call.cancel()
        raise AssertionError(f"{task_id} ended without printing {wanted!r}, but {seen!r}")

    def run_cli(self, *arguments, input=None, seconds=60, server=True):
        """The command line tool against this node."""
        command = [str(self.programs.cli)]
        if server:
            command += ["--server", self.address]
        if isinstance(input, str):
            input = input.encode()
        return subprocess.run([*command, *map(str, arguments)], input=input, capture_output=True, timeout=seconds,
                              env=self.environment())

    # --- the log ---

    def log(self):
        """What this run of the daemon wrote to its standard error."""
        with open(self.log_path, "rb") as f:
            f.seek(self.log_offset)
            return f.read().decode("utf-8", "replace")

    def log_entries(self):
        entries = []
        for line in self.log().splitlines():
            try:
                entries.append(json.loads(line))
            except ValueError:
                continue
        return entries

    # --- ending ---

    def signal(self, number):
        self.process.send_signal(number)

    def wait_for_end(self, seconds=END_SECONDS):
        return self.process.wait(seconds)

    def stop(self, seconds=END_SECONDS):
        """SIGTERM, then everything that must hold after an orderly end."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            log = self.log()
            self._after_end()
            raise AssertionError(f"the daemon did not end within {seconds} s of SIGTERM; its log:\n{log}") from None
        log = self.log()
        self._after_end()
        assert code == 0, f"the daemon ended with {code}; its log:\n{log}"

    def detach(self, seconds=END_SECONDS):
        """SIGUSR2: the daemon ends, and running tasks go on. What must hold afterwards is looked at when the next one has ended."""
        self.process.send_signal(signal.SIGUSR2)
        self._close_channels()  # it would wait for a client to notice
        self.detached(seconds)

    def detached(self, seconds=END_SECONDS):
        """The daemon was told to end and to leave its tasks running."""
        code = self.process.wait(seconds)
        log = self.log()
        self.left_running = True
        self._after_end()
        assert code == 0, f"the daemon ended with {code}; its log:\n{log}"

    def wait_for_launchers(self, seconds=END_SECONDS):
        """Those that wait for another daemon give up."""
        for pid in self.launchers:
            assert processes.wait_for_exit(pid, seconds), f"launcher {pid} waits on"
        self.left_running = False
        self._check_left()

    def kill(self):
        """kill -9, then everything that must hold even then."""
        self.process.kill()
        self.process.wait()
        self._after_end()

    def kill_while_leaving(self, seconds):
        """SIGUSR2, and kill -9 so long after it: some tasks may have been left by then, and others not."""
        self.process.send_signal(signal.SIGUSR2)
        self._close_channels()
        time.sleep(seconds)
        self.process.kill()
        self.process.wait()
        self.left_running = True
        self._after_end()

    def start_and_kill(self, seconds):
        """A start that is killed so long after it began, maybe while it takes up what was left."""
        with open(self.log_path, "ab") as log:
            process = self.popen([*self.prefix, *self.command()], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                 start_new_session=True)
        time.sleep(seconds)
        self.launchers |= processes.children(process.pid)
        process.kill()
        process.wait()

    def close(self):
        """At the end of a test, in whatever state the node is."""
        try:
            if self.process is not None:
                if self.process.poll() is None and self.process.returncode is None:
                    self._close_channels()  # or it would wait for the client to notice
                    self.stop()
                else:
                    self._after_end()
            elif self.left_running:
                for pid in self.launchers:
                    processes.kill(pid)
                self.wait_for_launchers()
        finally:
            self._close_channels()

    def _close_channels(self):
        for channel in self.channels:
            channel.close()
        self.channels, self._channel = [], None

    def _after_end(self, killed_launcher=None):
        """
        The daemon has ended: nothing of it may be left, and no sanitizer may have spoken. A launcher that was killed itself
        leaves its control groups, empty, to the next one.
        """
        log = self.log()
        self.process = None
        self.notify.close()
        self._close_channels()
        if not self.left_running:
            self._check_left(killed_launcher)
        spoken = SANITIZER_WORDS.search(log)
        assert not spoken, f"a sanitizer reported:\n{log[max(0, spoken.start() - 2000):][:8000]}"

    def _check_left(self, killed_launcher=None):
        left = self.orphans.check()
        assert not left, f"processes are left: {left}"
        assert processes.mounts() <= self.mounts_before, "mounts are left"
        groups = processes.cgroups(self.launchers)
        of_killed = processes.cgroups([killed_launcher]) if killed_launcher else set()
        assert not groups - of_killed, f"cgroups are left: {groups - of_killed}"
        for group in of_killed:
            assert not processes.in_cgroup(group), f"processes are left in {group}"
        assert not list(self.tmp.iterdir()), f"temporary files are left: {list(self.tmp.iterdir())}"
