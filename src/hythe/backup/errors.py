"""Errors of backups and moves.

BackupError                     root; ``hint`` says what to do
├── BackupDamaged               the backup has other bytes than were written
└── WrongPassphrase             the passphrase does not open this backup, or is missing
"""


class BackupError(Exception):
    """A backup, restore or move is refused or failed; ``hint`` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class BackupDamaged(BackupError):
    """The backup has other bytes than were written, or lacks some."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "use another backup: 'backups' lists them")


class WrongPassphrase(BackupError):
    """The passphrase does not open this backup, or is missing."""
