"""Synthetic data: leaves and a teacher in, judged samples with their lineage out. The door is `stage.py`."""
