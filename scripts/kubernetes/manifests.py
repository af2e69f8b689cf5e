"""The manifests of deploy/kubernetes: reading, schemas, and references between objects."""

from dataclasses import dataclass
from pathlib import Path

import kubernetes_validate
import yaml
from kubernetes_validate.utils import all_versions

KUSTOMIZATION = "kustomization.yaml"
VALUES = "nats-values.yaml"  # for Helm, not a manifest
WORKLOADS = ("Deployment", "DaemonSet")
# Older versions ignore the eviction policy of the disruption budgets.
OLDEST = (1, 27)
LEVEL = "pod-security.kubernetes.io/enforce"


class StrictLoader(yaml.SafeLoader):
    """YAML in which a duplicate key is an error: otherwise the schemas see only the last one."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        duplicates = sorted({str(key) for key in keys if keys.count(key) > 1})
        if duplicates:
            raise yaml.constructor.ConstructorError(None, None, f"duplicate key {duplicates[0]}", node.start_mark)
        return super().construct_mapping(node, deep)


def dig(data, *path):
    """The value at a path of keys; None if a part of the path is missing."""
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return data


@dataclass(frozen=True)
class Document:
    """One object of one file."""

    file: str
    data: dict

    def get(self, *path):
        return dig(self.data, *path)

    @property
    def kind(self):
        return self.data.get("kind")

    @property
    def id(self):
        return (self.kind, self.get("metadata", "namespace"), self.get("metadata", "name"))

    def __str__(self):
        return f"{self.file}: {self.kind} {self.get('metadata', 'name')}"


class World:
    """All manifests of a folder and those below it."""

    def __init__(self, folder: Path, root: Path):
        self.folder, self.root = folder, root
        self.documents, self.kustomizations, self.findings = [], [], []
        for path in sorted(folder.rglob("*.yaml")):
            if path.name == VALUES:
                continue
            name = path.relative_to(root).as_posix()
            found = [Document(name, data) for data in self.load(path)]
            (self.kustomizations if path.name == KUSTOMIZATION else self.documents).extend(found)

    def load(self, path: Path) -> list:
        """The documents of a file that are maps; anything else is a finding."""
        name = path.relative_to(self.root).as_posix()
        try:
            parts = list(yaml.load_all(path.read_text(encoding="utf-8"), Loader=StrictLoader))
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            self.findings.append(f"{name}: invalid YAML: {' '.join(str(error).split())}")
            return []
        maps = [part for part in parts if isinstance(part, dict)]
        if len(maps) != len(parts) or not maps:
            self.findings.append(f"{name}: contains an empty document or one that is not a map")
        return maps

    def of_kind(self, *kinds):
        return [document for document in self.documents if document.kind in kinds]

    def find(self, kind, namespace, name):
        return next((one for one in self.documents if one.id == (kind, namespace, name)), None)


def versions() -> list:
    """From the oldest supported version to the newest that the package has."""
    minors = sorted({tuple(int(number) for number in version.split(".")[:2]) for version in all_versions()})
    return [f"{major}.{minor}" for major, minor in minors if (major, minor) >= OLDEST]


def check(world: World):
    for rule in (schemas, kustomizations, identities, references, namespaces):
        world.findings += rule(world)
    return world.findings


def schemas(world):
    """Strict mode: an unknown field is an error, as with `kubectl apply --validate=strict`."""
    for document in world.documents:
        for version in versions():
            try:
                kubernetes_validate.validate(document.data, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                place = ".".join(str(part) for part in error.path) or "the object"
                yield f"{document}: Kubernetes {version}: {place}: {error.message}"
            except (kubernetes_validate.SchemaNotFoundError, KeyError) as error:
                yield f"{document}: Kubernetes {version}: no schema: {error}"


def kustomizations(world):
    """Every manifest of a folder is listed in its kustomization, and every listed file exists."""
    for document in world.kustomizations:
        folder = (world.root / document.file).parent
        listed = sorted(document.get("resources") or [])
        present = sorted({path.name for path in folder.glob("*.yaml")} - {VALUES, KUSTOMIZATION})
        if listed != present:
            yield f"{document.file}: lists {', '.join(listed)}, but the folder has {', '.join(present)}"


def identities(world):
    """Each object is unique, and in a namespace that is created here. Secrets stay out of files."""
    seen = {}
    for document in world.documents:
        if document.id in seen:
            yield f"{document}: also in {seen[document.id]}"
        seen[document.id] = document.file
        if document.kind != "Namespace" and not world.find("Namespace", None, document.id[1]):
            yield f"{document}: namespace '{document.id[1]}' is not created here"
        if document.kind == "Secret":
            yield f"{document}: a secret in a file is a default password; the README has a command that creates one"


def references(world):
    """Autoscalers, disruption budgets, services and workloads refer to existing objects; selectors match pods."""
    labels = {one.id: one.get("spec", "template", "metadata", "labels") or {} for one in world.of_kind(*WORKLOADS)}

    def selects(document, selector):
        wanted = (dig(selector, "matchLabels") or {}).items()
        return [id for id, found in labels.items() if wanted and id[1] == document.id[1] and wanted <= found.items()]

    for document in world.documents:
        namespace = document.id[1]
        if document.kind in WORKLOADS and selects(document, document.get("spec", "selector")) != [document.id]:
            yield f"{document}: its selector must match its own pods and no others"
        if document.kind == "HorizontalPodAutoscaler":
            target = document.get("spec", "scaleTargetRef")
            scaled = world.find(dig(target, "kind"), namespace, dig(target, "name"))
            if not scaled or scaled.get("spec", "replicas") is not None:
                yield f"{document}: its target must exist and must not set replicas"
        if document.kind == "Service":
            chosen = [world.find(*id) for id in selects(document, {"matchLabels": document.get("spec", "selector")})]
            wanted = {port.get("targetPort", port.get("port")) for port in document.get("spec", "ports") or []}
            if not chosen or not all(wanted <= ports_of(one) for one in chosen):
                yield f"{document}: selects no pods, or its ports are not among theirs"
        if document.kind == "PodDisruptionBudget":
            if not selects(document, document.get("spec", "selector")):
                yield f"{document}: selects no pods"
            if document.get("spec", "unhealthyPodEvictionPolicy") != "AlwaysAllow":
                yield f"{document}: without unhealthyPodEvictionPolicy: AlwaysAllow, an unavailable store blocks every drain"


def ports_of(workload):
    """Names and numbers of the ports of a workload's containers."""
    ports = [port for one in workload.get("spec", "template", "spec", "containers") for port in one.get("ports") or []]
    return {port.get("name") for port in ports} | {port["containerPort"] for port in ports}


def namespaces(world):
    """Pods on the host network have their own namespace; the others have level `restricted` and deny all by default."""
    for document in world.of_kind("Namespace"):
        inside = [one for one in world.of_kind(*WORKLOADS) if one.id[1] == document.id[2]]
        is_on_host = any(one.get("spec", "template", "spec", "hostNetwork") for one in inside)
        if document.get("metadata", "labels", LEVEL) != ("privileged" if is_on_host else "restricted"):
            yield f"{document}: wrong level for its pods in the label {LEVEL}"
        deny_all = {"podSelector": {}, "policyTypes": ["Ingress"]}
        policies = [one.get("spec") for one in world.of_kind("NetworkPolicy") if one.id[1] == document.id[2]]
        if not is_on_host and deny_all not in policies:
            yield f"{document}: has no NetworkPolicy that denies all ingress by default"
