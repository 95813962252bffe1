"""One run folder becomes one HTML page: what a person looks at to believe, or doubt, a tuned model."""
