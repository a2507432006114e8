"""Archives that ``docker save`` wrote until 2015: a folder for each layer, no manifest (Docker Image Specification v1).

    repositories        {"NAME": {"TAG": "ID", ..}, ..}
    ID/json             the configuration of an image with this layer on top, and the ID of its parent
    ID/layer.tar        the layer

As in docker, an image keeps its configuration without the old IDs, and each parent becomes a step of its history.
"""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import msgspec

from hythe.oci.config import History
from hythe.oci.digest import Digest
from hythe.oci.document import MAX_TEXTS, has_too_many_texts
from hythe.oci.manifest import MAX_DESCRIPTORS, Descriptor

MAX_CONFIG_BYTES = 16 << 20
"""Bytes of the configurations of all layers of one image together."""
_CONFIG = re.compile(r"([0-9a-f]{64})/json")
_DROPPED = ("id", "parent", "parent_id", "layer_id", "throwaway", "Size", "rootfs", "history")
"""Fields of the old configuration that the new one does not have, or has in another form."""
_ESCAPES = str.maketrans({"&": "\\u0026", "<": "\\u003c", ">": "\\u003e", "\u2028": "\\u2028", "\u2029": "\\u2029"})
"""How Go writes these characters, so that docker's image ID is the same."""


class LegacyImage(msgspec.Struct, frozen=True):
    """An image of the archive: its new configuration, its layers, lowest first, and its names."""

    config: bytes
    layers: tuple[Descriptor, ...]
    names: tuple[str, ...] = ()


StoreLayer = Callable[[str], tuple[Descriptor, Digest]]
"""Stores the layer in a file of the archive; returns its descriptor and diff ID."""


def is_legacy(members: Collection[str]) -> bool:
    """Whether the files of an archive are those of this format."""
    return any(_CONFIG.fullmatch(name) for name in members)


class LegacyReader:
    """Reads the images of an archive with the files ``members``; ``read`` returns the content of one."""

    def __init__(self, members: Collection[str], read: Callable[[str], bytes], store_layer: StoreLayer) -> None:
        self._members = members
        self._read = read
        self._store_layer = store_layer
        self._layers: dict[str, tuple[Descriptor, Digest]] = {}

    def images(self) -> Iterator[LegacyImage]:
        """Yield the named images, and those that are no parent of another.

        Raises ValueError, TypeError, AttributeError or LookupError for an invalid archive.
        """
        parents = {match[1]: self._parent(match[1]) for name in self._members if (match := _CONFIG.fullmatch(name))}
        names = self._names()
        needed = set(parents.values())
        for identity in dict.fromkeys((*names, *(one for one in parents if one not in needed))):
            yield self._image(identity, parents, tuple(names.get(identity, ())))

    def _names(self) -> dict[str, list[str]]:
        names: dict[str, list[str]] = {}
        document = json.loads(self._read("repositories")) if "repositories" in self._members else {}
        for name, tags in (document or {}).items():
            for tag, identity in (tags or {}).items():
                names.setdefault(str(identity), []).append(f"{name}:{tag}")
        return names

    def _parent(self, identity: str) -> str:
        return str(self._fields(identity).get("parent") or "")

    def _fields(self, identity: str) -> dict[str, Any]:
        content = self._read(f"{identity}/json")
        if has_too_many_texts(content):
            raise ValueError(f"{identity}/json has more than {MAX_TEXTS} names and texts")
        fields = json.loads(content)
        if not isinstance(fields, dict):
            raise TypeError(f"{identity}/json is not an object")
        return fields

    def _image(self, identity: str, parents: Mapping[str, str], names: tuple[str, ...]) -> LegacyImage:
        chain = self._chain(identity, parents)
        history, size = [], 0
        for one in chain:
            fields = self._fields(one)
            history.append(_step(fields))
            size += len(self._read(f"{one}/json"))
            if size > MAX_CONFIG_BYTES:
                raise ValueError(f"the configurations of image {identity[:12]} exceed {MAX_CONFIG_BYTES >> 20} MiB")
        stored = [self._layer(one) for one in chain]
        config = _new_config(self._fields(identity), [str(diff_id) for _, diff_id in stored], history)
        return LegacyImage(config, tuple(descriptor for descriptor, _ in stored), names)

    def _chain(self, identity: str, parents: Mapping[str, str]) -> list[str]:
        """Return the IDs from the lowest layer to the image."""
        chain: dict[str, None] = {}
        while identity:
            if identity in chain or len(chain) == MAX_DESCRIPTORS:
                raise ValueError(f"layer {identity[:12]} is its own parent, or the image has too many layers")
            if identity not in parents:
                raise ValueError(f"layer {identity[:12]} is missing")
            chain[identity] = None
            identity = parents[identity]
        return list(chain)[::-1]

    def _layer(self, identity: str) -> tuple[Descriptor, Digest]:
        if identity not in self._layers:
            self._layers[identity] = self._store_layer(f"{identity}/layer.tar")
        return self._layers[identity]


def _step(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the step of the history that created a layer."""
    command = (fields.get("container_config") or {}).get("Cmd") or ()
    step = History(
        created=str(fields.get("created") or ""),
        created_by=" ".join(map(str, command)) if isinstance(command, list) else str(command),
        author=str(fields.get("author") or ""),
        comment=str(fields.get("comment") or ""),
    )
    found: dict[str, Any] = msgspec.to_builtins(step)
    return found


def _new_config(fields: Mapping[str, Any], diff_ids: list[str], history: list[dict[str, Any]]) -> bytes:
    """Return the configuration in today's format, written as Go does: names in order at the top level."""
    kept = {"architecture": "amd64", "os": "linux"} | {name: value for name, value in fields.items() if value}
    config: dict[str, Any] = {name: value for name, value in kept.items() if name not in _DROPPED}
    config |= {"rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history}
    ordered = {name: config[name] for name in sorted(config)}
    return json.dumps(ordered, ensure_ascii=False, separators=(",", ":")).translate(_ESCAPES).encode()
