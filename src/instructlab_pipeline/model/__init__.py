"""The base model: fetched once, kept in the cache, checked before anything is spent on it."""
