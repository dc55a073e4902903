"""Names, texts, flags and terminals as they are: nothing that a user names is read as syntax of ours."""

import io
import os
import runpy
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.table import Table

from tclap import cli, console
from tclap.commands import using
from tclap.commands.scoring import Zste
from tclap.data import dataset as datasets
from tclap.evaluation.captioned import find_clips, read_captions
from tclap.flags import SweepSettings
from tclap.lanes import stopping
from tclap.search_flags import SearchSettings
from tclap.training import checkpoint

TABLE5 = Path(__file__).parents[1] / "sweeps" / "table5.py"
TEXTS = [
    "a dog barks, then a cat meows",
    "[dog] before cat",
    'he said "stop"',
    '"quoted"',
    "{dog}",
    "null",
    "true",
    "1.5",
    "[1, 2]",
    "back\\slash",
    "[/b]",
    ":dog: before :cat:",
    "naïve, “curly” — and 犬",
]
NAMES = [
    "dog, close.wav",
    "dog [close].wav",
    "[bold]dog.wav",
    "a:smile:b.wav",
    "{x}.wav",
    "Clotho (1) [1].wav",
    "犬.wav",
]


@pytest.fixture
def tclap(monkeypatch, capsys):
    def run(*flags) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tclap", *map(str, flags)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return (stopped.value.code, *capsys.readouterr())

    return run


def test_texts_and_paths_reach_the_model_as_they_were_typed(tclap, monkeypatch, mini, tmp_path):
    checkpoint.save(tmp_path / "checkpoint", mini, {})
    for name in NAMES:
        soundfile.write(tmp_path / name, np.sin(np.arange(16_000)), 16_000)
    seen = []
    scores = using.similarities
    monkeypatch.setattr(using, "similarities", lambda model, a, t: seen.append((a, t)) or scores(model, a, t))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console.console, "_width", 4000)
    code, out, _ = tclap("score", "checkpoint", *NAMES, *TEXTS)
    assert code == 0
    assert seen == [(NAMES, TEXTS)]
    assert [name for name in (*NAMES, *TEXTS) if name not in out] == []


def test_a_file_longer_than_a_window_is_said(tclap, monkeypatch, mini, tmp_path):
    checkpoint.save(tmp_path / "checkpoint", mini, {})
    for name, seconds in (("window.wav", 2), ("long.wav", 3)):
        soundfile.write(tmp_path / name, np.sin(np.arange(16_000 * seconds)), 16_000)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console.console, "_width", 400)
    code, out, _ = tclap("score", "checkpoint", "window.wav", "long.wav", "dog before cat")
    assert code == 0
    assert "note: longer than a window of 2 s: long.wav: heard in windows that overlap by half" in out
    assert "longer than" not in tclap("score", "checkpoint", "window.wav", "dog before cat")[1]


@pytest.mark.parametrize("name", [*NAMES, *TEXTS])
def test_what_is_named_is_printed_as_it_is(monkeypatch, name):
    file = io.StringIO()
    monkeypatch.setattr(console.console, "_file", file)
    monkeypatch.setattr(console.console, "_width", 400)
    console.console.print(f"in {name}")
    table = Table("cosine", name, title=f"table of {name}")
    table.add_row(name, "1")
    console.console.print(table)
    assert file.getvalue().count(name) == 4


def test_other_values_keep_their_commas_and_brackets(tmp_path):
    flags = ["--data", "a,b [c]", "--storage", "x,y", "--weights", "random", "--mlflow-page", "[1,2]"]
    settings = SweepSettings(_cli_parse_args=flags)
    assert (str(settings.data), str(settings.storage), settings.mlflow_page) == ("a,b [c]", "x,y", "[1,2]")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("seeds", "0,1,2", (0, 1, 2)),
        ("seeds", " 0 , 1 ", (0, 1)),
        ("seeds", "[0, 1]", (0, 1)),
        ("batch_sizes", "40", (40,)),
        ("test_folds", "[]", ()),
        ("train_folds", "2,1", (1, 2)),
        ("stages", "B", ("B",)),
        ("lrs", "1e-3,3e-3", (1e-3, 3e-3)),
        ("objectives", "zste/1", ("zste/1",)),
        ("retrieval", "a=b,c", ("a=b,c",)),
    ],
)
def test_a_list_in_the_environment_is_what_the_command_line_takes(monkeypatch, name, value, expected):
    monkeypatch.setenv(f"TCLAP_{name.upper()}", value)
    assert getattr(SearchSettings(_cli_parse_args=[]), name) == expected
    monkeypatch.delenv(f"TCLAP_{name.upper()}")
    flag = f"--{name.replace('_', '-')}"
    assert getattr(SearchSettings(_cli_parse_args=[flag, value]), name) == expected


@pytest.mark.parametrize(
    "flags", [["best", "--bogus"], ["data", "check"], ["score"], ["zste", "--folds"], ["train", "x"]]
)
def test_wrong_flags_are_one_line_and_no_usage(tclap, flags):
    code, out, err = tclap(*flags)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("error: ")
    assert "usage" not in err


@pytest.mark.parametrize(("on_disk", "named"), [("NFD", "NFC"), ("NFC", "NFD"), ("NFC", "NFC"), ("NFD", "NFD")])
def test_an_accent_is_one_letter_however_the_disk_writes_it(tclap, tmp_path, mini, on_disk, named):
    file = unicodedata.normalize(on_disk, "café à la ü.wav")
    name = unicodedata.normalize(named, "café à la ü.wav")
    (tmp_path / "audio").mkdir()
    (tmp_path / "meta").mkdir()
    soundfile.write(tmp_path / "audio" / file, np.sin(np.arange(16_000)), 16_000)
    (tmp_path / "meta" / "esc50.csv").write_text(f"filename,fold,target,category\n{name},1,1,dog\n", encoding="utf-8")
    dataset = datasets.read_index(tmp_path)
    assert dataset.path(0).is_file()
    (tmp_path / "captions.csv").write_text(f"file_name,caption_1\n{name},a dog\n", encoding="utf-8")
    assert find_clips(tmp_path / "audio", read_captions(tmp_path / "captions.csv")).missing == ()
    checkpoint.save(tmp_path / "checkpoint", mini, {})
    code, _, err = tclap("score", tmp_path / "checkpoint", tmp_path / "audio" / name, "dog")
    assert (code, err) == (0, "")


def test_the_digest_is_the_same_in_either_writing(tmp_path):
    digests = set()
    for form in ("NFC", "NFD"):
        root = tmp_path / form
        (root / "audio").mkdir(parents=True)
        (root / "meta").mkdir()
        soundfile.write(root / "audio" / unicodedata.normalize(form, "é.wav"), np.sin(np.arange(16_000)), 16_000)
        (root / "meta" / "esc50.csv").write_text("filename,fold,target,category\né.wav,1,1,dog\n", encoding="utf-8")
        digests.add(datasets.digest(datasets.read_index(root)))
    assert len(digests) == 1


def test_a_byte_order_mark_and_windows_lines_are_fine(tmp_path):
    (tmp_path / "meta").mkdir()
    csv = tmp_path / "meta" / "esc50.csv"
    csv.write_bytes(b"\xef\xbb\xbffilename,fold,target,category\r\n\r\na.wav,1,1,None\r\nb.wav,2,2,NA,,\r\n")
    dataset = datasets.read_index(tmp_path)
    assert dataset.class_names == ("None", "NA")  # words, not missing values
    assert dataset.filenames == ("a.wav", "b.wav")


PRINT = """
import sys
from tclap.console import console, run_or_exit
def main():
    for n in range(2000):
        console.print(f"α {n} → é")
    print("reached the end", file=sys.stderr)
    return 3
run_or_exit(main)
"""


@pytest.mark.parametrize("encoding", ["iso-8859-1", "ascii", "cp1252", "utf-8", "koi8-r"])
def test_a_terminal_that_cannot_show_alpha_stops_nothing(encoding):
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", PRINT], env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (3, b"reached the end\n")
    assert "1999" in done.stdout.decode(encoding)


def test_text_files_are_utf_8_whatever_the_locale(tmp_path):
    """EncodingWarning is raised where a file is opened in the locale's encoding."""
    script = f"""
from pathlib import Path
from tclap.data import synth
from tclap.data.dataset import read_index
from tclap.data.preview import write_preview
from tclap.places import write_atomically
from tclap.sweep.claim import claim_name
root = synth.write_dataset(Path({str(tmp_path)!r}) / "d", classes=2, clips=5)
write_preview(read_index(root), Path({str(tmp_path)!r}) / "p", 1, 2.0, 16000, 0)
write_atomically(Path({str(tmp_path)!r}) / "α.md", "α →")
claim_name(Path({str(tmp_path)!r}) / "s", {{"a": "α"}})
"""
    warn = ["-X", "warn_default_encoding", "-W", "error::EncodingWarning:tclap"]
    subprocess.run([sys.executable, *warn, "-c", script], check=True)
    assert (tmp_path / "α.md").read_bytes() == "α →".encode()


@pytest.mark.parametrize("lines", [0, 1, 5])
def test_a_reader_that_leaves_ends_nothing(lines):
    """As in `python sweeps/search.py | head -1`: the search goes on, and its exit code is its own."""
    with subprocess.Popen([sys.executable, "-c", PRINT], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        for _ in range(lines):
            running.stdout.readline()
        running.stdout.close()
        assert running.stderr.read() == b"reached the end\n"
    assert running.returncode == 3


@pytest.mark.parametrize(("closed", "code"), [("1", 3), ("2", 3), ("1 2", 3)])
def test_a_process_without_a_terminal_goes_on(closed, code):
    """As with `>&-` in a job's script: Python has no stream there then."""
    without = " ".join(f"{stream}>&-" for stream in closed.split())
    command = f"exec \"{sys.executable}\" -c '{PRINT}' {without}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=False)
    assert done.returncode == code
    assert b"Traceback" not in done.stderr


FULL = "error: standard output: No space left on device"


@pytest.mark.parametrize("script", [PRINT, "from tclap.console import run_or_exit\nrun_or_exit(lambda: print('x'))"])
def test_a_full_disk_under_the_log_is_said_and_ends_nothing_before(script):
    with open("/dev/full", "w") as full:
        buffered = {**os.environ, "PYTHONUNBUFFERED": ""}
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, env=buffered, stdout=full, stderr=subprocess.PIPE, check=False)
    *before, last = done.stderr.decode().splitlines()
    assert (done.returncode, before) == (2, ["reached the end"] if script == PRINT else [])
    assert last.startswith(FULL)


RAISES = """
from tclap.console import run_or_exit
def main():
    raise {error}
run_or_exit(main)
"""


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        ("KeyboardInterrupt", 130, "stopped"),
        ("PermissionError(13, 'Permission denied', '/a/b.lock')", 2, "error: /a/b.lock: Permission denied"),
        ("OSError(28, 'No space left on device', '/a/b.npy')", 2, "error: /a/b.npy: No space left on device"),
        ("FileExistsError(17, 'File exists', '/a')", 2, "error: /a: File exists"),
    ],
)
def test_what_the_system_refuses_is_one_line(error, code, line):
    script = RAISES.format(error=error)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()) == (code, [line])


def test_a_bug_keeps_its_traceback():
    for error in ("OSError('of no file')", "KeyError('x')"):
        script = RAISES.format(error=error)
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert (done.returncode, "Traceback" in done.stderr) == (1, True)


SECRET = "hunter2"


@pytest.mark.parametrize(
    "url", [f"postgresql://me:{SECRET}@db/x", f"http://me:{SECRET}@h:5000", f"https://h/?token={SECRET}"]
)
def test_no_line_on_the_console_holds_a_password(monkeypatch, url):
    file = io.StringIO()
    monkeypatch.setattr(console.console, "_file", file)
    console.console.print(f"FAILED: {url} does not answer", style="red")
    monkeypatch.setattr(sys, "argv", ["search.py", "--study", url])
    stopping.say_how_to_go_on()
    assert SECRET not in file.getvalue() + stopping.this_command()
    assert file.getvalue().count("***") == 2


@pytest.mark.parametrize("home", ["/home/me", "/h o m e"])
def test_the_home_folder_is_where_no_shell_has_written_it_out(monkeypatch, home):
    monkeypatch.setenv("HOME", home)
    monkeypatch.setenv("TCLAP_STORAGE", "~/runs")
    given = ["--data=~/esc50", "--retrieval", "x=~/clips,~/captions.csv", "--study=sqlite:///~/s.db"]
    settings = SearchSettings(_cli_parse_args=given)
    assert (str(settings.storage), str(settings.data)) == (f"{home}/runs", f"{home}/esc50")
    assert [str(path) for path in settings.retrieval_sets()["x"]] == [f"{home}/clips", f"{home}/captions.csv"]
    assert settings.study == f"sqlite:///{home}/s.db"
    assert Zste.model_validate({"data": "~/esc50", "model": "~/ck"}).model == f"{home}/ck"
    table5 = runpy.run_path(str(TABLE5))["Table5Settings"](_cli_parse_args=["--models=msclap-2022=~/w,mini"])
    assert table5.models == (f"msclap-2022={home}/w", "mini")


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (["--prompts={}"], ("{}",)),
        (["--prompts", "{} is heard"], ("{} is heard",)),
        (["--prompts", "{}, The sound of {}"], ("{}", "The sound of {}")),
        (["--prompts", '"{}, loud",I hear {}'], ("{}, loud", "I hear {}")),
        (["--prompts", '["{}", "I hear {}"]'], ("{}", "I hear {}")),
    ],
)
def test_a_prompt_may_begin_with_its_brace(monkeypatch, given, read):
    monkeypatch.setattr(sys, "argv", ["table4.py", *given])
    assert console.parse(SweepSettings).prompts == read


def test_print_into_a_closed_pipe_is_silent():
    script = "from tclap.console import run_or_exit\nrun_or_exit(lambda: print('x' * 10**6))"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 0
