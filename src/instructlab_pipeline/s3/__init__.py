"""S3, for base models and for runs in a bucket: where it is, how to speak to it, what its refusals mean."""
