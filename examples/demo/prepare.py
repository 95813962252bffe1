"""Make what the demo's pipeline takes in: two git repositories and a base model.

    python examples/demo/prepare.py [--to runs/demo-inputs]

Nothing comes from the internet. What is there already and up to date is used again, so a second call is quick.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from base_model import build_base_model
from repositories import build_documents, build_taxonomy

from instructlab_pipeline.errors import PipelineError

EXAMPLES = Path(__file__).parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the demo's documents, taxonomy and base model.")
    parser.add_argument("--to", type=Path, default=Path("runs/demo-inputs"), help="the folder that they go into")
    try:
        prepare(parser.parse_args().to, say=lambda line: print(line, flush=True))
    except PipelineError as error:
        print(f"{error.message}\n{error.remedy}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted: call it again, and what is finished is used", file=sys.stderr)
        sys.exit(130)


def prepare(folder: Path, *, say: Callable[[str], None]) -> None:
    """Bring `folder` up to date; one line for each of the three says what was made and what was there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, build in (("documents", build_documents), ("taxonomy", build_taxonomy)):
        verb = "using" if (folder / name).exists() else "made"
        commit = build(EXAMPLES / name, folder / name)
        say(f"{verb} {folder / name}, a git repository at {commit[:12]}")
    base_model = folder / "base-model"
    verb = "made" if build_base_model(base_model, say=say) else "using"
    say(f"{verb} {base_model}, a tiny Llama that has seen made-up facts only")


if __name__ == "__main__":
    main()
