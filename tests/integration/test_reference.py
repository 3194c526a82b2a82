# SPDX-License-Identifier: Apache-2.0
"""The client of the reference documentation, as it stands there; only the port is this node's."""
import os
import subprocess

REFERENCE_CLIENT = '''
import grpc
from taskworker.protos import taskworker_pb2, taskworker_pb2_grpc

# Connect to TaskWorker service
channel = grpc.insecure_channel('localhost:50053')
stub = taskworker_pb2_grpc.TaskWorkerServiceStub(channel)

# Execute a Python task
execute_request = taskworker_pb2.ExecuteTaskRequest(
    task_id="task_001",
    task_type="python",
    task_data=b"import time; time.sleep(2); result = 42"
)

response = stub.ExecuteTask(execute_request)
print(f"Task submitted: {response.success}")
'''


def test_reference_client(node, stubs, pb):
    script = REFERENCE_CLIENT.replace("50053", str(node.port))
    done = subprocess.run(["/usr/bin/python3", "-c", script], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": str(stubs.folder)})
    assert done.stdout == "Task submitted: True\n", done.stderr
    task, result = node.wait("task_001")
    assert task.state == pb.Task.COMPLETED
    assert result == b"42"
    assert task.usage.wall_us >= 2_000_000
