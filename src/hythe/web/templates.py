"""Render templates with jinja2; everything is escaped by default."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from hythe.hub.repositories.repository import Repository
from hythe.hub.wording import counted
from hythe.settings import format_bytes
from hythe.web.assets import Assets
from hythe.web.formatting import age, command_line, day, instruction, moment, problem, sentence, size, size_range

FOLDER = Path(__file__).parent / "templates"


class Templates:
    """The templates of this package."""

    def __init__(self, assets: Assets, clock: Callable[[], datetime]) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(FOLDER),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._prepared: asyncio.Future[None] | None = None
        self._environment.globals["asset"] = assets.address
        self._environment.filters.update(
            address=repository_address,
            age=lambda at: _time(at, age(at, clock())),
            bytes=format_bytes,
            day=lambda at: _time(at, day(at)),
            moment=lambda at: _time(at, moment(at)),
            command_line=command_line,
            counted=counted,
            instruction=instruction,
            sentence=sentence,
            size=size,
            size_range=size_range,
            problem=problem,
        )

    async def prepare(self) -> None:
        """Compile every template, once and in a thread: otherwise each would delay others when it is first shown."""
        if self._prepared is None:
            self._prepared = asyncio.ensure_future(asyncio.to_thread(self._compile_all))
        await asyncio.shield(self._prepared)

    def _compile_all(self) -> None:
        for name in self._environment.list_templates():
            self._environment.get_template(name)

    def render(self, name: str, values: dict[str, Any]) -> str:
        """Render a template with these values."""
        return self._environment.get_template(name).render(values)


def repository_address(repository: Repository) -> str:
    """Return the path of the repository's page."""
    return f"/{quote(repository.full_name)}"


def _time(at: datetime, text: str) -> Markup:
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        at.isoformat(timespec="seconds"), f"{at:%Y-%m-%d %H:%M} UTC", text
    )
