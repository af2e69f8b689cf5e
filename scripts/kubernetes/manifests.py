"""The manifests as they stand in their files: documents, kustomizations, and what is odd already there."""

from dataclasses import dataclass, field
from pathlib import Path

import yaml

KUSTOMIZATION = "kustomization.yaml"
# Values for Helm: YAML, but no manifest.
NOT_APPLIED = frozenset({"nats-values.yaml"})
# What kustomize would take and we use; anything else is a mistake or needs a look at this check.
KUSTOMIZATION_FIELDS = frozenset({"apiVersion", "kind", "resources", "images"})
CLUSTER_WIDE = frozenset({"Namespace"})


class StrictLoader(yaml.SafeLoader):
    """YAML, but a key that stands twice in one map is an error: the schemas would see only the last."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"'{key}' stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


@dataclass(frozen=True)
class Document:
    """One object of one file."""

    file: str
    data: dict

    @property
    def kind(self):
        return self.data.get("kind", "")

    @property
    def name(self):
        return self.get("metadata", "name") or ""

    @property
    def namespace(self):
        return self.get("metadata", "namespace") or ""

    def get(self, *path):
        """What stands at a path of keys; None if anything on the way is missing."""
        return dig(self.data, *path)

    def __str__(self):
        return f"{self.file}: {self.kind} {self.name}"


@dataclass
class World:
    """Everything under one folder."""

    documents: list = field(default_factory=list)
    kustomizations: list = field(default_factory=list)
    findings: list = field(default_factory=list)

    def of_kind(self, *kinds):
        return [document for document in self.documents if document.kind in kinds]

    def has(self, kind, namespace, name):
        return any((one.kind, one.namespace, one.name) == (kind, namespace, name) for one in self.documents)


def dig(data, *path):
    for key in path:
        if not isinstance(data, dict):
            return None
        data = data.get(key)
    return data


def read(folder: Path, shown: str) -> World:
    """All YAML files of the folder and those below; `shown` is what the folder is called in findings."""
    world = World()
    for path in sorted(folder.rglob("*.y*ml")):
        name = f"{shown}/{path.relative_to(folder).as_posix()}"
        if path.name in NOT_APPLIED:
            continue
        parts = load(path, name, world)
        if path.name == KUSTOMIZATION:
            world.kustomizations.append(Document(name, parts[0] if parts else {}))
            check_kustomization(path, name, parts, world)
        else:
            world.documents += [Document(name, part) for part in parts]
    if not world.documents or not world.kustomizations:
        world.findings.append(f"{shown}: no manifest or no {KUSTOMIZATION} in it")
    check_places(world)
    return world


def load(path: Path, name: str, world: World) -> list:
    """The documents of a file; empty ones count as a mistake, since they hide what was meant."""
    try:
        parts = list(yaml.load_all(path.read_text(encoding="utf-8"), Loader=StrictLoader))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        world.findings.append(f"{name}: no valid YAML: {' '.join(str(error).split())}")
        return []
    good = [part for part in parts if isinstance(part, dict)]
    if len(good) != len(parts) or not parts:
        world.findings.append(f"{name}: an empty document, or one that is no map")
    return good


def check_kustomization(path: Path, name: str, parts: list, world: World):
    """Everything it names exists, and everything that exists is named: in a folder, once."""
    if len(parts) != 1 or parts[0].get("kind") != "Kustomization":
        world.findings.append(f"{name}: must hold one document of kind Kustomization")
        return
    unknown = set(parts[0]) - KUSTOMIZATION_FIELDS
    if unknown:
        world.findings.append(f"{name}: unknown field {', '.join(sorted(unknown))}")
    if parts[0].get("apiVersion") != "kustomize.config.k8s.io/v1beta1":
        world.findings.append(f"{name}: apiVersion must be kustomize.config.k8s.io/v1beta1")
    named = parts[0].get("resources") or []
    there = {one.name for one in path.parent.glob("*.y*ml")} - NOT_APPLIED - {KUSTOMIZATION}
    for resource in named:
        if not (path.parent / resource).is_file():
            world.findings.append(f"{name}: names {resource}, which does not exist")
        elif resource not in there:
            world.findings.append(f"{name}: names {resource}, which is no manifest of this folder")
        if named.count(resource) > 1:
            world.findings.append(f"{name}: names {resource} twice")
    world.findings += [f"{name}: does not name {missing}" for missing in sorted(there - set(named))]


def check_places(world: World):
    """Each object says where it belongs, to a namespace that is made here, and stands once."""
    seen = {}
    namespaces = {document.name for document in world.of_kind("Namespace")}
    for document in world.documents:
        key = (document.kind, document.namespace, document.name)
        if key in seen:
            world.findings.append(f"{document}: stands in {seen[key]} as well")
        seen[key] = document.file
        is_wide = document.kind in CLUSTER_WIDE
        if not is_wide and document.namespace not in namespaces:
            world.findings.append(f"{document}: namespace '{document.namespace}' is not one that is made here")
