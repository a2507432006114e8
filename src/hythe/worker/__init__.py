"""The worker: claims builds from a hub over HTTP, carries them out in sandboxes, and pushes what they give."""
