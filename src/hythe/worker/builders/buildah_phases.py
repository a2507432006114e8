"""The phases of a build by buildah, so that ``RUN --network=none`` has no network.

buildah 1.28 gives all steps one network. So each group of such steps is built in a sandbox without network, on what the
layer cache has of the steps before; the next phase then finds them in the cache.
"""

from collections.abc import Collection, Sequence

import msgspec

from hythe.worker.dockerfiles.parsing import Instruction, parse


class Phase(msgspec.Struct, frozen=True):
    """The start of a Dockerfile, up to where the network changes, or all of it."""

    text: str
    is_online: bool
    is_final: bool = False


def phases(text: str, offline: Collection[int], target: str) -> list[Phase]:
    """Return the phases of a Dockerfile; ``offline`` are the lines of steps without network, ``target`` its stage."""
    instructions = parse(text)
    lines = text.split("\n")
    numbers = _stage_numbers(instructions)
    needed = needed_stages(instructions, target)
    found: list[Phase] = []
    position = 0
    while position < len(instructions):
        if instructions[position].first not in offline or numbers[position] not in needed:
            position += 1
            continue
        end = _end_of_group(instructions, position, offline)
        if numbers[position] > 0 or instructions[position - 1].keyword != "FROM":
            found.append(Phase(_up_to(lines, instructions[position].first), is_online=True))
        found.append(Phase(_up_to(lines, instructions[end].last + 1), is_online=False))
        position = end + 1
    return [*found, Phase(text, is_online=True, is_final=True)]


def needed_stages(instructions: Sequence[Instruction], target: str) -> set[int]:
    """Return the numbers of the stages that the target needs, which is the last one if ``target`` is empty."""
    names: dict[str, int] = {}
    uses: list[set[str]] = []
    for instruction in instructions:
        if instruction.keyword == "FROM":
            words = instruction.operands.lower().split()
            uses.append({words[0]} if words else set())
            names[str(len(uses) - 1)] = len(uses) - 1
            if len(words) > 2:
                names[words[2]] = len(uses) - 1
        elif uses:
            uses[-1] |= {name.lower() for name in used_names(instruction)}
    waiting = [names.get(target.lower(), len(uses) - 1)]
    needed: set[int] = set()
    while waiting:
        number = waiting.pop()
        needed.add(number)
        waiting += [names[name] for name in uses[number] if name in names and names[name] < number]
    return needed


def used_names(instruction: Instruction) -> list[str]:
    """Return the stages and images that a COPY or RUN names."""
    if instruction.keyword != "RUN":
        return instruction.flag("from")
    parts = ",".join(instruction.flag("mount")).split(",")
    return [part[5:] for part in parts if part.startswith("from=")]


def _stage_numbers(instructions: Sequence[Instruction]) -> list[int]:
    numbers: list[int] = []
    for instruction in instructions:
        before = numbers[-1] if numbers else -1
        numbers.append(before + (instruction.keyword == "FROM"))
    return numbers


def _end_of_group(instructions: Sequence[Instruction], start: int, offline: Collection[int]) -> int:
    """Return the position of the last step without network before one that may need it."""
    end = start
    for position in range(start + 1, len(instructions)):
        instruction = instructions[position]
        if instruction.first in offline:
            end = position
        elif instruction.keyword in ("RUN", "ADD", "FROM"):
            break
    return end


def _up_to(lines: Sequence[str], number: int) -> str:
    return "\n".join(lines[:number]) + "\n"
