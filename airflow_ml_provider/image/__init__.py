"""Container images: built, pushed, named by their digest, and tried against the container's contract."""
