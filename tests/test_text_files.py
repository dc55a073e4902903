"""Every text file that tclap reads or writes is UTF-8, whatever the locale says."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [*ROOT.glob("tclap/**/*.py"), *ROOT.glob("sweeps/*.py"), *ROOT.glob("docker/image/*.py")]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_text_file_is_opened_in_the_locales_encoding(file: Path) -> None:
    for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(call, ast.Call):
            continue
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        keywords = {keyword.arg for keyword in call.keywords}
        modes = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        owner = getattr(getattr(call.func, "value", None), "id", "")
        is_open = name == "open" and owner not in ("tarfile", "os") and not any("b" in mode for mode in modes[-1:])
        if name in ("read_text", "write_text", "NamedTemporaryFile", "fdopen") or is_open:
            binary = name == "NamedTemporaryFile" and "mode" not in keywords
            assert binary or "encoding" in keywords, f"{file}:{call.lineno}"
        assert not (name == "run" and "text" in keywords), f"{file}:{call.lineno}"
