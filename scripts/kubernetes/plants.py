"""The mistakes that the self-test plants, and the words that a finding about each must have."""

from dataclasses import dataclass

K = "kubernetes/"


@dataclass(frozen=True)
class Plant:
    """In `file`, below deploy/, the first `old` becomes `new`; `caught` are words of the finding. An empty `old`
    stands for the end of the file, made if it is missing; `new` None removes the file."""

    file: str
    old: str
    new: object
    caught: str
    # Where the finding is, if not in the file itself.
    named: str = ""


NEW_POD = """apiVersion: v1
kind: Pod
metadata: { name: x, namespace: spindle }
spec: { containers: [{ name: x, image: 'x:1' }] }
"""
SECRET = (
    "apiVersion: v1\nkind: Secret\nmetadata: { name: spindle, namespace: spindle }\nstringData: { INFLUXDB_TOKEN: x }\n"
)

PLANTS = [
    # The schemas.
    Plant(K + "writer.yaml", "terminationGracePeriodSeconds", "terminationGracePeriodSecond", "was unexpected"),
    Plant(K + "writer.yaml", "readOnlyRootFilesystem: true", "readOnlyRootFileSystem: true", "was unexpected"),
    Plant(K + "reader.yaml", "replicas: 2", 'replicas: "2"', "'2' is not of type"),
    Plant(K + "config.yaml", "apiVersion: v1\n", "apiVersion: v2\n", "Couldn't find schema"),
    Plant(K + "network-policy.yaml", "podSelector: {}", "podSelectors: {}", "was unexpected"),
    # YAML and kustomization.
    Plant(K + "client.yaml", "  replicas: 1\n", "  replicas: 1\n  replicas: 3\n", "'replicas' stands twice"),
    Plant(K + "client.yaml", "metadata:", "metadata: [", "no valid YAML"),
    Plant(K + "client.yaml", "\n---\n", "\n---\n---\n", "an empty document"),
    Plant(K + "kustomization.yaml", "  - reader.yaml\n", "", "does not name reader.yaml"),
    Plant(K + "kustomization.yaml", "  - reader.yaml\n", "  - readers.yaml\n", "readers.yaml, which does not exist"),
    Plant(K + "kustomization.yaml", "resources:", "resource:", "unknown field resource"),
    Plant(K + "kustomization.yaml", "newTag: local", "newTag: latest", "no newTag", "writer.yaml"),
    Plant(
        K + "host/network-policy.yaml", "", None, "network-policy.yaml, which does not exist", "host/kustomization.yaml"
    ),
    Plant(K + "more.yaml", "", NEW_POD, "no rules for this kind"),
    Plant(K + "secret.yaml", "", SECRET, "a secret in a file"),
    Plant(K + "reader.yaml", "name: spindle-reader\n", "name: spindle-writer\n", "stands in", "writer.yaml"),
    Plant(K + "reader.yaml", "namespace: spindle\n", "namespace: default\n", "not one that is made here"),
    # The environment.
    Plant(
        K + "daemon.yaml", "name: SPINDLE_SOURCES", "name: SPINDLE_SOURCE", "SPINDLE_SOURCE, which the program does not"
    ),
    Plant(
        K + "config.yaml",
        "SPINDLE_SHUTDOWN_TIMEOUT:",
        "SPINDLE_SHUTDOWN_TIMEOUTS:",
        "SPINDLE_SHUTDOWN_TIMEOUTS, which the program does not",
        "writer.yaml",
    ),
    Plant(K + "config.yaml", "NATS_URL: ", "NATS_NKEY: ", "sets no NATS_URL", "writer.yaml"),
    Plant(K + "client.yaml", "name: SPINDLE_DATA_DIR", "name: NATS_USER", "sets NATS_USER twice"),
    Plant(K + "writer.yaml", "enableServiceLinks: false", "enableServiceLinks: true", "enableServiceLinks: false"),
    Plant(K + "writer.yaml", "args: [writer]", "args: [writers]", "no command of the program"),
    # Secrets.
    Plant(K + "reader.yaml", "value: reader", "value: writer", "NATS_USER is 'writer'"),
    Plant(
        K + "reader.yaml", "key: NATS_READER_PASSWORD", "key: NATS_WRITER_PASSWORD", "must come from key NATS_READER"
    ),
    Plant(K + "reader.yaml", "key: NATS_READER_PASSWORD", "key: NATS_READER", "does not document"),
    Plant(K + "client.yaml", "name: NATS_PASSWORD", "name: INFLUXDB_TOKEN", "has no use for"),
    Plant(
        K + "client.yaml",
        "- configMapRef:",
        "- secretRef: { name: spindle }\n            - configMapRef:",
        "a whole secret",
    ),
    Plant(K + "client.yaml", "name: SPINDLE_DATA_DIR", "name: NATS_PASSWORD", "NATS_PASSWORD as plain text"),
    Plant(K + "config.yaml", "  INFLUXDB_ORG:", "  INFLUXDB_TOKEN: x\n  INFLUXDB_ORG:", "belongs into the secret"),
    Plant(K + "secret.env.example", "INFLUXDB_TOKEN=", "INFLUXDB_TOKEN=changeme", "without values"),
    Plant(K + "secret.env.example", "INFLUXDB_TOKEN=\n", "", "does not document", "writer.yaml"),
    Plant(
        K + "README.md",
        "--from-literal=INFLUXDB_TOKEN=",
        "--from-literal=TOKEN=",
        "does not make the key INFLUXDB_TOKEN",
    ),
    Plant(K + "README.md", "Kubernetes 1.27 to", "Kubernetes 1.20 to", "does not say that it is checked"),
    # References.
    Plant(K + "writer.yaml", "name: spindle-store", "name: spindle-stores", "ConfigMap spindle-stores, which does not"),
    Plant(
        K + "client.yaml", "claimName: spindle-client", "claimName: client", "PersistentVolumeClaim client, which does"
    ),
    Plant(K + "client.yaml", "claimName: spindle-client", "claimName: client", "nobody mounts it"),
    Plant(K + "client.yaml", "mountPath: /data", "mountPath: /date", "no writable volume"),
    Plant(K + "daemon.yaml", "type: Recreate", "type: RollingUpdate", "must be Recreate"),
    # Probes and stopping.
    Plant(K + "writer.yaml", "readinessProbe:", "x-readinessProbe:", "has no readinessProbe"),
    Plant(K + "writer.yaml", "startupProbe:", "x-startupProbe:", "has no startupProbe"),
    Plant(
        K + "reader.yaml",
        "          livenessProbe:\n            httpGet: { path: /healthz",
        "          livenessProbe:\n            httpGet: { path: /readyz",
        "livenessProbe asks /readyz",
    ),
    Plant(K + "config.yaml", "0.0.0.0:8081", "0.0.0.0:8080", "asks port health", "writer.yaml"),
    Plant(K + "config.yaml", "0.0.0.0:8081", "127.0.0.1:8081", "listens on 127.0.0.1", "writer.yaml"),
    Plant(K + "daemon.yaml", 'prometheus.io/port: "8081"', 'prometheus.io/port: "8080"', "prometheus.io/port is 8080"),
    Plant(
        K + "config.yaml",
        "SPINDLE_NATS_CONNECT_TIMEOUT: 2m",
        "SPINDLE_NATS_CONNECT_TIMEOUT: 5m",
        "startupProbe gives up",
        "reader.yaml",
    ),
    Plant(
        K + "config.yaml",
        "SPINDLE_SHUTDOWN_TIMEOUT: 10s",
        "SPINDLE_SHUTDOWN_TIMEOUT: 1m",
        "is too short for SPINDLE_SHUTDOWN_TIMEOUT",
        "reader.yaml",
    ),
    Plant(
        K + "config.yaml",
        "SPINDLE_SHUTDOWN_TIMEOUT: 10s",
        "SPINDLE_SHUTDOWN_TIMEOUT: soon",
        "'soon' is no duration",
        "reader.yaml",
    ),
    Plant(K + "writer.yaml", "containers:\n", "containers: none\n      x:\n", "'none' is not of type 'array'"),
    # Resources, security, images.
    Plant(
        K + "client.yaml", 'limits: { cpu: "1", memory: 256Mi }', 'limits: { cpu: "1" }', "no resources.limits.memory"
    ),
    Plant(K + "writer.yaml", "runAsNonRoot: true", "runAsNonRoot: false", "runAsNonRoot must be True"),
    Plant(K + "writer.yaml", "drop: [ALL]", "drop: [ALL]\n              add: [SYS_ADMIN]", "capabilities must be"),
    Plant(
        K + "writer.yaml",
        "allowPrivilegeEscalation: false",
        "allowPrivilegeEscalation: false\n            runAsUser: 0",
        "could undo",
    ),
    Plant(
        K + "host/daemon-host.yaml",
        "emptyDir:\n            sizeLimit: 64Mi",
        "hostPath:\n            path: /sys",
        "mounts the node's /sys",
    ),
    Plant(K + "reader.yaml", "automountServiceAccountToken: false", "hostNetwork: true", "only what watches the host"),
    Plant(K + "writer.yaml", "image: spindle:local", "image: spindle:latest", "has no tag, or latest"),
    Plant(K + "writer.yaml", "image: spindle:local", "image: spindle", "has no tag, or latest"),
    # What selects and scales.
    Plant(
        K + "daemon.yaml",
        "      app.kubernetes.io/component: daemon\n",
        "      app.kubernetes.io/component: demon\n",
        "does not match its own",
    ),
    Plant(
        K + "daemon.yaml",
        "      app.kubernetes.io/component: daemon\n",
        "",
        "selected by another workload",
        "writer.yaml",
    ),
    Plant(K + "reader.yaml", "matchLabels: *selector", "matchLabels: { app: reader }", "count other pods"),
    Plant(
        K + "writer.yaml",
        "    name: spindle-writer\n",
        "    name: writer\n",
        "scales Deployment writer, which does not exist",
    ),
    Plant(K + "writer.yaml", "  strategy:\n", "  replicas: 2\n  strategy:\n", "sets replicas"),
    Plant(K + "writer.yaml", "minReplicas: 2", "minReplicas: 1", "minReplicas below 2"),
    Plant(
        K + "reader.yaml",
        "unhealthyPodEvictionPolicy: AlwaysAllow",
        "unhealthyPodEvictionPolicy: IfHealthyBudget",
        "stops every drain",
    ),
    # Namespaces and networks.
    Plant(K + "namespace.yaml", "enforce: restricted", "enforce: baseline", "enforce is baseline"),
    Plant(
        K + "network-policy.yaml",
        "policyTypes: [Ingress]",
        "policyTypes: [Ingress]\n  ingress: [{}]",
        "lets in every port",
    ),
    Plant(
        K + "network-policy.yaml",
        "policyTypes: [Ingress]",
        "policyTypes: [Egress]",
        "denies what comes in",
        "namespace.yaml",
    ),
    Plant(K + "network-policy.yaml", "- port: health", "- port: 4222", "which has its health alone"),
    Plant(
        K + "network-policy.yaml",
        "    - from:\n        - namespaceSelector: {}\n      ports:",
        "    - ports:",
        "lets in everybody",
    ),
    # NATS.
    Plant(K + "nats-values.yaml", "sync_interval: always", "sync_interval: 2m", "must be always"),
    Plant(K + "nats-values.yaml", "<< $NATS_READER_PASSWORD >>", "secret", "the password of user reader"),
    Plant(
        K + "nats-values.yaml", "key: NATS_CLIENT_PASSWORD", "key: NATS_ADMIN_PASSWORD", "from its key of the secret"
    ),
    Plant(K + "nats-values.yaml", "tag: 2.15.1-alpine", "tag: latest", "must be a version"),
    Plant(K + "nats-values.yaml", "drop: [ALL]", "drop: []", "does not fit the namespace"),
    Plant(
        K + "nats-values.yaml",
        "enabled: false\n    replicas",
        "enabled: false\n    enabled: true\n    replicas",
        "stands twice",
    ),
    Plant(
        K + "nats-values.yaml",
        "$JS.API.STREAM.PURGE.EVENTS",
        "$JS.API.STREAM.>",
        "user writer has `publish allow $JS.API.STREAM.>`",
    ),
    Plant(
        K + "nats-values.yaml",
        "$JS.API.STREAM.PURGE.EVENTS",
        "$JS.API.STREAM.>",
        "user writer lacks `publish allow $JS.API.STREAM.PURGE.EVENTS`",
    ),
    Plant(
        K + "nats-values.yaml",
        "allow_responses: true",
        "allow_responses: false",
        "user reader lacks `allow_responses: true`",
    ),
    Plant(K + "nats-values.yaml", "deny: ", "allow: ", "user reader lacks `publish deny >`"),
    Plant(
        "nats/nats-server.conf",
        "user: client,",
        "user: clients,",
        "user clients is only in deploy/nats",
        "nats-values.yaml",
    ),
    Plant("nats/nats-server.conf", "authorization {", "authorization", "cannot be compared", "nats-values.yaml"),
]
