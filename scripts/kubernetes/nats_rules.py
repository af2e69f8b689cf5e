"""The values for NATS's own chart: the same users with the same rights as deploy/nats/nats-server.conf, passwords
from the secret, and a server that syncs before it acknowledges."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import yaml

import nats_conf
from manifests import StrictLoader, dig

VALUES = "nats-values.yaml"
CONFIGURATION = "nats/nats-server.conf"
# The chart takes the quotes off such a text.
UNQUOTED = re.compile(r'"<<\s+(.*?)\s+>>"')
VARIABLE = re.compile(r"<<\s+\$(\w+)\s+>>")


def check(deploy: Path, folder: Path, shown: str, secret_keys):
    """`shown` is what the folder is called in findings."""
    file = f"{shown}/{VALUES}"
    try:
        values = yaml.load((folder / VALUES).read_text(encoding="utf-8"), Loader=StrictLoader)
    except (OSError, yaml.YAMLError) as error:
        yield f"{file}: {' '.join(str(error).split())}"
        return
    for rule in (durability, passwords, pods):
        yield from (f"{file}: {words}" for words in rule(values, secret_keys))
    configuration = deploy / CONFIGURATION
    if configuration.is_file():
        yield from (f"{file}: {words}" for words in same_rights(values, configuration))


def durability(values, _keys):
    if dig(values, "config", "jetstream", "merge", "sync_interval") != "always":
        yield "config.jetstream.merge.sync_interval must be always: else an acknowledgement comes before the disk"
    if dig(values, "config", "jetstream", "enabled") is not True:
        yield "config.jetstream.enabled must be true"
    if not dig(values, "config", "jetstream", "fileStore", "maxSize"):
        yield "config.jetstream.fileStore.maxSize is missing: a full disk would stop JetStream"


def passwords(values, keys):
    """All of them from the environment, and the environment from the secret."""
    given = dig(values, "container", "env") or {}
    users = users_of(dig(values, "config", "merge") or {})
    if not users:
        yield "config.merge has no users: everybody would have every right"
    for name, user in users.items():
        found = VARIABLE.fullmatch(str(user.get("password", "")))
        wanted = f"NATS_{name.upper()}_PASSWORD"
        if not found or found.group(1) != wanted:
            yield f"the password of user {name} must be << ${wanted} >>"
            continue
        reference = dig(given, wanted, "valueFrom", "secretKeyRef") or {}
        if reference != {"name": "spindle", "key": wanted}:
            yield f"container.env.{wanted} must come from its key of the secret spindle"
        if wanted not in keys:
            yield f"user {name}: key {wanted} of the secret is not documented in secret.env.example"


def pods(values, _keys):
    """What the namespace asks of every pod, and no floating image."""
    tag = str(dig(values, "container", "image", "tag") or "")
    if not re.match(r"\d+\.\d+\.\d+", tag):
        yield f"container.image.tag is '{tag}', and must be a version"
    for path in (("container",), ("reloader",)):
        context = dig(values, *path, "merge", "securityContext") or {}
        if context.get("allowPrivilegeEscalation") is not False or dig(context, "capabilities", "drop") != ["ALL"]:
            yield f"{'.'.join(path)}.merge.securityContext does not fit the namespace's level restricted"
    pod = dig(values, "podTemplate", "merge", "spec", "securityContext") or {}
    if pod.get("runAsNonRoot") is not True or dig(pod, "seccompProfile", "type") != "RuntimeDefault":
        yield "podTemplate.merge.spec.securityContext does not fit the namespace's level restricted"
    if dig(values, "natsBox", "enabled") is not False:
        yield "natsBox.enabled must be false: its pod has no place in the namespace"
    if not dig(values, "container", "resources", "limits", "memory"):
        yield "container.resources.limits.memory is missing"


def same_rights(values, configuration: Path):
    shown = f"deploy/{CONFIGURATION}"
    try:
        wanted = users_of(nats_conf.parse(configuration.read_text(encoding="utf-8")))
    except nats_conf.Malformed as fault:
        yield f"cannot be compared with {shown}, {fault}"
        return
    found = users_of(dig(values, "config", "merge") or {})
    if not wanted:
        yield f"cannot be compared with {shown}, which has no users"
    for name in sorted(wanted.keys() | found.keys()):
        if name not in found or name not in wanted:
            yield f"user {name} is only in {VALUES if name in found else shown}"
            continue
        here, there = rights(found[name]), rights(wanted[name])
        for right in sorted(here - there):
            yield f"user {name} has `{right}`, and not in {shown}"
        for right in sorted(there - here):
            yield f"user {name} lacks `{right}`, which it has in {shown}"


def users_of(configuration):
    """All users by name, in whatever account they stand."""
    found = {}
    if isinstance(configuration, dict):
        for key, value in configuration.items():
            if key == "users" and isinstance(value, list):
                found.update({str(user.get("user")): user for user in value if isinstance(user, dict)})
            else:
                found.update(users_of(value))
    return found


def rights(user):
    """Each right as one line; a user without permissions has all."""
    permissions = user.get("permissions")
    if permissions is None:
        return {"everything"}
    found = set()
    for verb, subjects in permissions.items():
        if verb not in ("publish", "subscribe"):
            found.add(f"{verb}: {json.dumps(subjects).lower()}".replace('"', ""))
            continue
        sides = subjects if isinstance(subjects, dict) else {"allow": subjects}
        for side, names in sides.items():
            names = names if isinstance(names, list) else [names]
            found |= {f"{verb} {side} {name}" for name in names}
    return found


# ── the server's own word, where there is a server ───────────────────────────────────────────────


def find_server(root: Path):
    """As run.sh looks for it; None without one."""
    places = [os.environ.get("SPINDLE_NATS_SERVER"), shutil.which("nats-server"), str(root / ".tools" / "nats-server")]
    return next((place for place in places if place and os.access(place, os.X_OK)), None)


def try_server(server: str, folder: Path, shown: str):
    """Whether a nats-server takes the configuration that the chart makes of the values."""
    values = yaml.safe_load((folder / VALUES).read_text(encoding="utf-8"))
    names = VARIABLE.findall((folder / VALUES).read_text(encoding="utf-8"))
    environment = dict(os.environ, **{name: f"p{number}word" for number, name in enumerate(names)})
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "nats.conf"
        file.write_text(rendered(values, scratch), encoding="utf-8")
        command = [server, "-t", "-c", str(file)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        yield f"{shown}/{VALUES}: nats-server refuses it: {(done.stderr or done.stdout).strip()}"


def rendered(values, store: str) -> str:
    """What the chart writes into nats.conf, of the parts that we set."""
    jetstream = dig(values, "config", "jetstream")
    configuration = {
        "server_name": "nats-0",
        "port": 4222,
        "jetstream": {
            "max_memory_store": 0,
            "store_dir": store,
            "max_file_store": f"<< {dig(jetstream, 'fileStore', 'maxSize')} >>",
            **(jetstream.get("merge") or {}),
        },
        **(dig(values, "config", "merge") or {}),
    }
    return UNQUOTED.sub(r"\1", json.dumps(configuration, indent=2))
