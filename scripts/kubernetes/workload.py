"""One workload (a Deployment, a DaemonSet), opened up for the rules: its pod, its container, its environment."""

from dataclasses import dataclass

from manifests import Document, World, dig

KINDS = ("Deployment", "DaemonSet", "StatefulSet")


@dataclass(frozen=True)
class Variable:
    """One variable of a container, and where its value comes from."""

    name: str
    value: str = ""
    secret: str = ""
    key: str = ""


@dataclass(frozen=True)
class Workload:
    """A workload and the world it is in."""

    document: Document
    world: World

    def __str__(self):
        return str(self.document)

    @property
    def template(self):
        return self.document.get("spec", "template") or {}

    @property
    def pod(self):
        return self.template.get("spec") or {}

    @property
    def labels(self):
        return dig(self.template, "metadata", "labels") or {}

    @property
    def annotations(self):
        return dig(self.template, "metadata", "annotations") or {}

    @property
    def container(self):
        """The only one; `rules.shape` sees to that."""
        return (self.pod.get("containers") or [{}])[0]

    @property
    def role(self):
        return (self.container.get("args") or [""])[0]

    @property
    def is_on_host_network(self):
        return bool(self.pod.get("hostNetwork"))

    def config_maps(self):
        """The names of those it takes whole."""
        return [dig(source, "configMapRef", "name") or "" for source in self.container.get("envFrom") or []]

    def variables(self):
        """Everything the container gets, in the order in which later ones win."""
        found = []
        for name in self.config_maps():
            for document in self.world.of_kind("ConfigMap"):
                if (document.namespace, document.name) == (self.document.namespace, name):
                    found += [Variable(key, value=str(value)) for key, value in (document.get("data") or {}).items()]
        for entry in self.container.get("env") or []:
            reference = dig(entry, "valueFrom", "secretKeyRef") or {}
            secret, key = reference.get("name", ""), reference.get("key", "")
            found.append(Variable(entry.get("name", ""), str(entry.get("value", "")), secret, key))
        return found

    def value(self, name):
        """The value of a variable that is no secret; empty without one."""
        return next((one.value for one in reversed(self.variables()) if one.name == name), "")

    def port(self, wanted):
        """The number of a port that is named, or is a number already."""
        ports = {port.get("name"): port.get("containerPort") for port in self.container.get("ports") or []}
        return ports.get(wanted, wanted)

    def is_selected_by(self, document, selector):
        """Whether the selector, of another object, means the pods of this one."""
        labels = (selector or {}).get("matchLabels") or {}
        is_near = document.namespace == self.document.namespace
        return is_near and bool(labels) and labels.items() <= self.labels.items()


def workloads(world: World) -> list:
    return [Workload(document, world) for document in world.of_kind(*KINDS)]
