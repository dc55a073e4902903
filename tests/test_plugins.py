"""Where a user's code is found, and what names its version."""

import sys

import pytest

from tclap import plugins
from tclap.errors import InputError


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, whose modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_module_of_the_current_folder_is_found_after_those_that_are_installed(here):
    (here / "my_thing.py").write_text("value = {'a': 1}")
    (here / "json.py").write_text("raise SystemExit")
    assert plugins.load("my_thing:value", plugins.MODELS) == {"a": 1}
    assert plugins.load("json:loads", plugins.MODELS)("2") == 2
    import os

    assert os.environ["PYTHONPATH"] == f"/elsewhere:{here}"


def test_attributes_may_be_deep(here):
    (here / "my_deep.py").write_text("class A:\n    class B:\n        c = 3\n")
    assert plugins.load("my_deep:A.B.c", plugins.MODELS) == 3
    with pytest.raises(InputError, match="my_deep has no d"):
        plugins.load("my_deep:A.d", plugins.MODELS)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import surely_not_installed", "importing my_broken needs surely_not_installed, which is not installed"),
        ("1 +", "importing my_broken failed: SyntaxError"),
        ("value = missing", "importing my_broken failed: NameError"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_line(here, code, words):
    (here / "my_broken.py").write_text(code)
    with pytest.raises(InputError, match=words) as caught:
        plugins.load("my_broken:value", plugins.MODELS)
    assert "\n" not in str(caught.value)


def test_code_is_named_by_its_version_or_else_by_its_files(here):
    def version(name, **files):
        for file, text in files.items():
            path = here.joinpath(*file.split("__of__")[::-1]).with_suffix(".py")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        for module in [m for m in sys.modules if m.startswith("my_")]:
            del sys.modules[module]
        return plugins.code_version(name, plugins.MODELS)

    assert version("my_a:x", my_a="__version__ = '1.2'\nx = 1") == "my_a:x 1.2"
    assert version("my_a:x", my_a="__version__ = '1.2'\nx = 2") == "my_a:x 1.2"
    one = version("my_b:x", my_b="x = 1")
    assert one == version("my_b:x")
    assert one != version("my_b:x", my_b="x = 10")
    whole = version("my_p.inner:x", __init____of__my_p="", inner__of__my_p="x = 1", other__of__my_p="y = 1")
    assert whole != version("my_p.inner:x", other__of__my_p="y = 22")
    bare = version("my_n.inner:x", inner__of__my_n="x = 1", other__of__my_n="y = 1")  # a folder without __init__.py
    assert plugins.code_paths("my_n.inner:x", plugins.MODELS) == [here / "my_n"]
    assert bare != version("my_n.inner:x", other__of__my_n="y = 22")
    assert plugins.code_version("pytest:main", plugins.MODELS) == f"pytest:main {pytest.__version__}"


def test_names_that_are_no_reference():
    for name in ("mini", "a:b:c", "a b:c", ":x", "x:", "1a:b", ""):
        assert plugins.reference(name, plugins.MODELS) is None
    with pytest.raises(InputError, match=r"'mini' is neither package\.module:name nor an installed entry point"):
        plugins.load("mini", plugins.MODELS)
