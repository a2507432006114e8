"""The progress display of transfers."""

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
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def test_make_display() -> None:
    """Bars on a terminal, lines in a log, nothing with --quiet."""
    assert isinstance(make_display(PULL_LABELS, quiet=False, out=Terminal()), TerminalDisplay)
    assert isinstance(make_display(PULL_LABELS, quiet=False, out=io.StringIO()), PlainDisplay)
    assert type(make_display(PULL_LABELS, quiet=True, out=Terminal())) is Display


def test_a_log_has_a_line_per_state_change_of_a_layer() -> None:
    """The log has no escape sequences that move the cursor."""
    out = io.StringIO()
    with make_display(PULL_LABELS, quiet=False, out=out) as display:
        display.begin([LAYER, CONFIG])
        for content in (LAYER, CONFIG):
            display.state(content, TransferState.MOVING)
            display.advance(content, 10)
            display.state(content, TransferState.DONE)

    assert out.getvalue() == f"{NAME}: Downloading\n{NAME}: Pull complete\n"


def test_a_terminal_ends_with_the_final_states() -> None:
    """The last frame shows the final state."""
    out = Terminal()
    with make_display(PULL_LABELS, quiet=False, out=out) as display:
        display.begin([LAYER, CONFIG])
        display.state(LAYER, TransferState.MOVING)
        display.advance(LAYER, LAYER.size)
        display.state(LAYER, TransferState.DONE)

    assert re.sub(r"\x1b\[\d*[A-Z]", "", out.getvalue()).splitlines()[-1] == f"{NAME}: Pull complete"


def test_a_line_has_bar_speed_and_time_left() -> None:
    """Half of 10 MB at 1 MB/s leaves five seconds; the line fits the terminal."""
    line = LayerLine(LAYER)
    line.state = TransferState.MOVING
    line.moved = 5_000_000
    line.measure(5)

    assert line.text(PULL_LABELS, 200) == f"{NAME}: Downloading [============>           ] 5MB/10MB  1MB/s  5s left"
    assert len(line.text(PULL_LABELS, 40)) < 40


def test_a_restarted_layer_has_no_negative_speed() -> None:
    """A corrupt layer starts at zero again."""
    line = LayerLine(LAYER)
    line.moved = 5_000_000
    line.measure(1)
    line.moved = 0
    line.measure(1)

    assert line.speed >= 0
