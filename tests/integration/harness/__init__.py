# SPDX-License-Identifier: Apache-2.0
"""What the integration tests share: the stubs, the daemon as a fixture, the raw HTTP/2 client."""
