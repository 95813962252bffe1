"""The dataset: samples become the chat messages that both phases train on. The door is `stage.py`."""
