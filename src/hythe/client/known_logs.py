"""The tag logs that this user has seen: the key and the newest checkpoint of each, like ssh's known hosts.

``tag-logs/HOST.json`` in the folder of the configuration file. A log whose key changes, or that does not continue its
remembered checkpoint, is refused until the user deletes the file.
"""

from pathlib import Path

import msgspec

from hythe.client.configuration import configuration_path
from hythe.client.disk_space import writing
from hythe.client.errors import InvalidConfiguration, os_error_message
from hythe.client.file_lock import locked, replace_user_file


class KnownLog(msgspec.Struct, frozen=True):
    """The key of a log as ``NAME+ID+KEY``, and the last signed checkpoint that was seen."""

    key: str
    checkpoint: str


class KnownLogs:
    """The folder of known logs."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or configuration_path().parent / "tag-logs"

    def path(self, host: str) -> Path:
        """Return the file of a host's log."""
        return self._folder / f"{host}.json"

    def find(self, host: str) -> KnownLog | None:
        """Return what is known of a host's log; None at first use. Raises InvalidConfiguration."""
        path = self.path(host)
        try:
            return msgspec.json.decode(path.read_bytes(), type=KnownLog)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InvalidConfiguration(os_error_message(error), "it must be a file that you can read") from error
        except msgspec.MsgspecError as error:
            raise InvalidConfiguration(f"{path}: {error}", "restore it, or delete it to start again") from error

    def remember(self, host: str, before: KnownLog | None, log: KnownLog) -> None:
        """Keep what was seen, unless another process has since. Raises ClientError if the file cannot be written."""
        path = self.path(host)
        with writing(path):
            self._folder.mkdir(parents=True, exist_ok=True)
            with locked(self._folder):
                if self.find(host) == before:
                    replace_user_file(path, msgspec.json.format(msgspec.json.encode(log), indent=2) + b"\n")
