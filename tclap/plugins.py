"""What a user brings by name: `package.module:name`, or the entry point of an installed package (design 12).

A module is looked for where Python looks, and then in the current folder. That folder is also put into PYTHONPATH,
which processes started from this one inherit, so that the workers of a local Ray find the module, too. On a cluster
it travels with `ray job submit --working-dir .`, or lies in a folder of the image's PYTHONPATH.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import os
import re
import sys
import sysconfig
from difflib import get_close_matches
from pathlib import Path

from tclap.errors import InputError

MODELS = "tclap.models"  # the group of entry points that are factories of models
_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def reference(name: str, group: str) -> str | None:
    """`package.module:name` of what `name` stands for: itself, or an entry point of `group`; None if it is neither."""
    if _REFERENCE.fullmatch(name):
        return name
    found = importlib.metadata.entry_points(group=group, name=name)
    return next((entry.value for entry in found), None)


def load(name: str, group: str) -> object:
    """The object that `name` stands for.

    Raises InputError: no such entry point, no such module, a module that fails when it is imported, or one that lacks
    the name.
    """
    where = reference(name, group)
    if where is None:
        raise InputError(f"{name!r} is neither package.module:name nor an installed entry point of {group}")
    module_name, _, attribute = where.partition(":")
    hand_on_current_folder()
    try:
        found: object = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name + ".").startswith(error.name + "."):
            raise InputError(
                f"{name}: there is no module {error.name} where Python looks (PYTHONPATH), nor in {Path.cwd()}"
            ) from error
        raise InputError(f"{name}: importing {module_name} needs {error.name}, which is not installed") from error
    except (ImportError, SyntaxError, AttributeError, NameError, TypeError, ValueError, OSError) as error:
        raise InputError(f"{name}: importing {module_name} failed: {type(error).__name__}: {error}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            near = get_close_matches(part, dir(found), n=1)
            raise InputError(f"{name}: {module_name} has no {part}" + (f"; did you mean {near[0]}?" if near else ""))
        found = getattr(found, part)
    return found


def code_version(name: str, group: str) -> str:
    """What names the code behind `name` in hashes and fingerprints: `module version`.

    The version is that of the module or of its package (`__version__`, or the installed distribution's). Code that
    declares none is named by the content of its files: an edit makes it another model.
    """
    where = reference(name, group) or name
    module_name = where.partition(":")[0]
    load(name, group)
    top = module_name.partition(".")[0]
    for module in (sys.modules[module_name], sys.modules[top]):
        version = getattr(module, "__version__", None)
        if isinstance(version, str):
            return f"{where} {version}"
    try:
        return f"{where} {importlib.metadata.version(top)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{where} {_content(_home(module_name))}"


def code_paths(name: str, group: str) -> list[Path]:
    """What must travel with a model so that `name` is found elsewhere: its module's file or its package's folder.

    Nothing for a built-in name, nor for a package that is installed, which is installed there, too.
    """
    where = reference(name, group)
    if where is None:
        return []
    load(name, group)
    home = _home(where.partition(":")[0]).resolve()
    installed = [Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib", "stdlib")]
    return [] if any(home.is_relative_to(folder) for folder in installed) else [home]


def _home(module_name: str) -> Path:
    """The folder of a module's outermost package, with or without an `__init__.py`, or the file of a lone module."""
    top = sys.modules[module_name.partition(".")[0]]
    if top.__file__ is not None:
        file = Path(top.__file__)
        return file.parent if file.name == "__init__.py" else file
    file = Path(str(sys.modules[module_name].__file__))  # one of the folders that are together a namespace package
    own = file.parent if file.name == "__init__.py" else file
    return own.parents[module_name.count(".") - 1]


def _content(home: Path) -> str:
    """SHA-256 of a module's file, or of all Python files of a package's folder."""
    root, files = (home, sorted(home.rglob("*.py"))) if home.is_dir() else (home.parent, [home])
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def hand_on_current_folder() -> None:
    """Let Python find modules in the current folder, here and in processes that are started from here."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # at the end: a folder here called as a package does not hide the package
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if here not in inherited:
        os.environ["PYTHONPATH"] = os.pathsep.join([*filter(None, inherited), here])
    importlib.invalidate_caches()
