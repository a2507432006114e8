"""What keeps a build away from the host: namespaces, a view of few files, control groups, a disk of its own."""
