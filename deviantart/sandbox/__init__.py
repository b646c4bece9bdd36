"""A stand-in for DeviantArt: one process, its own store, nothing of the applications that talk to it."""
