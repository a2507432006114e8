"""Whether this server has been asked to stop."""


class Stopping:
    """The state of a server between SIGTERM and its end.

    ``begun`` becomes true with the signal, ``drain_delay`` seconds before the server accepts no more connections: a
    readiness check says no from then on, and responses end their connections.
    """

    begun: bool = False
