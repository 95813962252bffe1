"""The training room: fine-tunes the model in two phases, in workers of its own, exactly and resumably."""
