"""The values for NATS's own chart: the same users with the same rights as deploy/nats/nats-server.conf, passwords from
the secret, and a server that syncs before it acknowledges."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from manifests import VALUES, dig

CONFIGURATION = "deploy/nats/nats-server.conf"
# The chart removes the quotes around such a string.
UNQUOTED = re.compile(r'"<<\s+(.*?)\s+>>"')
VARIABLE = re.compile(r"<<\s+\$(\w+)\s+>>")
# nats-server's format: comments, strings, punctuation, bare words.
TOKEN = re.compile(r"""(?:\#|//)[^\n]*|"([^"]*)"|'([^']*)'|([{}\[\]])|([^\s,;:={}\[\]"']+)""")


def check(world):
    n_findings = len(world.findings)
    values = (world.load(world.folder / VALUES) or [{}])[0]
    yield from world.findings[n_findings:]
    file = f"deploy/kubernetes/{VALUES}"
    for rule in (durability, passwords, pods):
        yield from (f"{file}: {message}" for message in rule(values))
    yield from (f"{file}: {message}" for message in same_rights(values, world.root / CONFIGURATION))
    server = find_server(world.root)
    if server:
        yield from (f"{file}: {message}" for message in try_server(server, values))
    else:
        print("check-kubernetes: no nats-server found: nats-values.yaml was not tried on one")


def durability(values):
    if dig(values, "config", "jetstream", "merge", "sync_interval") != "always":
        yield "config.jetstream.merge.sync_interval must be always: otherwise acknowledgements precede the disk"
    if dig(values, "config", "jetstream", "enabled") is not True:
        yield "config.jetstream.enabled must be true"
    if not dig(values, "config", "jetstream", "fileStore", "maxSize"):
        yield "config.jetstream.fileStore.maxSize is missing: a full disk would stop JetStream"


def passwords(values):
    """Every password comes from the environment, and the environment from the secret."""
    for name in users_of(values):
        key = f"NATS_{name.upper()}_PASSWORD"
        if users_of(values)[name].get("password") != f"<< ${key} >>":
            yield f"the password of user {name} must be << ${key} >>"
        if dig(values, "container", "env", key, "valueFrom", "secretKeyRef") != {"name": "spindle", "key": key}:
            yield f"container.env.{key} must come from its key of the secret spindle"


def pods(values):
    """The namespace's level `restricted`, and a pinned image."""
    tag = str(dig(values, "container", "image", "tag") or "")
    if not re.match(r"\d+\.\d+\.\d+", tag):
        yield f"container.image.tag is '{tag}'; expected a version"
    for part in ("container", "reloader"):
        context = dig(values, part, "merge", "securityContext")
        if dig(context, "allowPrivilegeEscalation") is not False or dig(context, "capabilities", "drop") != ["ALL"]:
            yield f"{part}.merge.securityContext violates the namespace's level restricted"
    pod = dig(values, "podTemplate", "merge", "spec", "securityContext")
    if dig(pod, "runAsNonRoot") is not True or dig(pod, "seccompProfile", "type") != "RuntimeDefault":
        yield "podTemplate.merge.spec.securityContext violates the namespace's level restricted"
    if dig(values, "natsBox", "enabled") is not False:
        yield "natsBox.enabled must be false: its pod violates the namespace's level restricted"
    if not dig(values, "container", "resources", "limits", "memory"):
        yield "container.resources.limits.memory is missing"


# ── rights ───────────────────────────────────────────────────────────────────────────────────────


def same_rights(values, configuration: Path):
    try:
        wanted = users_of(parse(configuration.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        yield f"cannot be compared with {CONFIGURATION}: {error}"
        return
    found = users_of(values)
    if not wanted or wanted.keys() != found.keys():
        yield f"has the users {sorted(found)}, but {CONFIGURATION} has {sorted(wanted)}"
    for name in sorted(wanted.keys() & found.keys()):
        here, there = rights(found[name]), rights(wanted[name])
        yield from (f"user {name} has `{right}`, but not in {CONFIGURATION}" for right in sorted(here - there))
        yield from (f"user {name} lacks `{right}`, which it has in {CONFIGURATION}" for right in sorted(there - here))


def parse(text: str):
    """Reads maps, lists, strings and bare words; everything but maps and lists stays a string."""
    tokens = [match for match in TOKEN.finditer(text) if match.lastindex]
    tokens.reverse()

    def value():
        token = tokens.pop()
        if token.group(3) == "{":
            return items("}")
        if token.group(3) == "[":
            found = []
            while tokens[-1].group(3) != "]":
                found.append(value())
            tokens.pop()
            return found
        return token.group(token.lastindex)

    def items(end):
        found = {}
        while tokens if end is None else tokens[-1].group(3) != end:
            key = tokens.pop()
            found[key.group(key.lastindex)] = value()
        if end:
            tokens.pop()
        return found

    try:
        return items(None)
    except IndexError:
        raise ValueError("unbalanced brackets") from None


def users_of(configuration):
    """All users by name, in whichever account."""
    found = {}
    if isinstance(configuration, dict):
        for key, value in configuration.items():
            if key == "users" and isinstance(value, list):
                found.update({str(user.get("user")): user for user in value})
            else:
                found.update(users_of(value))
    return found


def rights(user):
    """Each right as a string; a user without permissions has all."""
    permissions = user.get("permissions")
    if permissions is None:
        return {"everything"}
    found = set()
    for verb, subjects in permissions.items():
        if verb not in ("publish", "subscribe"):
            found.add(f"{verb}: {subjects}".lower())
            continue
        sides = subjects if isinstance(subjects, dict) else {"allow": subjects}
        for side, names in sides.items():
            found |= {f"{verb} {side} {name}" for name in (names if isinstance(names, list) else [names])}
    return found


# ── a real server, where there is one ────────────────────────────────────────────────────────────


def find_server(root: Path):
    """In the same places as run.sh."""
    places = [os.environ.get("SPINDLE_NATS_SERVER"), shutil.which("nats-server"), str(root / ".tools" / "nats-server")]
    return next((place for place in places if place and os.access(place, os.X_OK)), None)


def try_server(server: str, values):
    """A nats-server accepts the configuration that the chart generates from the values, of the parts set here."""
    jetstream = dig(values, "config", "jetstream") or {}
    with tempfile.TemporaryDirectory() as scratch:
        size = f"<< {dig(jetstream, 'fileStore', 'maxSize')} >>"
        store = {"max_memory_store": 0, "store_dir": scratch, "max_file_store": size, **(jetstream.get("merge") or {})}
        configuration = {"server_name": "nats-0", "port": 4222, "jetstream": store}
        configuration.update(dig(values, "config", "merge") or {})
        text = json.dumps(configuration, indent=2)
        file = Path(scratch) / "nats.conf"
        file.write_text(UNQUOTED.sub(r"\1", text), encoding="utf-8")
        environment = dict(os.environ, **{name: f"p{n}word" for n, name in enumerate(VARIABLE.findall(text))})
        command = [server, "-t", "-c", str(file)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        yield f"nats-server rejects it: {(done.stderr or done.stdout).strip()}"
