"""The worker: claims builds from a hub over HTTP, runs them in sandboxes, and pushes the images."""
