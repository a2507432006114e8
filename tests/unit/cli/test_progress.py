"""What is shown while layers move."""

from __future__ import annotations

import io
import re

from hythe.cli.progress import PULL_LABELS, Display, LayerLine, PlainDisplay, TerminalDisplay, make_display
from hythe.client.progress import TransferState
from hythe.oci.digest import Digest
from hythe.oci.manifest import OCI_CONFIG, OCI_LAYER_GZIP, Descriptor

LAYER = Descriptor(OCI_LAYER_GZIP, str(Digest.of(b"layer")), 10_000_000)
CONFIG = Descriptor(OCI_CONFIG, str(Digest.of(b"config")), 10)
NAME = LAYER.parsed_digest.short


class Terminal(io.StringIO):
    """Says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_the_display_suits_where_it_goes() -> None:
    """Bars on a terminal, lines in a log, nothing where nothing is wanted."""
    assert isinstance(make_display(PULL_LABELS, quiet=False, out=Terminal()), TerminalDisplay)
    assert isinstance(make_display(PULL_LABELS, quiet=False, out=io.StringIO()), PlainDisplay)
    assert type(make_display(PULL_LABELS, quiet=True, out=Terminal())) is Display


def test_a_log_gets_a_line_a_change_and_none_for_configurations() -> None:
    """Nothing moves the cursor."""
    out = io.StringIO()
    with make_display(PULL_LABELS, quiet=False, out=out) as display:
        display.begin([LAYER, CONFIG])
        for content in (LAYER, CONFIG):
            display.state(content, TransferState.MOVING)
            display.advance(content, 10)
            display.state(content, TransferState.DONE)

    assert out.getvalue() == f"{NAME}: Downloading\n{NAME}: Pull complete\n"


def test_a_terminal_ends_with_how_every_layer_stands() -> None:
    """The last drawing is complete, whatever was drawn before."""
    out = Terminal()
    with make_display(PULL_LABELS, quiet=False, out=out) as display:
        display.begin([LAYER, CONFIG])
        display.state(LAYER, TransferState.MOVING)
        display.advance(LAYER, LAYER.size)
        display.state(LAYER, TransferState.DONE)

    assert re.sub(r"\x1b\[\d*[A-Z]", "", out.getvalue()).splitlines()[-1] == f"{NAME}: Pull complete"


def test_a_line_has_bar_speed_and_time_left() -> None:
    """Half of 10 MB at 1 MB/s leaves five seconds; it never is wider than the terminal."""
    line = LayerLine(LAYER)
    line.state = TransferState.MOVING
    line.moved = 5_000_000
    line.measure(5)

    assert line.text(PULL_LABELS, 200) == f"{NAME}: Downloading [============>           ] 5MB/10MB  1MB/s  5s left"
    assert len(line.text(PULL_LABELS, 40)) < 40


def test_starting_anew_shows_no_negative_speed() -> None:
    """A damaged layer begins at zero again."""
    line = LayerLine(LAYER)
    line.moved = 5_000_000
    line.measure(1)
    line.moved = 0
    line.measure(1)

    assert line.speed >= 0
