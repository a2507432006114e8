"""The distribution server: repositories, blobs, manifests, tags, uploads, referrers. It has no accounts."""
