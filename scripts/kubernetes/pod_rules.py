"""Our own rules for what runs: each takes a workload and yields what is wrong with it, in words."""

import program
from manifests import dig

SECRET = "spindle"
# The image's own user.
USER = 10001
# Beside `grace` itself: what the supervisor allows on top (GRACE_MARGIN), and some to end in.
MARGIN_SECONDS = 5
ROLES_WITH_STORE = ("writer", "reader")
PROBES = {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}


def check(workload, facts, secret_keys):
    for rule in RULES:
        try:
            yield from [f"{workload}: {words}" for words in rule(workload, facts, secret_keys)]
        except (AttributeError, IndexError, TypeError, ValueError) as fault:
            # Of a shape that no manifest has; the schemas have said more.
            yield f"{workload}: rule '{rule.__name__}' cannot read it: {fault}"


def shape(workload, facts, _keys):
    """One container that runs one role of the program."""
    if len(workload.pod.get("containers") or []) != 1 or workload.pod.get("initContainers"):
        yield "must have one container and no init container, which the other rules do not look into"
    arguments = workload.container.get("args") or []
    if workload.container.get("command") != ["spindle"] or len(arguments) != 1 or arguments[0] not in facts.commands:
        yield f"runs {workload.container.get('command')} {arguments}, which is no command of the program"


def environment(workload, facts, _keys):
    names = [variable.name for variable in workload.variables()]
    for name in sorted(set(names)):
        if name not in facts.variables:
            yield f"sets {name}, which the program does not know"
        if names.count(name) > 1:
            yield f"sets {name} twice"
    if not workload.value("NATS_URL"):
        yield "sets no NATS_URL: it would look for a server of its own"
    if workload.pod.get("enableServiceLinks") is not False:
        yield "needs enableServiceLinks: false, or a service's variables are read as settings"


def secrets(workload, _facts, keys):
    """Every role gets its own password, from the secret, and no other."""
    user = workload.value("NATS_USER")
    if user != workload.role:
        yield f"NATS_USER is '{user}', and the role {workload.role}"
    wanted = {"NATS_PASSWORD": f"NATS_{workload.role.upper()}_PASSWORD"}
    if workload.role in ROLES_WITH_STORE:
        wanted["INFLUXDB_TOKEN"] = "INFLUXDB_TOKEN"
    found = {variable.name: variable for variable in workload.variables()}
    for name, key in wanted.items():
        if name not in found:
            yield f"does not set {name}"
        elif (found[name].secret, found[name].key) != (SECRET, key):
            yield f"{name} must come from key {key} of the secret {SECRET}"
    for variable in found.values():
        if variable.secret and variable.key not in keys:
            yield f"asks for key {variable.key} of the secret, which secret.env.example does not document"
        if variable.secret and variable.name not in wanted:
            yield f"gets {variable.key} from the secret, which the role {workload.role} has no use for"


def leaks(workload, _facts, _keys):
    """No secret stands in a file, and none is handed out whole."""
    for variable in workload.variables():
        if variable.value and variable.name.endswith(("_PASSWORD", "_TOKEN")):
            yield f"has {variable.name} as plain text"
    sources = workload.container.get("envFrom") or []
    volumes = workload.pod.get("volumes") or []
    if any("secretRef" in source for source in sources) or any("secret" in volume for volume in volumes):
        yield "takes a whole secret: every role's password"


def references(workload, _facts, _keys):
    namespace = workload.document.namespace
    claims = [dig(volume, "persistentVolumeClaim", "claimName") for volume in workload.pod.get("volumes") or []]
    wanted = [("ConfigMap", name) for name in workload.config_maps()]
    wanted += [("PersistentVolumeClaim", name) for name in claims if name]
    for kind, name in wanted:
        if not workload.world.has(kind, namespace, name):
            yield f"refers to {kind} {name}, which does not exist in namespace {namespace}"
    for entry in workload.container.get("env") or []:
        if "configMapKeyRef" in (entry.get("valueFrom") or {}):
            yield f"takes {entry.get('name')} by configMapKeyRef, which this check does not follow: use envFrom"


def probes(workload, facts, _keys):
    address, _, port = workload.value("SPINDLE_HEALTH").rpartition(":")
    for kind, path in PROBES.items():
        asked = dig(workload.container, kind, "httpGet") or {}
        if not asked:
            yield f"has no {kind} by httpGet"
            continue
        if asked.get("path") != path:
            yield f"{kind} asks {asked.get('path')}, not {path}"
        if str(workload.port(asked.get("port"))) != port:
            yield f"{kind} asks port {asked.get('port')}, and SPINDLE_HEALTH is '{address}:{port}'"
        if (asked.get("host") == "127.0.0.1") != workload.is_on_host_network:
            yield f"{kind} must ask host 127.0.0.1 in the host's network, and only there"
    if address != ("127.0.0.1" if workload.is_on_host_network else "0.0.0.0"):
        yield f"SPINDLE_HEALTH listens on {address}: the loopback in the host's network, else 0.0.0.0"
    scraped = workload.annotations.get("prometheus.io/port", port)
    if scraped != port:
        yield f"prometheus.io/port is {scraped}, and SPINDLE_HEALTH listens on {port}"
    startup = workload.container.get("startupProbe") or {}
    seconds = startup.get("failureThreshold", 3) * startup.get("periodSeconds", 10)
    if seconds <= duration(workload, facts, "SPINDLE_NATS_CONNECT_TIMEOUT"):
        yield f"startupProbe gives up after {seconds} s, before the program (SPINDLE_NATS_CONNECT_TIMEOUT) can say why"


def stopping(workload, facts, _keys):
    seconds = workload.pod.get("terminationGracePeriodSeconds", 30)
    if seconds < duration(workload, facts, "SPINDLE_SHUTDOWN_TIMEOUT") + MARGIN_SECONDS:
        yield f"terminationGracePeriodSeconds {seconds} is too short for SPINDLE_SHUTDOWN_TIMEOUT and {MARGIN_SECONDS} s"


def duration(workload, facts, name):
    return program.seconds(workload.value(name) or facts.defaults[name])


def resources(workload, _facts, _keys):
    for kind in ("requests", "limits"):
        for resource in ("cpu", "memory"):
            if not dig(workload.container, "resources", kind, resource):
                yield f"has no resources.{kind}.{resource}"


def security(workload, _facts, _keys):
    pod, container = workload.pod, workload.container
    wanted = [
        (pod, ("automountServiceAccountToken",), False),
        (pod, ("securityContext", "runAsNonRoot"), True),
        (pod, ("securityContext", "runAsUser"), USER),
        (pod, ("securityContext", "seccompProfile", "type"), "RuntimeDefault"),
        (container, ("securityContext", "allowPrivilegeEscalation"), False),
        (container, ("securityContext", "readOnlyRootFilesystem"), True),
        (container, ("securityContext", "capabilities"), {"drop": ["ALL"]}),
    ]
    for data, path, value in wanted:
        if dig(data, *path) != value:
            yield f"{'.'.join(path)} must be {value}"
    allowed = {"allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities"}
    for name in sorted(set(container.get("securityContext") or {}) - allowed):
        yield f"the container's securityContext has {name}, which could undo the pod's"
    for volume in pod.get("volumes") or []:
        if "hostPath" in volume:
            yield f"mounts the node's {dig(volume, 'hostPath', 'path')}: no role needs it"
    if pod.get("hostPID") or pod.get("hostIPC"):
        yield "shares processes or memory with its node"
    if workload.is_on_host_network and workload.document.kind != "DaemonSet":
        yield "is in the host's network: only what watches the host may be"


def image(workload, _facts, _keys):
    name, _, tag = str(workload.container.get("image", "")).rpartition(":")
    if not name or "/" in tag or tag == "latest":
        yield f"image '{workload.container.get('image')}' has no tag, or latest"
    folder = workload.document.file.rpartition("/")[0]
    for kustomization in workload.world.kustomizations:
        images = {entry.get("name"): entry for entry in kustomization.data.get("images") or []}
        if kustomization.file.rpartition("/")[0] == folder and images.get(name, {}).get("newTag", "latest") == "latest":
            yield f"{kustomization.file} has no newTag for image {name}, or latest"


def selection(workload, _facts, _keys):
    selector = workload.document.get("spec", "selector")
    if not workload.is_selected_by(workload.document, selector):
        yield f"its selector {selector} does not match its own pods' labels {workload.labels}"
    others = [one for one in workload.world.of_kind(workload.document.kind) if one is not workload.document]
    if any(workload.is_selected_by(other, other.get("spec", "selector")) for other in others):
        yield "its pods are selected by another workload too"
    for spread in workload.pod.get("topologySpreadConstraints") or []:
        if not workload.is_selected_by(workload.document, spread.get("labelSelector")):
            yield "topologySpreadConstraints count other pods than its own"


def data_directory(workload, _facts, _keys):
    """What writes needs a place for it: the root file system is read-only."""
    mounts = {mount.get("mountPath"): mount for mount in workload.container.get("volumeMounts") or []}
    names = {volume.get("name") for volume in workload.pod.get("volumes") or []}
    folder = workload.value("SPINDLE_DATA_DIR")
    if workload.role not in ROLES_WITH_STORE and not folder:
        yield f"sets no SPINDLE_DATA_DIR, which the role {workload.role} writes into"
    if folder and (folder not in mounts or mounts[folder].get("readOnly")):
        yield f"SPINDLE_DATA_DIR is {folder}, where no writable volume is mounted"
    for mount in mounts.values():
        if mount.get("name") not in names:
            yield f"mounts {mount.get('name')}, which is no volume of the pod"
    claimed = [volume for volume in workload.pod.get("volumes") or [] if "persistentVolumeClaim" in volume]
    if claimed and workload.document.get("spec", "strategy", "type") != "Recreate":
        yield "has a volume of its own: strategy must be Recreate"
    if claimed and dig(workload.pod, "securityContext", "fsGroup") != USER:
        yield f"has a volume of its own: securityContext.fsGroup must be {USER}"


RULES = [
    shape,
    environment,
    secrets,
    leaks,
    references,
    probes,
    stopping,
    resources,
    security,
    image,
    selection,
    data_directory,
]
