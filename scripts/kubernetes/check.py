"""The check itself; run by scripts/check-kubernetes with the Python of .tools/kubernetes."""

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import yaml

import manifests
import nats_rules
import pod_rules
import program
import schemas
import self_test
import world_rules
from toolbox import ROOT
from workload import workloads

FOLDER = "kubernetes"


@dataclass
class Checker:
    """What stays the same from one folder to the next."""

    facts: program.Program
    validator: schemas.Schemas = field(default_factory=schemas.Schemas)
    versions: list = field(default_factory=schemas.versions)

    def check(self, deploy: Path, versions):
        """All findings about `deploy`/kubernetes, each beginning with its file; and what was read."""
        folder, shown = deploy / FOLDER, f"deploy/{FOLDER}"
        world = manifests.read(folder, shown)
        keys, findings = secret_keys(folder, shown)
        findings += world.findings
        findings += self.validator.check(world.documents, versions)
        findings += world_rules.check(world)
        findings += world_rules.documented(folder, shown, keys, self.versions)
        for workload in workloads(world):
            findings += pod_rules.check(workload, self.facts, keys)
        findings += nats_rules.check(deploy, folder, shown, keys)
        return findings, world


def secret_keys(folder: Path, shown: str):
    """The documented keys of the secret; or none, and why."""
    try:
        return program.secret_keys(folder / "secret.env.example"), []
    except (OSError, program.Unreadable) as fault:
        return frozenset(), [f"{shown}/secret.env.example: {fault}"]


def main(arguments):
    try:
        checker = Checker(program.read(ROOT))
    except (OSError, program.Unreadable) as fault:
        print(f"check-kubernetes: {fault}", file=sys.stderr)
        return 2
    n_planted, missed = self_test.run(checker, ROOT / "deploy")
    findings, world = missed, None
    if not arguments:
        found, world = checker.check(ROOT / "deploy", checker.versions)
        findings = missed + found + outer_opinions(checker, world)
    for finding in findings:
        print(f"check-kubernetes: {finding}")
    print(closing_line(checker, world, n_planted, len(missed), len(findings)))
    return 1 if findings else 0


def closing_line(checker, world, n_planted, n_missed, n_findings):
    words = f"{n_planted - n_missed} of {n_planted} planted mistakes caught"
    if world:
        n_files = len({document.file for document in world.documents})
        span = f"Kubernetes {checker.versions[0]} to {checker.versions[-1]} ({len(checker.versions)} versions)"
        words = f"{len(world.documents)} objects in {n_files} files against {span}; {words}"
    return f"check-kubernetes: {words}; {n_findings} findings"


# ── programs that know more, where they are installed ────────────────────────────────────────────


def outer_opinions(checker, world):
    findings = []
    if shutil.which("kubectl"):
        findings += built_by_kubectl(checker, world)
    else:
        print("check-kubernetes: no kubectl here: what kustomize makes of the files is not looked at")
    server = nats_rules.find_server(ROOT)
    if server:
        findings += nats_rules.try_server(server, ROOT / "deploy" / FOLDER, f"deploy/{FOLDER}")
    else:
        print("check-kubernetes: no nats-server here: whether it takes nats-values.yaml is not looked at")
    return findings


def built_by_kubectl(checker, world):
    """kustomize takes the folders, and gives back the same objects, valid still."""
    for kustomization in world.kustomizations:
        folder = Path(kustomization.file).parent
        # Elsewhere: a kubectl that keeps things in the current folder shall not keep them here.
        with tempfile.TemporaryDirectory() as scratch:
            command = ["kubectl", "kustomize", str(ROOT / folder)]
            done = subprocess.run(command, capture_output=True, text=True, cwd=scratch, check=False)
        if done.returncode != 0:
            yield f"{kustomization.file}: kubectl kustomize refuses it: {' '.join(done.stderr.split())}"
            continue
        built = [manifests.Document(kustomization.file, data) for data in yaml.safe_load_all(done.stdout)]
        wanted = {key(one) for one in world.documents if Path(one.file).parent == folder}
        if {key(one) for one in built} != wanted:
            yield f"{kustomization.file}: kustomize makes other objects of it than stand in the files"
        yield from checker.validator.check(built, checker.versions[-1:])


def key(document):
    return (document.kind, document.namespace, document.name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
