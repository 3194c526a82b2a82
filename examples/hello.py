# SPDX-License-Identifier: Apache-2.0
# A task for a first look: what it prints is its log, and the global `result` is its result.
import os
import platform

print("hello from inside the sandbox")
print("user id", os.getuid(), "- process id", os.getpid(), "- host", platform.node())

primes = [n for n in range(2, 50) if all(n % d for d in range(2, n))]
result = {"greeting": "hello", "primes": primes, "python": platform.python_version()}
