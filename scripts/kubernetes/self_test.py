"""The check of the check: a mistake is planted into a copy of deploy/, and must be found, with its file and reason.
A check that finds nothing on a good day proves nothing until it has found something on a bad one."""

import shutil
import tempfile
from pathlib import Path

from plants import PLANTS, Plant


def run(checker, deploy: Path):
    """How many mistakes were planted, and a line for each that was missed."""
    plants = [plant for plant in PLANTS if (deploy / plant.file).is_file() or not plant.old]
    skipped = len(PLANTS) - len(plants)
    if skipped:
        print(f"check-kubernetes: {skipped} planted mistakes need files that are not there")
    missed = []
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "a copy" / "deploy"
        shutil.copytree(deploy, copy)
        before = set(checker.check(copy, checker.versions[-1:])[0])
        shutil.rmtree(copy)
        for plant in plants:
            shutil.copytree(deploy, copy)
            missed += attempt(checker, copy, plant, before)
            shutil.rmtree(copy)
    return len(plants), missed


def attempt(checker, copy: Path, plant: Plant, before: set):
    """A line if it was missed. What was found `before` anything was planted does not count."""
    file = copy / plant.file
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    if plant.new is None:
        file.unlink()
    elif plant.old not in text:
        yield f"self-test: deploy/{plant.file}: no '{plant.old}' to plant '{plant.caught}' on: mend plants.py"
        return
    elif plant.old:
        file.write_text(text.replace(plant.old, plant.new, 1), encoding="utf-8")
    else:
        file.write_text(text + plant.new, encoding="utf-8")
    findings = [finding for finding in checker.check(copy, checker.versions[-1:])[0] if finding not in before]
    named = plant.named or plant.file.rpartition("/")[2]
    if not any(plant.caught in finding and named in finding.partition(": ")[0] for finding in findings):
        others = "; ".join(findings[:3]) or "nothing"
        yield f"self-test: deploy/{plant.file}: a planted mistake was not caught: '{plant.caught}'; found: {others}"
