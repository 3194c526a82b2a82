# SPDX-License-Identifier: Apache-2.0
"""What a daemon sees of the world, changed from outside while it runs: see shim.c."""
import mmap
import os
import pathlib
import struct
import subprocess
import time

SOURCE = pathlib.Path(__file__).with_name("shim.c")


class Shim:
    def __init__(self, folder):
        folder.mkdir(exist_ok=True)
        self.library, orders = folder / "shim.so", folder / "orders"
        command = ["cc", "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-o", str(self.library), str(SOURCE)]
        subprocess.run(command, check=True)
        orders.write_bytes(bytes(16))
        with open(orders, "r+b") as f:
            self.orders = mmap.mmap(f.fileno(), 16)
        self.environment = {"LD_PRELOAD": str(self.library), "HARNESS_SHIM": str(orders)}

    def put_under(self, node):
        """From the node's next start on."""
        options = os.environ.get("ASAN_OPTIONS", "")
        node.extra_environment.update(self.environment, ASAN_OPTIONS=f"{options}:verify_asan_link_order=0".strip(":"))
        return node

    def set_clock(self, seconds):
        """So much ahead, or behind if it is negative."""
        self.orders[:8] = struct.pack("q", int(seconds))

    def now_us(self):
        return int((time.time() + struct.unpack("q", self.orders[:8])[0]) * 1e6)

    def fail_writes(self, code):
        """All with this errno; 0: none."""
        self.orders[8:] = struct.pack("q", code)
