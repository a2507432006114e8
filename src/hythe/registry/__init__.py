"""The distribution server: repositories, blobs, manifests, tags, uploads, referrers. It knows no accounts."""
