"""How good a model is: its answers to held-out questions, graded, compared with the base model's, and judged."""
