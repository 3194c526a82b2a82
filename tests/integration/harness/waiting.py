# SPDX-License-Identifier: Apache-2.0
"""For what nobody tells of: it is looked at again and again, with a deadline."""
import time


def wait_until(condition, what=None, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}" if what else f"not so within {seconds} s"
        time.sleep(0.01)
