# SPDX-License-Identifier: Apache-2.0
"""grpc.health.v1 and server reflection, spoken with stubs of our own."""
import signal

import grpc
import pytest
from google.protobuf import descriptor_pb2

SERVICE = "taskworker.TaskWorkerService"


def health(node):
    return node.stubs.health_grpc.HealthStub(node.channel)


@pytest.mark.parametrize("service", ["", SERVICE, "taskworker.RPCService"])
def test_health_check(node, stubs, service):
    answer = health(node).Check(stubs.health.HealthCheckRequest(service=service), timeout=30)
    assert answer.status == stubs.health.HealthCheckResponse.SERVING


def test_health_of_an_unknown_service(node, stubs):
    with pytest.raises(grpc.RpcError) as caught:
        health(node).Check(stubs.health.HealthCheckRequest(service="no.such"), timeout=30)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    call = health(node).Watch(stubs.health.HealthCheckRequest(service="no.such"), timeout=30)
    assert next(call).status == stubs.health.HealthCheckResponse.SERVICE_UNKNOWN
    call.cancel()


def test_health_watch_sees_the_node_drain(make_node, stubs):
    node = make_node().start()
    task_id = node.submit("print('up', flush=True)\nimport time; time.sleep(1000)")
    node.wait_for_output(task_id, b"up")
    call = health(node).Watch(stubs.health.HealthCheckRequest(service=""), timeout=30)
    assert next(call).status == stubs.health.HealthCheckResponse.SERVING
    node.signal(signal.SIGTERM)
    assert next(call).status == stubs.health.HealthCheckResponse.NOT_SERVING
    node.signal(signal.SIGTERM)
    assert node.wait_for_end() == 0


def ask(node, version, **question):
    pb, pb_grpc = node.stubs.reflection(version)
    stub = pb_grpc.ServerReflectionStub(node.channel)
    answers = list(stub.ServerReflectionInfo(iter([pb.ServerReflectionRequest(**question)]), timeout=30))
    assert len(answers) == 1
    return answers[0]


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_lists_what_is_served(node, version):
    names = {s.name for s in ask(node, version, list_services="").list_services_response.service}
    assert {SERVICE, "taskworker.RPCService", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection"} <= names


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
@pytest.mark.parametrize("question", [{"file_containing_symbol": SERVICE}, {"file_containing_symbol": SERVICE + ".GetTask"},
                                      {"file_containing_symbol": "taskworker.Task.State"}, {"file_by_filename": "taskworker.proto"}])
def test_reflection_describes(node, pb, version, question):
    answer = ask(node, version, **question)
    files = [descriptor_pb2.FileDescriptorProto.FromString(raw) for raw in answer.file_descriptor_response.file_descriptor_proto]
    file = next(f for f in files if f.package == "taskworker")
    methods = {m.name for s in file.service for m in s.method}
    assert methods == {m.name for s in pb.DESCRIPTOR.services_by_name.values() for m in s.methods}
    assert {m.name for m in file.message_type} == set(pb.DESCRIPTOR.message_types_by_name)


@pytest.mark.parametrize("question", [{"file_containing_symbol": "no.such"}, {"file_by_filename": "no.proto"},
                                      {"all_extension_numbers_of_type": "no.such"}])
def test_reflection_of_what_is_not_there(node, question):
    answer = ask(node, "v1", **question)
    assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


def test_reflection_answers_one_by_one(node):
    pb, pb_grpc = node.stubs.reflection("v1")
    stub = pb_grpc.ServerReflectionStub(node.channel)
    questions = [pb.ServerReflectionRequest(list_services=""), pb.ServerReflectionRequest(file_containing_symbol="no.such"),
                 pb.ServerReflectionRequest(file_containing_symbol=SERVICE)]
    answers = list(stub.ServerReflectionInfo(iter(questions), timeout=30))
    assert [a.WhichOneof("message_response") for a in answers] == [
        "list_services_response", "error_response", "file_descriptor_response"]
    assert [a.original_request for a in answers] == questions
