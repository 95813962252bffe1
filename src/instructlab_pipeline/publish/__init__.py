"""The tuned model as an OCI image, in a registry or in a layout on disk, behind the gate."""
