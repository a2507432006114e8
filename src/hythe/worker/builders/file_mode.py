"""Symbolic modes of ``--chmod``, as chmod(1) applies them: ``u=rwX,go=rX``."""

import re

_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=][rwxXstugo]*)+)")
_CHANGE = re.compile(r"([-+=])([rwxXstugo]*)")
_SHIFTS = {"u": 6, "g": 3, "o": 0}
_BITS = {"r": 4, "w": 2, "x": 1}
_SPECIAL = {"u": 0o4000, "g": 0o2000}
_STICKY = 0o1000


def changed_mode(mode: int, text: str, *, is_folder: bool) -> int:
    """Return the permissions ``mode`` changed as ``text`` says. Raises ValueError if it is no symbolic mode."""
    for clause in text.split(","):
        found = _CLAUSE.fullmatch(clause)
        if found is None:
            raise ValueError(f"{text} is no mode: write a number such as 644, or one such as u=rwX,go=rX")
        who = "ugo" if not found[1] or "a" in found[1] else found[1]
        for change in _CHANGE.finditer(found[2]):
            mode = _changed(mode, who, change[1], change[2], is_folder=is_folder)
    return mode


def _changed(mode: int, who: str, operator: str, letters: str, *, is_folder: bool) -> int:
    is_executable = is_folder or bool(mode & 0o111)
    before = mode
    for name, shift in _SHIFTS.items():
        if name not in who:
            continue
        bits = sum(_BITS[letter] for letter in set(letters) & set(_BITS))
        bits |= 1 if "X" in letters and is_executable else 0
        for source in set(letters) & set(_SHIFTS):
            bits |= before >> _SHIFTS[source] & 7
        special = _SPECIAL.get(name, 0) if "s" in letters else 0
        if operator == "=":
            mode &= ~(7 << shift)
        mode = mode & ~(bits << shift | special) if operator == "-" else mode | bits << shift | special
    if "t" in letters:
        mode = mode & ~_STICKY if operator == "-" else mode | _STICKY
    return mode
