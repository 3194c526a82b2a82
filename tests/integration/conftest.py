# SPDX-License-Identifier: Apache-2.0
"""Fixtures. The daemon is the real one from a build folder: --build DIR or HIVEMIND_BUILD, else build-asan."""
import faulthandler
import itertools
import os
import pathlib
import pwd
import subprocess
import tempfile

import pytest

from harness import processes
from harness.node import Node, Programs
from harness.stubs import ROOT, Stubs

TEST_SECONDS = 240
ORDINARY_USER = "www-data"  # any account without rights will do; this one is on every Debian


def pytest_addoption(parser):
    parser.addoption("--build", default=os.environ.get("HIVEMIND_BUILD", str(ROOT / "build-asan")),
                     help="the build folder with the programs under test")
    parser.addoption("--authenticated", action="store_true",
                     help="nodes ask who calls, and the harness is their administrator (HIVEMIND_TEST_AUTH=1)")


def pytest_configure(config):
    if config.getoption("--authenticated"):
        os.environ["HIVEMIND_TEST_AUTH"] = "1"


def in_ci():
    return os.environ.get("CI", "") not in ("", "0", "false", "no")


def skip(reason):
    """What this machine cannot do is skipped aloud; in CI it is a failure."""
    if in_ci():
        pytest.fail(f"cannot run here, and CI may not skip it: {reason}")
    pytest.skip(reason)


def can_make_user_namespaces(user=None):
    extra = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    return subprocess.run(["unshare", "-Ur", "true"], capture_output=True, cwd="/", **extra).returncode == 0


@pytest.fixture(autouse=True)
def no_test_hangs():
    """Every wait has a deadline of its own; this is for the one that was forgotten."""
    faulthandler.dump_traceback_later(int(os.environ.get("TEST_SECONDS", TEST_SECONDS)), exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="session", autouse=True)
def subreaper():
    processes.become_subreaper()


@pytest.fixture(scope="session")
def programs(pytestconfig):
    found = Programs(pytestconfig.getoption("--build"))
    missing = found.missing()
    if missing:
        pytest.exit(f"not built: {' '.join(missing)}; see scripts/test --help", returncode=3)
    return found


@pytest.fixture(scope="session")
def folder():
    """A temporary folder that every user can enter (pytest's own is for one user only)."""
    with tempfile.TemporaryDirectory(prefix="hivemind-test-") as path:
        os.chmod(path, 0o755)
        yield pathlib.Path(path)


@pytest.fixture(scope="session")
def stubs(folder):
    (folder / "stubs").mkdir()
    return Stubs(folder / "stubs")


@pytest.fixture(scope="session")
def pb(stubs):
    return stubs.pb


@pytest.fixture(scope="session")
def programs_for_all(programs, folder):
    """The programs where an ordinary user can reach them too."""
    return programs if programs.reachable_by_others() else programs.copied_to(folder)


numbers = itertools.count()


class Maker:
    def __init__(self, programs, stubs, folder):
        self.programs, self.stubs, self.folder, self.nodes = programs, stubs, folder, []

    def __call__(self, **settings):
        """A node that is not started yet."""
        node = Node(self.programs, self.stubs, self.folder / f"node{next(numbers)}", **settings)
        self.nodes.append(node)
        return node

    def close(self):
        errors = []
        for node in self.nodes:
            try:
                node.close()
            except BaseException as error:  # the others are ended all the same
                errors.append(error)
        if errors:
            raise errors[0]


@pytest.fixture
def make_node(programs_for_all, stubs, folder):
    """Makes nodes of a test's own; all of them are ended and examined after the test."""
    maker = Maker(programs_for_all, stubs, folder)
    yield maker
    maker.close()


@pytest.fixture
def guarded(make_node, pb, stubs):
    """A node with ann (a submitter) and vic (a viewer), who have passwords."""
    node = make_node(authenticated=True, web=True, web_port=0).start()
    accounts = stubs.grpc.AccountServiceStub(node.channel)
    for name, role in (("ann", pb.User.SUBMITTER), ("bob", pb.User.SUBMITTER), ("vic", pb.User.VIEWER)):
        accounts.AddUser(pb.AddUserRequest(name=name, role=role))
        accounts.SetPassword(pb.SetPasswordRequest(user=name, new_password=f"password of {name}"))
    return node


@pytest.fixture
def open_node(make_node):
    return make_node(authenticated=False, web=True, web_port=0).start()


@pytest.fixture(scope="module")
def module_maker(programs_for_all, stubs, folder):
    """Makes nodes that all tests of a module share."""
    maker = Maker(programs_for_all, stubs, folder)
    yield maker
    maker.close()


@pytest.fixture(scope="module")
def node(programs_for_all, stubs, folder):
    """One running node with defaults for all tests of a module that leave it as it was."""
    maker = Maker(programs_for_all, stubs, folder)
    yield maker().start()
    maker.close()


CELLS = ["root-warm", "root-cold", "user-warm", "user-cold"]


@pytest.fixture(scope="module", params=CELLS)
def cell_node(request, programs_for_all, stubs, folder):
    """One node for all attacks of a module: as root and as an ordinary user, with the warm interpreter and without it."""
    who, interpreter = request.param.split("-")
    user = request.getfixturevalue("ordinary_user" if who == "user" else "root")
    maker = Maker(programs_for_all, stubs, folder)
    node = maker(user=user, python_warm="on" if interpreter == "warm" else "off", max_concurrent_tasks=2,
                 max_log_size="1M", max_result_size="1M")
    node.kind = request.param
    yield node.start()
    maker.close()


@pytest.fixture
def cell(cell_node, pb):
    """The node above; after each attack it must be as well as before."""
    warnings = list(cell_node.status().warnings)
    yield cell_node
    for _ in range(2):
        task, result = cell_node.run("result = 6 * 7", timeout_ms=30_000)
        assert (task.state, result) == (pb.Task.COMPLETED, b"42"), task.message
    task, result = cell_node.run("echo well", task_type="shell", timeout_ms=30_000)
    assert (task.state, result) == (pb.Task.COMPLETED, b"well\n"), task.message
    status = cell_node.status()
    assert (status.running_tasks, status.queued_tasks, list(status.warnings)) == (0, 0, warnings)


@pytest.fixture(scope="session")
def ordinary_user():
    """The uid of a user without rights, to run a daemon as. None: we are such a user ourselves."""
    if os.geteuid() != 0:
        if not can_make_user_namespaces():
            skip("no user namespaces for this user")
        return None
    try:
        user = pwd.getpwnam(ORDINARY_USER).pw_uid
    except KeyError:
        skip(f"there is no user {ORDINARY_USER}")
    if not can_make_user_namespaces(user):
        skip("no user namespaces for ordinary users (kernel.unprivileged_userns_clone, user.max_user_namespaces)")
    return user


@pytest.fixture(scope="session")
def root():
    if os.geteuid() != 0:
        skip("needs root")
