"""The door, thin: HTTP in, the pipeline, HTTP out."""
