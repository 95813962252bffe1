"""The built-in teacher: a small rule-based question and answer writer. It is not a language model."""
