"""Which models can be trained, by `model_type`: said before anything is spent, so nothing else is imported here."""

# Families whose packed loss and gradients are tested to be those of the samples one by one.
PROVEN_FAMILIES = (
    "gemma",
    "gemma2",
    "gemma3_text",
    "granite",
    "granitemoe",
    "granitemoeshared",
    "llama",
    "mistral",
    "mixtral",
    "olmo2",
    "olmo3",
    "phi3",
    "qwen2",
    "qwen3",
    "qwen3_moe",
    "smollm3",
)
