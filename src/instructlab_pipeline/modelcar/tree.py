"""The files that an image's layers make together, as a container sees them. Pure: names in, places out.

Later layers cover earlier ones, and delete by whiteouts: https://github.com/opencontainers/image-spec/blob/main/layer.md
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from tarfile import TarInfo

from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.publish.image import ROOT

WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
MAX_LINKS = 40  # as Linux has it
MAX_FILES = 10_000
CONFIG, WEIGHTS = "config.json", ".safetensors"


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A file's bytes: where they begin in which layer, counted in what the layer unpacks to."""

    layer: str
    offset: int
    size: int


class Tree:
    """Paths begin below the image's root, without a slash. Links lead to nothing outside of the image."""

    def __init__(self) -> None:
        self.nodes: dict[str, Stored | str] = {}  # a text is a symbolic link
        self._folders: set[str] = set()  # of lower layers, while one is added

    def add(self, layer: str, members: Iterable[TarInfo]) -> None:
        """The next layer.

        Raises:
            SourceError: a name leads out of the image.
        """
        upper: dict[str, Stored | str] = {}
        self._folders = {folder for path in self.nodes for folder in _above(path)}
        for member in members:
            path = _path(member.name)
            folder, _, name = path.rpartition("/")
            if name == OPAQUE:
                self._uncover(folder)
            elif name.startswith(WHITEOUT):
                self._uncover(f"{folder}/{name.removeprefix(WHITEOUT)}".lstrip("/"), itself=True)
            elif member.isdir():
                self.nodes.pop(path, None)
            elif (node := self._node(layer, member, upper)) is not None:
                self._uncover(path, itself=True)
                upper[path] = node
        self.nodes |= upper

    def files(self, folder: str) -> dict[str, Stored]:
        """All below `folder` by their names in it, links followed; a link to nothing is left out."""
        children: dict[str, set[str]] = {}
        for path in self.nodes:
            for inner in (path, *_above(path)):
                outer, _, name = inner.rpartition("/")
                children.setdefault(outer, set()).add(name)
        found: dict[str, Stored] = {}
        for parts, stored in self._below(self._resolved(folder), (), (), children):
            found["/".join(parts)] = stored
            if len(found) > MAX_FILES:
                raise SourceError(f"links make of /{folder} more than {MAX_FILES} files", remedy="build the image anew")
        return dict(sorted(found.items()))

    @property
    def paths(self) -> list[str]:
        """Of all files, links left out."""
        return sorted(path for path, node in self.nodes.items() if isinstance(node, Stored))

    def _below(
        self, path: str, name: tuple[str, ...], above: tuple[str, ...], children: dict[str, set[str]]
    ) -> Iterator[tuple[tuple[str, ...], Stored]]:
        """`name` is how it was come to `path`, `above` the folders on the way; these and `path` hold no links."""
        node = self.nodes.get(path)
        if isinstance(node, Stored):
            yield name, node
        for child in () if path in above else sorted(children.get(path, ())):
            yield from self._below(self._resolved(f"{path}/{child}"), (*name, child), (*above, path), children)

    def _resolved(self, path: str) -> str:
        """The path without links; what leads round in circles ends at itself, which is no file."""
        waiting, done, links = deque(path.split("/")), list[str](), 0
        while waiting:
            part = waiting.popleft()
            if part == "..":
                done = done[:-1]
            elif part not in {"", "."}:
                done.append(part)
            link = self.nodes.get("/".join(done))
            if isinstance(link, str) and links < MAX_LINKS:
                done = [] if link.startswith("/") else done[:-1]
                waiting.extendleft(reversed(link.split("/")))
                links += 1
        return "/".join(done)

    def _node(self, layer: str, member: TarInfo, upper: dict[str, Stored | str]) -> Stored | str | None:
        """None for what holds no bytes: a device, a pipe."""
        if member.issym():
            return member.linkname
        if member.islnk():
            path = _path(member.linkname)
            return upper.get(path) or self.nodes.get(path)
        return Stored(layer=layer, offset=member.offset_data, size=member.size) if member.isfile() else None

    def _uncover(self, path: str, *, itself: bool = False) -> None:
        """Take away what lower layers have below the path."""
        if itself:
            self.nodes.pop(path, None)
        if path in self._folders or not path:
            for known in [known for known in self.nodes if not path or known.startswith(f"{path}/")]:
                del self.nodes[known]


def model_files(tree: Tree) -> dict[str, Stored]:
    """Of the model below /models: there itself, or in the one folder there that has a configuration."""
    files = tree.files(ROOT)
    folders = [name.removesuffix(CONFIG) for name in files if name.endswith(f"/{CONFIG}")]
    if CONFIG in files:
        return files
    if len(folders) != 1:
        return {}
    return {name.removeprefix(folders[0]): stored for name, stored in files.items() if name.startswith(folders[0])}


def models_elsewhere(tree: Tree) -> list[str]:
    """Folders of the whole image that look like a model."""
    weights = {path.rpartition("/")[0] for path in tree.paths if path.endswith(WEIGHTS)}
    configured = {path.rpartition("/")[0] for path in tree.paths if path.rpartition("/")[2] == CONFIG}
    return [f"/{folder}" for folder in sorted(weights & configured)]


def _above(path: str) -> Iterator[str]:
    """The folders that a path lies in, innermost first."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _path(name: str) -> str:
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise SourceError(f"a layer names {name!r}, which leads out of its image", remedy="build the image anew")
    return "/".join(parts)
