"""Whether an image can be published at all, asked before anything is spent on making one."""

import os
from pathlib import Path

from instructlab_pipeline import interruption
from instructlab_pipeline.errors import ServiceError
from instructlab_pipeline.publish.layout import require_usable
from instructlab_pipeline.publish.reference import RegistryReference, parse, version_tag
from instructlab_pipeline.publish.registry import connect


def check_destination(output_oci_model_uri: str, *, version: str | None, insecure: bool) -> list[str]:
    """Reach the registry, log in, begin an upload and cancel it; of a layout, look whether its folder can be written.

    Says in sentences what is worth knowing of one that can be used: that `version`, which must not be replaced (None:
    any may), is there already. Costs a registry four requests and stores nothing there.

    Raises:
        UsageError: a layout's folder is a file, or a login that is kept cannot be read.
        ServiceError: not reachable, not trusted, not logged in, or no right to write.
    """
    reference = parse(output_oci_model_uri)
    if isinstance(reference, RegistryReference):
        tag = version_tag(version) if version is not None else None
        return interruption.run(_check_registry(reference, tag, insecure=insecure))
    _check_folder(reference.directory)
    return []


async def _check_registry(reference: RegistryReference, tag: str | None, *, insecure: bool) -> list[str]:
    async with connect(reference, insecure=insecure) as registry:
        await registry.rehearse()
        held = await registry.read(tag) if tag is not None else None
    if held is None:
        return []
    what = f"{reference.registry}/{reference.repository} has a version {tag} already"
    return [f"{what}: another model will be refused under it, unless output_overwrite_version is true"]


def _check_folder(directory: Path) -> None:
    require_usable(directory)
    nearest = next(folder for folder in (directory, *directory.absolute().parents) if folder.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise ServiceError(
            f"the OCI layout {directory} cannot be written: this process may not write in {nearest}",
            remedy="choose another directory in output_oci_model_uri, or give the process's user the right to",
        )
