"""The stand-in for an API server, asked by a client that is not ours: it watches as a real one does."""

import pytest

from servers.kube_api import NAMESPACE, KubeApi

LABELS = {"app": "ours"}


@pytest.fixture
def server():
    with KubeApi() as started:
        yield started


@pytest.fixture
def pods(server, tmp_path):
    """The generated call that lists pods, as the client's Watch takes it."""
    from kubernetes import client, config

    with config.new_client_from_config(server.kubeconfig(tmp_path)) as connection:
        yield client.CoreV1Api(connection).list_namespaced_pod


def put(server, name, phase, labels=LABELS):
    server.put("pods", name, metadata={"labels": labels}, status={"phase": phase})


def test_changes_come_in_their_order_from_the_version_of_a_list(server, pods):
    from kubernetes.watch import Watch

    put(server, "one", "Pending")
    version = pods(NAMESPACE).metadata.resource_version
    put(server, "one", "Running")
    put(server, "other", "Running", labels={"app": "theirs"})
    told, watch, patience = [], Watch(), {"timeout_seconds": 120, "_request_timeout": 120}
    for event in watch.stream(pods, NAMESPACE, label_selector="app=ours", resource_version=version, **patience):
        told.append((event["type"], event["object"].metadata.name, event["object"].status.phase))
        if len(told) == 1:
            put(server, "two", "Pending")
        elif len(told) == 2:
            del server.objects["pods", "one"]
        else:
            watch.stop()
    assert told == [("MODIFIED", "one", "Running"), ("ADDED", "two", "Pending"), ("DELETED", "one", "Running")]


@pytest.mark.parametrize("when", ["before", "within"])
def test_a_version_that_was_forgotten_is_gone(server, pods, when):
    from kubernetes.client.exceptions import ApiException
    from kubernetes.watch import Watch

    put(server, "one", "Pending")
    version = pods(NAMESPACE).metadata.resource_version
    put(server, "one", "Running")
    if when == "before":
        server.expire()
    watch = Watch().stream(pods, NAMESPACE, resource_version=version, timeout_seconds=120, _request_timeout=120)
    with pytest.raises(ApiException, match=r"Expired|410"):
        [server.expire() for _ in watch]


def test_a_bookmark_at_the_end_tells_how_far_the_watch_came(server, pods):
    import json

    put(server, "one", "Pending")
    query = {"resource_version": "1", "timeout_seconds": 1, "watch": True, "allow_watch_bookmarks": True}
    answer = pods(NAMESPACE, _preload_content=False, _request_timeout=30, **query)
    *_, last = answer.data.decode().splitlines()
    event = json.loads(last)
    assert event["type"] == "BOOKMARK"
    assert int(event["object"]["metadata"]["resourceVersion"]) > 1
