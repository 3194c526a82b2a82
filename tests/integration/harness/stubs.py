# SPDX-License-Identifier: Apache-2.0
"""Client stubs, generated at the start of a test run by Debian's protoc, as a user of the node would."""
import importlib
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
PLUGIN = "/usr/bin/grpc_python_plugin"


def _protoc(include, out, *names):
    subprocess.run(
        ["protoc", f"-I{include}", f"--python_out={out}", f"--grpc_out={out}",
         f"--plugin=protoc-gen-grpc={PLUGIN}", *names],
        check=True, timeout=60)


class Stubs:
    """The generated modules. `folder` can go into PYTHONPATH of a client script."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        # The import path of the reference client: taskworker.protos.taskworker_pb2.
        source = self.folder / "source"
        package = source / "taskworker" / "protos"
        package.mkdir(parents=True)
        shutil.copy(ROOT / "proto" / "taskworker.proto", package)
        _protoc(source, self.folder, "taskworker/protos/taskworker.proto")
        own = pathlib.Path(__file__).resolve().parents[1] / "protos"
        _protoc(own, self.folder, *(p.name for p in sorted(own.glob("*.proto"))))
        sys.path.insert(0, str(self.folder))
        self.pb = importlib.import_module("taskworker.protos.taskworker_pb2")
        self.grpc = importlib.import_module("taskworker.protos.taskworker_pb2_grpc")
        self.health = importlib.import_module("health_pb2")
        self.health_grpc = importlib.import_module("health_pb2_grpc")

    def reflection(self, version):
        return (importlib.import_module(f"reflection_{version}_pb2"),
                importlib.import_module(f"reflection_{version}_pb2_grpc"))
