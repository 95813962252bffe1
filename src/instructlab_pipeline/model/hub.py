"""`hf://organization/name@revision`: a base model on the Hugging Face Hub, or on a mirror of it that HF_ENDPOINT names.

Files come by `hf_hub_download`, which knows the Hub's own ways (large files, Xet, redirects, resuming).
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from instructlab_pipeline.errors import ServiceError, SourceError
from instructlab_pipeline.model.source import Entry

HUB_URI = re.compile(r"hf://(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?/?")
KEY = "set HF_TOKEN to a token that may read it, or `hf auth login`, and accept its licence on its page"
FORM = "write hf://organization/name@revision"
BUSY = 429


class HubSource:
    def __init__(self, uri: str) -> None:
        self.uri = uri
        match = HUB_URI.fullmatch(uri)
        if match is None:
            raise SourceError(f"{uri} names no model of the Hub", remedy=FORM)
        self._name, self._revision = match["name"], match["revision"]
        self._endpoint = os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or None

    def listing(self) -> list[Entry]:
        files = self._info.siblings
        if any(file.size is None for file in files):
            raise SourceError(
                f"{self.uri}: {self._endpoint} does not tell how large files are", remedy="unset HF_ENDPOINT"
            )
        return [Entry(name=file.rfilename, size=file.size, version=_version(file)) for file in files]

    def download(self, entry: Entry, folder: Path, advance: Callable[[int], None]) -> Path:
        """The file below `folder`, gone on with where an earlier download stopped; it is not verified yet.

        Raises:
            SourceError, ServiceError: the Hub refused, or failed after its retries.
        """
        from huggingface_hub import hf_hub_download

        with self._boundary():
            path = hf_hub_download(
                self._name,
                entry.name,
                revision=self._info.sha,
                local_dir=folder,
                endpoint=self._endpoint,
                tqdm_class=_silent_bar(advance),
            )
        return Path(path)

    @cached_property
    def _info(self) -> Any:
        """The files at the commit behind the revision."""
        from huggingface_hub import HfApi

        with self._boundary():
            api = HfApi(endpoint=self._endpoint)
            return api.model_info(self._name, revision=self._revision, files_metadata=True)

    @contextmanager
    def _boundary(self) -> Iterator[None]:
        from huggingface_hub import errors

        try:
            yield
        except (errors.GatedRepoError, errors.RepositoryNotFoundError) as error:
            raise SourceError(f"{self.uri} is not there, or may not be read ({_status(error)})", remedy=KEY) from error
        except (errors.RevisionNotFoundError, errors.RevisionResolutionError) as error:
            message = f"{self._name} has no branch, tag or commit {self._revision}"
            raise SourceError(message, remedy="check what stands behind the @ in sdg_base_model") from error
        except errors.OfflineModeIsEnabled as error:
            raise SourceError(
                f"{self.uri} cannot be read: HF_HUB_OFFLINE is set",
                remedy="unset it, or give a folder that is here as file:PATH",
            ) from error
        except errors.HFValidationError as error:
            raise SourceError(f"{self.uri} names no model of the Hub: {error}", remedy=FORM) from error
        except (KeyError, ValueError) as error:
            answers = f"{self._endpoint or 'the Hub'} answers, but not as the Hub does"
            raise SourceError(f"{self.uri}: {answers}", remedy="check HF_ENDPOINT") from error
        except (errors.HfHubHTTPError, errors.HTTPError, OSError) as error:  # type: ignore[attr-defined]
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> SourceError | ServiceError:
        status = _status(error)
        if 400 <= status < 500 and status != BUSY:
            return SourceError(f"{self.uri} may not be read ({status})", remedy=KEY)
        reason = str(status) if status else str(error).splitlines()[0]
        return ServiceError(
            f"{self.uri} could not be fetched: {reason}",
            remedy="check the network and HF_ENDPOINT, then run the same command again: it goes on where it stopped",
        )


def _version(file: Any) -> str:
    """The digest of the content: of the file itself where it is large, of git's object where it is small."""
    return f"sha256:{file.lfs.sha256}" if file.lfs else f"git:{file.blob_id}"


def _status(error: Exception) -> int:
    """0 without a reply."""
    return int(getattr(getattr(error, "response", None), "status_code", 0))


def _silent_bar(advance: Callable[[int], None]) -> Any:
    """What the Hub's library takes for a progress bar."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> None:
            advance(int(n or 0))

    return Bar
