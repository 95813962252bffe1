"""The files of an image as `umoci` unpacks them: deletions, hard links, folders in place of files."""

import io
import tarfile
from random import Random

import pytest

from instructlab_pipeline.modelcar.tree import Stored, Tree
from servers.registry import run as client

NAMES = ("a", "b", "c")


def random_path(random):
    return "/".join(["models", *(random.choice(NAMES) for _ in range(random.choice([1, 1, 2, 3])))])


def add_folders(archive, folder):
    """As every tool that makes layers does."""
    parts = folder.split("/")
    for depth in range(1, len(parts) + 1):
        info = tarfile.TarInfo("/".join(parts[:depth]))
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(info)


def random_layer(random, *, lowest):
    """A tar in which no name lies below another."""
    buffer, used, files = io.BytesIO(), set(), []
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for number in range(random.randrange(1, 7)):
            path = random_path(random)
            if any(f"{path}/".startswith(f"{other}/") or f"{other}/".startswith(f"{path}/") for other in used):
                continue
            used.add(path)
            folder, _, name = path.rpartition("/")
            add_folders(archive, folder)
            match random.randrange(7):
                case 4 if not lowest:
                    archive.addfile(tarfile.TarInfo(f"{folder}/.wh.{name}"))
                case 5 if not lowest and folder != "models":
                    archive.addfile(tarfile.TarInfo(f"{folder}/.wh..wh..opq"))
                case 6 if files:
                    link = tarfile.TarInfo(path)
                    link.type, link.linkname = tarfile.LNKTYPE, random.choice(files)
                    archive.addfile(link)
                case 3:
                    link = tarfile.TarInfo(path)
                    link.type, link.linkname = tarfile.SYMTYPE, random.choice(["a", "../a", "/models/b", "b/c"])
                    archive.addfile(link)
                case 0 | 1 | 2:
                    info, content = tarfile.TarInfo(path), f"{random.random()} {number}".encode()
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
                    files.append(path)
    return buffer.getvalue()


def unpacked(layers, folder):
    """What a container would see, by path: bytes, or what a link says."""
    layout, bundle = folder / "layout", folder / "bundle"
    client("umoci", "init", "--layout", str(layout))
    client("umoci", "new", "--image", f"{layout}:image")
    for number, layer in enumerate(layers):
        path = folder / f"{number}.tar"
        path.write_bytes(layer)
        client("umoci", "raw", "add-layer", "--image", f"{layout}:image", str(path))
    client("umoci", "unpack", "--rootless", "--image", f"{layout}:image", str(bundle))
    root = bundle / "rootfs"
    found = [path for path in root.rglob("*") if path.is_symlink() or path.is_file()]
    return {
        str(path.relative_to(root)): str(path.readlink()) if path.is_symlink() else path.read_bytes() for path in found
    }


def as_a_tree(layers):
    tree = Tree()
    for number, layer in enumerate(layers):
        with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
            tree.add(str(number), archive)
    return {
        path: layers[int(node.layer)][node.offset : node.offset + node.size] if isinstance(node, Stored) else node
        for path, node in tree.nodes.items()
    }


@pytest.mark.parametrize("seed", range(8))
def test_layers_make_the_files_that_another_tool_unpacks(seed, tmp_path):
    random = Random(seed)
    layers = [random_layer(random, lowest=number == 0) for number in range(random.choice([2, 3, 4]))]
    assert as_a_tree(layers) == unpacked(layers, tmp_path)
