"""`python -m instructlab_pipeline` is `instructlab-pipeline`."""

from instructlab_pipeline.cli.main import main

main()
