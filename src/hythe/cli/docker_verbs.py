"""Verbs of docker that hythe does not have, and what to use instead: hints for unknown verbs.

Without it, the closest name would be suggested, which can mean something else (``cp`` and ``copy``).
"""

from collections.abc import Collection

GROUPS = {
    "container": {"ls": "ps", "list": "ps", "remove": "rm", "prune": "rm"},
    "image": {"ls": "images", "list": "images", "rm": "rmi", "remove": "rmi", "prune": "rmi"},
}
"""Groups of docker's verbs, with those verbs that have another name in hythe."""

_BUILD = "'hythe run' and 'hythe commit' make an image by hand; a hub builds Dockerfiles: 'hythe help builds'"
_CLUSTER = "hythe runs containers on one machine: 'hythe run'"
_VOLUME = "'hythe run -v NAME:PATH' creates and mounts a volume; anonymous ones are removed with their container"
_FREE = "'hythe rm' removes containers with their data, 'hythe rmi' images with their layers"

HINTS = {
    "attach": "'hythe logs -f CONTAINER' follows the output; 'hythe start -a' attaches to a container that it starts",
    "build": _BUILD,
    "builder": _BUILD,
    "buildx": _BUILD,
    "checkpoint": "'hythe commit' keeps the files of a container; the memory of its processes cannot be saved",
    "compose": "hythe runs one container at a time: 'hythe run'",
    "container": "the verbs for containers need no group, such as 'hythe ps' and 'hythe rm'",
    "context": "hythe has no daemon, and works on this machine",
    "cp": "'hythe run -v FOLDER:PATH' shares files with a container; 'hythe export CONTAINER | tar -x PATH' copies out",
    "events": "hythe has no daemon that reports events; 'hythe ps -a' lists containers with their states",
    "exec": "hythe runs one program in each container; 'hythe run --volumes-from CONTAINER' starts another one",
    "image": "the verbs for images need no group, such as 'hythe images' and 'hythe rmi'",
    "import": "'hythe load' reads archives of images; for a plain tar file, use 'docker import' or 'podman import'",
    "info": "'hythe config list' shows the settings of the client, 'hythe --version' the version",
    "kill": "'hythe stop -t 0 CONTAINER' kills at once, 'hythe stop -s SIGNAL' sends another signal first",
    "manifest": "'hythe inspect' shows a local image; 'hythe copy' copies an image with all its platforms",
    "network": "'hythe run --network bridge|host|none' chooses the network; there is none to create",
    "node": _CLUSTER,
    "pause": "hythe pauses a container only while it commits it; 'hythe stop' stops it",
    "plugin": "hythe has no plugins",
    "port": "'hythe ps' shows the published ports",
    "rename": "'hythe run --name' chooses the name of a container, which does not change later",
    "restart": "'hythe stop CONTAINER', then 'hythe start CONTAINER'",
    "secret": _CLUSTER,
    "service": _CLUSTER,
    "stack": _CLUSTER,
    "stats": "the processes of containers are those of this machine: use top",
    "swarm": _CLUSTER,
    "system": _FREE,
    "top": "the processes of containers are those of this machine: use ps or top",
    "trust": "'hythe verify' verifies the provenance of an image",
    "unpause": "hythe pauses a container only while it commits it",
    "update": "limits are chosen by 'hythe run' and do not change later",
    "volume": _VOLUME,
    "wait": "'hythe start -a CONTAINER' and 'hythe run' wait, and return the exit code of the container",
}
"""By verb of docker; podman has the same."""


def docker_hint(name: str, following: str, known: Collection[str]) -> str:
    """Return what to use in place of docker's verb ``name``, "" for other names.

    ``following`` is the next word: of ``container ls`` and ``image rm``, the second word decides. ``known`` are the
    verbs of hythe.
    """
    if name in GROUPS:
        verb = GROUPS[name].get(following, following)
        if verb in known:
            return f"use 'hythe {verb}'"
        return HINTS.get(verb, HINTS[name])
    return HINTS.get(name, "")
