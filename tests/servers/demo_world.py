"""The demo's own inputs, as `make demo` has them, where pods can reach them: S3, a git server, a registry.

All seven leaves, their documents, the base model and the built-in teacher with the demo's parameter file. Only epochs
are fewer (1 and 6 instead of 7 and 10), and still enough for the tuned model to pass the demo's gate.
"""

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from prepare import prepare

from servers.git_server import git_daemon
from servers.registry import Registry, registry
from servers.s3_server import s3_server

ROOT = Path(__file__).parents[2]
PARAMETERS = ROOT / "examples" / "demo" / "pipeline-parameters.env"
MADE_BY_THE_DEMO = ROOT / "runs" / "demo-inputs" / "base-model"
PASSWORD = "registry-password-0815"


@dataclass(frozen=True, kw_only=True)
class DemoWorld:
    """`outside`: what opens S3 and the registry. `parameters`: those that differ from the demo's parameter file."""

    folder: Path
    registry: Registry
    outside: dict[str, str]
    parameters: dict[str, str]


@contextlib.contextmanager
def demo_world(folder: Path):
    inputs = folder / "inputs"
    if MADE_BY_THE_DEMO.is_dir():  # spares half a minute; what is out of date is built anew
        shutil.copytree(MADE_BY_THE_DEMO, inputs / "base-model")
    prepare(inputs, say=print)
    with contextlib.ExitStack() as stack:
        bucket = stack.enter_context(s3_server())
        bucket.create_bucket("models")
        bucket.upload("models", "demo-base", inputs / "base-model")
        repositories = stack.enter_context(git_daemon(inputs))
        images = stack.enter_context(registry(folder / "registry", login=("robot", PASSWORD)))
        login = images.write_login(folder / "auth.json", "robot", PASSWORD)
        yield DemoWorld(
            folder=folder,
            registry=images,
            outside={**bucket.environment, "REGISTRY_AUTH_FILE": str(login)},
            parameters={
                "SDG_BASE_MODEL": "s3://models/demo-base",
                "SDG_REPO_URL": f"{repositories}/taxonomy",
                "OUTPUT_OCI_MODEL_URI": f"{images.host}/team/demo:0.1.0",
                "OUTPUT_REGISTRY_INSECURE": "true",
                "TRAIN_EPOCHS_PHASE_1": "1",
                "TRAIN_EPOCHS_PHASE_2": "6",
            },
        )
