"""What the program knows, read from its sources: names of settings, roles, defaults; and the keys of the secret."""

import re
from dataclasses import dataclass
from pathlib import Path

SETTINGS = "crates/spindle/src/config/settings.rs"
EXAMPLE = "spindle.example.toml"
COMMANDS = "crates/spindle/src/cli.rs"
# Read elsewhere than in the table of settings.
MORE_NAMES = frozenset({"SPINDLE_LOG"})
NAME = r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+"


class Unreadable(Exception):
    """The sources are not what this module expects; it must be changed with them."""


@dataclass(frozen=True)
class Program:
    """What the manifests may name."""

    variables: frozenset
    commands: frozenset
    defaults: dict


def read(root: Path) -> Program:
    settings = (root / SETTINGS).read_text(encoding="utf-8")
    example = (root / EXAMPLE).read_text(encoding="utf-8")
    return Program(
        variables=variables(settings, example) | MORE_NAMES,
        commands=commands((root / COMMANDS).read_text(encoding="utf-8")),
        defaults=defaults(example),
    )


def variables(settings: str, example: str) -> frozenset:
    """Every name in quotes in the table. The example file, which the program's tests hold to the table, is the
    witness that this way of reading still finds all of them and nothing else."""
    found = set(re.findall(rf'"({NAME})"', settings))
    in_example = {
        name for line in re.findall(r"^# .*\(([^()]*)\)$", example, re.MULTILINE) for name in line.split(", ")
    }
    if found != in_example or "NATS_URL" not in found:
        odd = ", ".join(sorted(found ^ in_example)) or "NATS_URL"
        raise Unreadable(f"{SETTINGS} and {EXAMPLE} do not name the same variables: {odd}")
    return frozenset(found)


def commands(source: str) -> frozenset:
    """The subcommands: variants of one enum."""
    block = re.search(r"^enum CommandLine \{\n(.*?)^\}", source, re.MULTILINE | re.DOTALL)
    found = re.findall(r"^    ([A-Z][a-z]+)\b", block.group(1), re.MULTILINE) if block else []
    if "Writer" not in found:
        raise Unreadable(f"{COMMANDS} has no `enum CommandLine` with the subcommands")
    return frozenset(name.lower() for name in found)


def defaults(example: str) -> dict:
    """By variable, as text; only settings that have a default."""
    pairs = re.findall(r'^# .*\(([^()]*)\)\n[a-z_]+ = "([^"]*)"$', example, re.MULTILINE)
    return {name: value for names, value in pairs for name in names.split(", ")}


def secret_keys(template: Path) -> frozenset:
    """The documented keys of the secret. Values in the template would become somebody's default passwords."""
    lines = [line for line in template.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    keys = [line.partition("=") for line in lines]
    filled = [key for key, _, value in keys if value]
    if filled or any(not re.fullmatch(NAME, key) for key, _, _ in keys):
        raise Unreadable(f"expected lines `KEY=` without values: {', '.join(filled) or lines}")
    return frozenset(key for key, _, _ in keys)


def seconds(text: str) -> float:
    """A duration as the program reads it: `10s`, `2m`, `1m30s`."""
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
    parts = re.findall(r"(\d+)(ms|s|m|h)", text)
    if "".join(number + unit for number, unit in parts) != text or not parts:
        raise ValueError(f"'{text}' is no duration")
    return sum(int(number) * units[unit] for number, unit in parts)
