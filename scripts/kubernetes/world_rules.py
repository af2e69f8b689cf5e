"""Our own rules for what stands around the workloads: what is there, what points where, what must not be there."""

from pathlib import Path

from manifests import World
from workload import KINDS, workloads

# What the rules know how to look into. Anything else may hold pods, or open doors, unseen.
KNOWN_KINDS = frozenset(KINDS) | {
    "Namespace",
    "ConfigMap",
    "PersistentVolumeClaim",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
    "NetworkPolicy",
}
LEVEL = "pod-security.kubernetes.io/enforce"


def check(world: World):
    for rule in RULES:
        try:
            yield from list(rule(world))
        except (AttributeError, IndexError, TypeError, ValueError) as fault:
            # Of a shape that no manifest has; the schemas have said more.
            yield f"deploy: rule '{rule.__name__}' cannot read the manifests: {fault}"


def kinds(world):
    for document in world.documents:
        if document.kind == "Secret":
            yield f"{document}: a secret in a file is a default password: the README has the command that makes one"
        elif document.kind not in KNOWN_KINDS:
            yield f"{document}: scripts/check-kubernetes has no rules for this kind"
    if not workloads(world):
        yield "no workload found"


def config_maps(world):
    for document in world.of_kind("ConfigMap"):
        users = [one for one in workloads(world) if document.name in one.config_maps()]
        if not any(one.document.namespace == document.namespace for one in users):
            yield f"{document}: nobody uses it"
        for key in document.get("data") or {}:
            if key.endswith(("_PASSWORD", "_TOKEN")):
                yield f"{document}: {key} belongs into the secret"


def claims(world):
    """A volume that nobody mounts is money for nothing."""
    for document in world.of_kind("PersistentVolumeClaim"):
        volumes = [
            volume
            for one in workloads(world)
            if one.document.namespace == document.namespace
            for volume in one.pod.get("volumes") or []
        ]
        if not any((volume.get("persistentVolumeClaim") or {}).get("claimName") == document.name for volume in volumes):
            yield f"{document}: nobody mounts it"


def autoscalers(world):
    for document in world.of_kind("HorizontalPodAutoscaler"):
        target = document.get("spec", "scaleTargetRef") or {}
        found = [
            one
            for one in world.of_kind(target.get("kind", ""))
            if (one.namespace, one.name) == (document.namespace, target.get("name"))
        ]
        if not found:
            yield f"{document}: scales {target.get('kind')} {target.get('name')}, which does not exist"
        for one in found:
            if one.get("spec", "replicas") is not None:
                yield f"{one}: sets replicas, which {document.kind} {document.name} decides"
        if not document.get("spec", "minReplicas") or document.get("spec", "minReplicas") < 2:
            yield f"{document}: minReplicas below 2: the loss of a node would stop it"


def budgets(world):
    for document in world.of_kind("PodDisruptionBudget"):
        if not any(one.is_selected_by(document, document.get("spec", "selector")) for one in workloads(world)):
            yield f"{document}: selects no pods"
        if document.get("spec", "unhealthyPodEvictionPolicy") != "AlwaysAllow":
            yield f"{document}: without unhealthyPodEvictionPolicy: AlwaysAllow a store that is away stops every drain"


def namespaces(world):
    """Pods in the host's network live apart, so that everything else can be held to `restricted`."""
    for document in world.of_kind("Namespace"):
        inside = [one for one in workloads(world) if one.document.namespace == document.name]
        is_apart = any(one.is_on_host_network for one in inside)
        level = document.get("metadata", "labels", LEVEL)
        if level != ("privileged" if is_apart else "restricted"):
            yield f"{document}: label {LEVEL} is {level}"
        if is_apart and not all(one.is_on_host_network for one in inside):
            yield f"{document}: has pods in the host's network and others"
        if not is_apart and not denies_by_default(world, document.name):
            yield f"{document}: no NetworkPolicy denies what comes in by default"


def denies_by_default(world, namespace):
    return any(
        policy.namespace == namespace
        and policy.get("spec", "podSelector") == {}
        and policy.get("spec", "policyTypes") == ["Ingress"]
        and not policy.get("spec", "ingress")
        for policy in world.of_kind("NetworkPolicy")
    )


def policies(world):
    """Named ports exist; and only the health of ours is let in."""
    for document in world.of_kind("NetworkPolicy"):
        selected = [
            one for one in workloads(world) if one.is_selected_by(document, document.get("spec", "podSelector"))
        ]
        for rule in document.get("spec", "ingress") or []:
            ports = [port.get("port") for port in rule.get("ports") or []]
            if not ports:
                yield f"{document}: lets in every port"
            for one in selected:
                open_ports = {str(one.port(port)) for port in ports}
                if open_ports - {one.value("SPINDLE_HEALTH").rpartition(":")[2]}:
                    yield f"{document}: lets in {sorted(open_ports)} of {one.document.name}, which has its health alone"
            if selected and not rule.get("from"):
                yield f"{document}: lets in everybody, from outside the cluster too"


def documented(folder: Path, shown: str, secret_keys, versions):
    """The README's command makes the secret with every key; and it says what was checked."""
    readme = folder / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    for key in sorted(secret_keys):
        if f"--from-literal={key}=" not in text:
            yield f"{shown}/README.md: its command `kubectl create secret` does not make the key {key}"
    span = f"Kubernetes {versions[0]} to {versions[-1]}"
    if span not in text:
        yield f"{shown}/README.md: does not say that it is checked against {span}"


RULES = [kinds, config_maps, claims, autoscalers, budgets, namespaces, policies]
