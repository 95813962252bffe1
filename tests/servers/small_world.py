"""All that a run needs, small and real: a base model in S3, a taxonomy on a git server, a teacher, a registry."""

import contextlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from servers.git_server import git_daemon
from servers.registry import Registry, registry
from servers.s3_server import s3_server
from servers.teacher_server import TeacherServer
from servers.tiny_model import write_tiny_model

EXAMPLES = Path(__file__).parents[2] / "examples"
LEAVES = (
    "knowledge/engineering/bridges",
    "compositional_skills/calendar/quarters",
    "compositional_skills/grounded/reading/notices",
)
SEED_EXAMPLES = 5  # of a leaf
TEACHER_KEY, REGISTRY_PASSWORD = "teacher-key-4711", "registry-password-0815"
AUTHOR = ("-c", "user.name=tester", "-c", "user.email=tester@example.invalid")


@dataclass(frozen=True, kw_only=True)
class World:
    """Where the servers are; `taxonomy` is a work tree whose commits the git server serves."""

    folder: Path
    taxonomy: Path
    teacher: TeacherServer
    registry: Registry
    environment: dict[str, str]
    secrets: tuple[str, ...]

    def commit(self, message: str) -> None:
        git(self.taxonomy, "commit", "--all", "--quiet", "--message", message)


@contextlib.contextmanager
def small_world(folder: Path):
    with contextlib.ExitStack() as stack:
        bucket = stack.enter_context(s3_server())
        bucket.create_bucket("models")
        bucket.upload("models", "tiny", write_tiny_model(folder / "tiny"))
        taxonomy = write_repositories(folder / "git")
        repositories = stack.enter_context(git_daemon(folder / "git"))
        images = stack.enter_context(registry(folder / "registry", login=("robot", REGISTRY_PASSWORD)))
        login = images.write_login(folder / "auth.json", "robot", REGISTRY_PASSWORD)
        teacher = stack.enter_context(TeacherServer(api_key=TEACHER_KEY, latency_s=(0.0, 0.02)))
        environment = {
            **bucket.environment,
            "SDG_BASE_MODEL": "s3://models/tiny",
            "SDG_REPO_URL": f"{repositories}/taxonomy",
            "SDG_TEACHER_ENDPOINT": teacher.url,
            "OPENAI_API_KEY": f"{TEACHER_KEY}\n",  # people paste newlines
            "OUTPUT_OCI_MODEL_URI": f"{images.host}/team/tiny:latest",
            "OUTPUT_REGISTRY_INSECURE": "true",
            "REGISTRY_AUTH_FILE": str(login),
            "SDG_SCALE_FACTOR": "2",
            "SDG_NUM_WORKERS": "2",
            "SDG_BATCH_SIZE": "4",
            "TRAIN_EPOCHS_PHASE_1": "2",
            "TRAIN_EPOCHS_PHASE_2": "2",
            "TRAIN_NUM_WORKERS": "1",
            "TRAIN_SEQUENCE_LENGTH": "512",
            "EVAL_NUM_SAMPLES": "9",
            "EVAL_QUALITY_THRESHOLD": "0",
        }
        yield World(
            folder=folder,
            taxonomy=taxonomy,
            teacher=teacher,
            registry=images,
            environment=environment,
            secrets=(TEACHER_KEY, REGISTRY_PASSWORD, bucket.secret_key),
        )


def write_repositories(folder: Path) -> Path:
    """The documents, and a taxonomy of three leaves that points at them, as two git repositories side by side."""
    documents, taxonomy = folder / "documents", folder / "taxonomy"
    shutil.copytree(EXAMPLES / "documents", documents)
    commit = commit_all(documents)
    for leaf in LEAVES:
        shutil.copytree(EXAMPLES / "taxonomy" / leaf, taxonomy / leaf)
        keep_few_examples(taxonomy / leaf / "qna.yaml")
    knowledge = taxonomy / LEAVES[0] / "qna.yaml"
    lines = knowledge.read_text().splitlines(keepends=True)
    knowledge.write_text("".join(f"  commit: {commit}\n" if line.startswith("  commit:") else line for line in lines))
    commit_all(taxonomy)
    return taxonomy


def keep_few_examples(qna: Path) -> None:
    """As many in each leaf, so that what is made of them is counted easily."""
    head, *examples = qna.read_text().split("\n  - ")
    if len(examples) > SEED_EXAMPLES:
        qna.write_text("\n  - ".join([head, *examples[:SEED_EXAMPLES]]) + "\n")


def commit_all(folder: Path) -> str:
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "All of it")
    return git(folder, "rev-parse", "HEAD").strip()


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *AUTHOR, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout
