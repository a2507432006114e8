"""The pull-through mirror: what another registry has is fetched when it is asked for, and kept."""
