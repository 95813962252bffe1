"""The pipeline on a cluster: its manifests, its package for Kubeflow, its training job."""
