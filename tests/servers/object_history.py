"""What became of objects, version by version, as those who watch them are told."""

import copy
import json


class History:
    """Told from how the objects are each time that somebody looks."""

    def __init__(self, objects):
        self.objects, self.version, self.oldest = objects, 1, 0
        self._events = []  # (version, plural, ADDED | MODIFIED | DELETED, the object then)
        self._known = {}  # key -> (text, object)

    def settle(self):
        for key, thing in list(self.objects.items()):
            metadata = {name: value for name, value in thing["metadata"].items() if name != "resourceVersion"}
            text = json.dumps({**thing, "metadata": metadata}, sort_keys=True)
            if key not in self._known or self._known[key][0] != text:
                self._happened("MODIFIED" if key in self._known else "ADDED", key, thing)
                self._known[key] = (text, copy.deepcopy(thing))
        for key in [key for key in self._known if key not in self.objects]:
            self._happened("DELETED", key, self._known.pop(key)[1])

    def _happened(self, event, key, thing):
        self.version += 1
        thing["metadata"]["resourceVersion"] = str(self.version)
        self._events.append((self.version, key[0], event, copy.deepcopy(thing)))

    def after(self, version):
        return [event for event in self._events if event[0] > version]

    def forget(self):
        self.settle()
        self.version += 1
        self.oldest = self.version
