"""From a taxonomy in git and a base model in S3 to a tuned, evaluated, published language model."""

__version__ = "0.1.0"
