"""A language model's endpoint without a language model: continuous batching in virtual time, faults, plausible replies.

    python -m simulator --slots 64 --speed 4          # from benchmarks/; prints its URL, then serves

It knows how long a GPU that batches like vLLM would take, and tells at `GET /statistics` how much of that time a client
left unused. The same prompt and seed give the same reply, whatever the order of arrival; so do faults.
"""
