"""Objects of a cluster, as they are and as they become: listed once, then watched.

A watch ends often, and that is no fault: servers end it after a while, forget old versions (410), are upgraded. Then it
goes on from where it was, or the objects are listed again. Where nobody may watch, they are listed every now and then.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from instructlab_pipeline.errors import ServiceError, UsageError
from instructlab_pipeline.kube.connection import Cluster, ExpiredError

Object = dict[str, Any]
Found = list[Object] | Exception
News = SimpleQueue[tuple[str, Found]]


@dataclass(frozen=True, kw_only=True)
class Collection:
    """The objects at `path` that `selectors` (labelSelector, fieldSelector) choose."""

    path: str
    selectors: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def news_of(cluster: Cluster, collections: Mapping[str, Collection], *, pause_s: float) -> Iterator[News]:
    """Each time that something about a collection changes: its name, with all of its objects as they are then.

    A ServiceError in place of the objects: they could not be asked for just now. Any other error is the last that is
    told of that collection. `pause_s`: before what ended is begun again.
    """
    news: News = SimpleQueue()
    ended = threading.Event()

    def tell(name: str, collection: Collection) -> None:
        try:
            for found in _found(cluster, collection, pause_s):
                if ended.is_set():
                    return
                news.put((name, found))
        except Exception as error:  # noqa: BLE001 - raised by whoever waits for news
            news.put((name, error))

    for name, collection in collections.items():
        threading.Thread(target=tell, args=(name, collection), daemon=True, name=f"watch of {name}").start()
    try:
        yield news
    finally:
        ended.set()


def _found(cluster: Cluster, collection: Collection, pause_s: float) -> Iterator[list[Object] | ServiceError]:
    while True:
        try:
            objects, version = cluster.listed(collection.path, **collection.selectors)
            yield objects
            yield from _as_they_change(cluster, collection, objects, version, pause_s=pause_s)
        except ExpiredError:
            pass
        except ServiceError as error:
            yield error
        time.sleep(pause_s)


def _as_they_change(
    cluster: Cluster, collection: Collection, objects: list[Object], version: str, *, pause_s: float
) -> Iterator[list[Object]]:
    """Ends at once where nobody may watch."""
    known = {each["metadata"]["name"]: each for each in objects}
    try:
        while True:
            for event in cluster.watch(collection.path, version, **collection.selectors):
                thing = event["object"]
                version = thing["metadata"]["resourceVersion"]
                if event["type"] == "BOOKMARK":
                    continue
                known.pop(thing["metadata"]["name"], None)
                if event["type"] != "DELETED":
                    known[thing["metadata"]["name"]] = thing
                yield list(known.values())
            time.sleep(pause_s)
    except UsageError:
        return
