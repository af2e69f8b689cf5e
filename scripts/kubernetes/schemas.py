"""The schemas of Kubernetes, in strict mode: a field that does not exist is an error, as it is with `kubectl
apply --validate=strict`. All of it comes with the package kubernetes-validate; nothing is fetched."""

import json

import kubernetes_validate
from kubernetes_validate.utils import all_versions

# Older ones ignore the eviction policy of the disruption budgets.
OLDEST = (1, 27)


def versions() -> list:
    """From the oldest that is promised to the newest that the package has."""
    minors = sorted({tuple(int(number) for number in version.split(".")[:2]) for version in all_versions()})
    return [f"{major}.{minor}" for major, minor in minors if (major, minor) >= OLDEST]


class Schemas:
    """Validates, and remembers what was valid: the self-test asks for the same documents again and again."""

    def __init__(self):
        self.valid = set()
        self.n_validated = 0

    def check(self, documents, wanted):
        return [
            finding for document in documents for version in wanted for finding in self.check_one(document, version)
        ]

    def check_one(self, document, version):
        key = (version, json.dumps(document.data, sort_keys=True, default=str))
        if key in self.valid:
            return
        self.n_validated += 1
        missing = [name for name in ("apiVersion", "kind") if not isinstance(document.data.get(name), str)]
        if missing:
            yield f"{document}: no {' and no '.join(missing)}"
            return
        try:
            kubernetes_validate.validate(document.data, version, strict=True)
            self.valid.add(key)
        except kubernetes_validate.ValidationError as error:
            place = ".".join(str(part) for part in error.path) or "the object"
            yield f"{document}: Kubernetes {version}: {place}: {error.message}"
        except kubernetes_validate.SchemaNotFoundError as error:
            yield f"{document}: Kubernetes {version}: {error.message}"
