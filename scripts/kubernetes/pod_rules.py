"""Rules for the workloads: they fit the program's settings, use their own secrets only, and run unprivileged."""

import re

from manifests import WORKLOADS, dig, versions

SECRET = "spindle"
# The user of the image.
USER = 10001
# On top of the program's own limit for a shutdown.
MARGIN_SECONDS = 5
# The roles, and the keys of the secret that each may use, by variable.
ROLES = {
    "daemon": {"NATS_PASSWORD": "NATS_DAEMON_PASSWORD"},
    "writer": {"NATS_PASSWORD": "NATS_WRITER_PASSWORD", "INFLUXDB_TOKEN": "INFLUXDB_TOKEN"},
    "detector": {"NATS_PASSWORD": "NATS_DETECTOR_PASSWORD"},
    "reader": {"NATS_PASSWORD": "NATS_READER_PASSWORD", "INFLUXDB_TOKEN": "INFLUXDB_TOKEN"},
    "client": {"NATS_PASSWORD": "NATS_CLIENT_PASSWORD"},
    "web": {
        "NATS_PASSWORD": "NATS_WEB_PASSWORD",
        "INFLUXDB_TOKEN": "INFLUXDB_TOKEN",
        "SPINDLE_HTTP_TOKEN": "SPINDLE_HTTP_TOKEN",
    },
}
PROBES = {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
NAME = r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b"


class Workload:
    """One workload with a single container, and its environment: plain values, and keys of the secret."""

    def __init__(self, document, world):
        self.document = document
        self.pod = document.get("spec", "template", "spec")
        self.container = self.pod["containers"][0]
        self.is_on_host_network = bool(self.pod.get("hostNetwork"))
        self.values, self.keys, self.missing = {}, {}, []
        for source in self.container.get("envFrom") or []:
            name = dig(source, "configMapRef", "name")
            config = world.find("ConfigMap", document.id[1], name)
            self.missing += [] if config else [f"ConfigMap {name}"]
            self.values.update(config.get("data") if config else {})
        for entry in self.container.get("env") or []:
            if "valueFrom" in entry:
                self.keys[entry["name"]] = dig(entry, "valueFrom", "secretKeyRef") or {}
            else:
                self.values[entry["name"]] = str(entry["value"])
        for volume in self.pod.get("volumes") or []:
            claim = dig(volume, "persistentVolumeClaim", "claimName")
            if claim and not world.find("PersistentVolumeClaim", document.id[1], claim):
                self.missing.append(f"PersistentVolumeClaim {claim}")


def check(world):
    settings = set(re.findall(NAME, (world.root / "spindle.example.toml").read_text(encoding="utf-8")))
    for document in world.of_kind(*WORKLOADS):
        try:
            workload = Workload(document, world)
            for rule in (environment, secrets, probes, stopping, security, data_directory):
                yield from (f"{document}: {message}" for message in rule(workload, settings | {"SPINDLE_LOG"}))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            yield f"{document}: cannot be checked: {error}"
    yield from documented(world)


def environment(workload, settings):
    arguments = workload.container.get("args") or []
    if workload.container.get("command") != ["spindle"] or len(arguments) != 1 or arguments[0] not in ROLES:
        yield f"runs {workload.container.get('command')} {arguments}, which is not one role of the program"
    for name in sorted(set(workload.values) | set(workload.keys)):
        if name not in settings:
            yield f"sets {name}, which is not a setting of the program"
    if not workload.values.get("NATS_URL"):
        yield "does not set NATS_URL: the program would look for a server of its own"
    if workload.pod.get("enableServiceLinks") is not False:
        yield "needs enableServiceLinks: false; otherwise variables of services are read as settings"
    yield from (f"refers to {name}, which does not exist" for name in workload.missing)


def secrets(workload, _settings):
    """Each role has its own password, from the secret, and no other."""
    role = workload.container["args"][0]
    wanted = {name: {"name": SECRET, "key": key} for name, key in ROLES.get(role, {}).items()}
    if workload.keys != wanted:
        yield f"takes {workload.keys} from secrets; expected {wanted}"
    if workload.values.get("NATS_USER") != role:
        yield f"NATS_USER is '{workload.values.get('NATS_USER')}', but the role is {role}"
    for name, value in workload.values.items():
        if value and name.endswith(("_PASSWORD", "_TOKEN")):
            yield f"has {name} in plain text"
    served = ":" + str(ports(workload).get("http"))
    if "SPINDLE_HTTP_TOKEN" in wanted and not workload.values.get("SPINDLE_HTTP", "").endswith(served):
        yield f"SPINDLE_HTTP is '{workload.values.get('SPINDLE_HTTP')}', but the port http is {served[1:]}"
    if any("secret" in volume for volume in workload.pod.get("volumes") or []):
        yield "mounts a whole secret, with every role's password"


def ports(workload):
    return {one.get("name"): str(one["containerPort"]) for one in workload.container.get("ports") or []}


def probes(workload, _settings):
    address, _, port = workload.values["SPINDLE_HEALTH"].rpartition(":")
    host = "127.0.0.1" if workload.is_on_host_network else None
    if address != (host or "0.0.0.0"):
        yield f"SPINDLE_HEALTH listens on {address}; expected {host or '0.0.0.0'}"
    named = ports(workload)
    for kind, path in PROBES.items():
        probe = dig(workload.container, kind, "httpGet") or {}
        found = (probe.get("path"), named.get(probe.get("port"), str(probe.get("port"))), probe.get("host"))
        if found != (path, port, host):
            yield f"{kind} requests {found} (path, port, host); expected {(path, port, host)}"
    if dig(workload.document.get("spec", "template", "metadata", "annotations"), "prometheus.io/port") not in (None, port):
        yield f"prometheus.io/port is not {port}, where SPINDLE_HEALTH listens"
    startup = workload.container.get("startupProbe") or {}
    limit = startup.get("failureThreshold", 3) * startup.get("periodSeconds", 10)
    if limit <= seconds(workload.values["SPINDLE_NATS_CONNECT_TIMEOUT"]):
        yield f"startupProbe fails after {limit} s, before the program can report SPINDLE_NATS_CONNECT_TIMEOUT"


def stopping(workload, _settings):
    grace = workload.pod.get("terminationGracePeriodSeconds", 30)
    if grace < seconds(workload.values.get("SPINDLE_SHUTDOWN_TIMEOUT", "10s")) + MARGIN_SECONDS:
        yield f"terminationGracePeriodSeconds {grace} is below SPINDLE_SHUTDOWN_TIMEOUT and {MARGIN_SECONDS} s"


def security(workload, _settings):
    """Pod security level `restricted`, limits, and nothing of the node but its network for those that watch the host."""
    pod, container = workload.pod, workload.container
    unprivileged = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    wanted = [
        (pod, ("automountServiceAccountToken",), False),
        (pod, ("securityContext", "runAsNonRoot"), True),
        (pod, ("securityContext", "runAsUser"), USER),
        (pod, ("securityContext", "seccompProfile", "type"), "RuntimeDefault"),
        (container, ("securityContext",), unprivileged),
    ]
    for data, path, value in wanted:
        if dig(data, *path) != value:
            yield f"{'.'.join(path)} must be {value}"
    if len(pod["containers"]) != 1 or pod.get("initContainers"):
        yield "must have one container: the rules do not check others"
    if pod.get("hostPID") or pod.get("hostIPC") or any("hostPath" in one for one in pod.get("volumes") or []):
        yield "shares processes, memory or files with its node"
    if workload.is_on_host_network and workload.document.kind != "DaemonSet":
        yield "uses the host network; only a DaemonSet may"
    for kind in ("requests", "limits"):
        if not {"cpu", "memory"} <= set(dig(container, "resources", kind) or {}):
            yield f"resources.{kind} must set cpu and memory"


def data_directory(workload, _settings):
    """The root file system is read-only: the data directory needs a volume."""
    folder = workload.values.get("SPINDLE_DATA_DIR")
    mounts = {one.get("mountPath") for one in workload.container.get("volumeMounts") or [] if not one.get("readOnly")}
    if folder not in mounts and (folder or "INFLUXDB_TOKEN" not in ROLES[workload.container["args"][0]]):
        yield f"SPINDLE_DATA_DIR is {folder}, where no writable volume is mounted"
    claimed = any("persistentVolumeClaim" in one for one in workload.pod.get("volumes") or [])
    if claimed and workload.document.get("spec", "strategy", "type") != "Recreate":
        yield "has a persistent volume: strategy must be Recreate"
    if claimed and dig(workload.pod, "securityContext", "fsGroup") != USER:
        yield f"has a persistent volume: securityContext.fsGroup must be {USER}"


def documented(world):
    """secret.env.example, without values, and the README's command list every key; the README names the versions."""
    readme = (world.folder / "README.md").read_text(encoding="utf-8")
    lines = (world.folder / "secret.env.example").read_text(encoding="utf-8").splitlines()
    listed = {line for line in lines if line and not line.startswith("#")}
    keys = {key for role in ROLES.values() for key in role.values()} | {"NATS_ADMIN_PASSWORD"}
    if listed != {f"{key}=" for key in keys}:
        yield f"deploy/kubernetes/secret.env.example: expected the lines KEY= for {', '.join(sorted(keys))}"
    if f"Kubernetes {versions()[0]} to {versions()[-1]}" not in readme:
        yield f"deploy/kubernetes/README.md: does not name the checked versions, {versions()[0]} to {versions()[-1]}"
    for key in sorted(keys):
        if f"--from-literal={key}=" not in readme:
            yield f"deploy/kubernetes/README.md: its command `kubectl create secret` lacks the key {key}"


def seconds(text: str) -> float:
    """A duration in the program's format: `10s`, `2m`, `1m30s`."""
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
    parts = re.findall(r"(\d+)(ms|s|m|h)", text)
    if "".join(number + unit for number, unit in parts) != text or not parts:
        raise ValueError(f"'{text}' is not a duration")
    return sum(int(number) * units[unit] for number, unit in parts)
