"""Each arrow points down, and each of the three large packages is imported in one place (docs/design.md, 2)."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tclap"
# From the top down: a room imports from rooms below it, and from itself.
FLOORS = [
    {"__main__"},
    {"cli"},
    {"commands"},
    {"lanes"},
    {"tracking"},
    {"report"},
    {"search_flags"},
    {"flags", "scored"},
    {"presets", "environment", "stopping_flags"},
    {"sweep"},
    {"experiment"},
    {"training", "evaluation"},
    {"features"},
    {"models"},
    {"data"},
    {"cache", "console"},
    {"redact"},
    {"places", "distributed"},
    {"axes"},
    {"config"},
    {"plugins"},
    {"errors", "__init__"},
]
ONLY_IN = {
    "ray": ("lanes/",),
    "mlflow": ("tracking/",),
    "optuna": ("sweep/study.py", "sweep/journal.py", "report/study_plots.py"),
}
FILES = sorted(PACKAGE.rglob("*.py"))


def imports(file):
    """Every module that the file imports, wherever in it, names imported from a package included."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "tclap":
                yield from (f"tclap.{a.name}" for a in node.names if not a.name.startswith("__"))
            else:
                yield node.module


def room(file):
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


def floor(name):
    (number,) = (n for n, rooms in enumerate(FLOORS) if name in rooms)
    return number


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_file_imports_only_from_below(file):
    own = room(file)
    for module in imports(file):
        first, *rest = module.split(".")
        if first == "tclap" and rest and rest[0] != own:
            assert floor(rest[0]) > floor(own), f"{own} imports {module}, which is above or beside it"


@pytest.mark.parametrize("package", ONLY_IN)
def test_a_large_package_is_imported_in_its_own_place_alone(package):
    users = {str(file.relative_to(PACKAGE)) for file in FILES if package in {m.split(".")[0] for m in imports(file)}}
    assert users, f"nobody imports {package}"
    assert [user for user in users if not user.startswith(ONLY_IN[package])] == []


def test_every_room_has_its_floor():
    assert {room(file) for file in FILES} <= set.union(*FLOORS)


def test_a_file_has_one_job_and_so_few_lines():
    """Mostly under 300; what is longer says why here."""
    longer = {str(f.relative_to(PACKAGE)) for f in FILES if len(f.read_text(encoding="utf-8").splitlines()) > 320}
    assert longer == set()
