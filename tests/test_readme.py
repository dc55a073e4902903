"""Every command that the README shows exists, with the flags that it shows; every file that it links is there."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from tclap.cli import main
from tclap.flags import SweepSettings
from tclap.search_flags import SearchSettings

REPO = Path(__file__).parents[1]
README = (REPO / "README.md").read_text(encoding="utf-8")
NOT_OURS = ("cd", "docker", "export", "ray")


def commands() -> list[str]:
    """The lines of indented blocks, and what stands in backquotes and begins as a command."""
    blocks = [line.strip() for line in README.splitlines() if line.startswith("    ") and line.strip()]
    spans = re.findall(r"`((?:python|tclap|make) [^`]+)`", README.replace("\n", " "))
    lines = [re.sub(r"\s{2,}#.*", "", line) for line in (*blocks, *spans)]
    return [line for line in dict.fromkeys(lines) if line.split()[0] in ("python", "tclap", "make", *NOT_OURS)]


def test_the_readme_shows_commands_of_each_kind() -> None:
    assert {line.split()[0] for line in commands()} >= {"python", "tclap", "make", "ray"}
    assert len(commands()) > 20


@pytest.mark.parametrize("line", [c for c in commands() if c.startswith("python ")])
def test_a_script_takes_its_flags(line: str) -> None:
    _, script, *flags = shlex.split(line)
    assert (REPO / script).is_file()
    kind = SearchSettings if script.endswith("search.py") else SweepSettings
    kind(_cli_parse_args=[flag for flag in flags if flag != "..."])


@pytest.mark.parametrize("line", [c for c in commands() if c.startswith("tclap ")])
def test_a_subcommand_has_its_flags(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, *words = shlex.split(line)
    names = [word for word in words[:2] if re.fullmatch(r"[a-z][a-z0-9-]*", word)]
    if words[0] != "data":
        names = names[:1]
    monkeypatch.setattr(sys, "argv", ["tclap", *names, "--help"])
    with pytest.raises(SystemExit) as stopped:
        main()
    shown = capsys.readouterr()
    assert stopped.value.code == 0, shown.err
    for flag in (word for word in words if word.startswith("--")):
        assert flag in shown.out, f"{line}: no {flag}"


@pytest.mark.parametrize("line", [c for c in commands() if c.startswith("make ")])
def test_a_target_is_in_the_makefile(line: str) -> None:
    target = line.split()[1]
    assert re.search(rf"^{re.escape(target)}:", (REPO / "Makefile").read_text(encoding="utf-8"), re.M)


def test_what_is_linked_is_there() -> None:
    for place in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (REPO / place).exists(), place
