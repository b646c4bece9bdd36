"""What we know of DeviantArt: its API, its limits and its errors. Knows nothing of the apps above."""
