import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest

import roofline
from roofline import cli


def test_help_lists_every_command_by_question(printed):
    for arguments in ((), ("--help",), ("-h",), ("help",)):
        out = printed(*arguments)
        for question, commands in cli.QUESTIONS.items():
            assert question in out
            assert all(f"  {name:<10} {summary}\n" in out for name, summary in commands.items())
        assert max(map(len, out.splitlines())) <= 100


def test_version(run):
    assert run("--version") == (0, f"roofline {roofline.__version__}\n", "")


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_two_examples(name, printed):
    _, module = cli.command_parser(name)
    assert len(module.EXAMPLES) >= 2
    out = printed(name, "--help")
    assert printed("help", name) == out
    for example in module.EXAMPLES:
        assert example.startswith(f"roofline {name}")
        assert f"\n  {example}\n" in out


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_example_parses(name):
    parser, module = cli.command_parser(name)
    for example in module.EXAMPLES:
        arguments = shlex.split(example, comments=True)[2:]
        parser.check_options(arguments)
        parser.parse_args(arguments)


def test_only_the_chosen_command_is_imported():
    code = (
        "import sys; from roofline.cli import main; main(['memory', '--help']); "
        "print([name for name in sys.modules if name.startswith('roofline.commands.')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = out.splitlines()[-1]
    assert "roofline.commands.memory" in loaded
    assert "roofline.commands.plot" not in loaded
    assert "roofline.commands.estimate" not in loaded


def test_an_estimate_reads_each_table_that_it_needs_once_and_no_other():
    code = (
        "import os, sys; read = []\n"
        "sys.addaudithook(lambda event, of: read.append(os.fspath(of[0])) if event == 'open' else None)\n"
        "from roofline.cli import main; main(['estimate', 'gpt2-xl', '-d', 'h100-sxm-80gb'])\n"
        "print(sorted(os.path.basename(path) for path in read if path.endswith('.toml')))\n"
        "print([name for name in sys.modules if name.startswith(('roofline.', 'numpy', 'pandas', 'rich'))])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    *_, read, loaded = out.splitlines()
    of_the_case = ["compiled", "default", "gpt2-xl", "h100-sxm-80gb", "hopper"]
    tables = ["constants", "optimizers", "recipes", "schedules"]
    assert read == str(sorted(f"{name}.toml" for name in of_the_case + tables))
    others = ("numpy", "pandas", "rich", "roofline.view.html", "roofline.answers.fixes", "roofline.readers.fields")
    assert not [name for name in others if f"'{name}'" in loaded]


def test_usage_names_what_must_be_given(printed, probe):
    assert printed(probe, "--help").startswith("usage: roofline probe MODEL -d DEVICE [options]\n")


def test_command_runs(answered, printed, probe):
    out = printed(probe, "gpt2", "-d", "t4", "--micro-batch", "8")
    assert "gpt2  soon" in out
    assert answered(probe, "gpt2", "-d", "t4")["time_s"] == 0.25


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["estmate"], ["unknown command 'estmate'", "did you mean 'estimate'?", "commands: estimate, count"]),
        (["--verion"], ["unknown option '--verion'"]),
        (["help", "estmate"], ["did you mean 'estimate'?"]),
        (["probe", "-d", "t4"], ["missing MODEL", "see 'roofline probe --help'"]),
        (["probe", "gpt2"], ["missing -d/--device"]),
        (["probe", "gpt2", "-d"], ["--device: a value is missing"]),
        (
            ["probe", "gpt2", "-d", "t4", "--mico-batch", "4"],
            ["unknown option --mico-batch: did you mean --micro-batch?"],
        ),
        (["plan", "gpt2", "--gpus", "8"], ["unknown option --gpus: did you mean --num-devices?"]),
        (["count", "gpt2", "--gpu", "t4"], ["unknown option --gpu (see"]),
        (["probe", "gpt2", "-d", "t4", "--micro", "4"], ["unknown option --micro"]),
        (["probe", "gpt2", "-d", "t4", "-x"], ["unknown option -x"]),
        (["probe", "gpt2", "-d", "t4", "--dtype", "bf61"], ["--dtype: unknown value 'bf61'", "'bf16'", "fp16, bf16"]),
        (["probe", "gpt2", "-d", "t4", "--micro-batch", "0"], ["--micro-batch: '0'", "at least 1"]),
        (["probe", "gpt2", "-d", "t4", "--micro-batch", "-3"], ["--micro-batch: '-3'", "at least 1"]),
        (["probe", "gpt2", "-d", "t4", "--micro-batch", "-1e3"], ["--micro-batch: '-1e3'", "at least 1"]),
        (["probe", "gpt2", "-d", "t4", "--micro-batch", "nan"], ["--micro-batch: 'nan'", "at least 1"]),
        (["probe", "gpt2", "-d", "t4", "--micro-batch", "-inf"], ["--micro-batch: '-inf'", "at least 1"]),
        (["probe", "gpt2", "-d", "t4", "more"], ["more"]),
        (["probe", "gpt2", "-d", "t4", "--output", "/nowhere/x.json"], ["--output", "no folder '/nowhere'"][1:]),
        (["probe", "gpt2", "-d", "t4", "--output", "x.xls"], ["--output x.xls", ".json"]),
    ],
)
def test_bad_input_is_one_line_and_exit_2(refused, probe, arguments, parts):
    err = refused(*arguments)
    for part in parts:
        assert part in err


def test_errors_of_the_hardware_package(run, probe, monkeypatch):
    from roofline.hardware.errors import HardwareError

    def fail(_):
        raise HardwareError("unknown device 'h100':\n  did you mean 'h100-pcie-80gb'?")

    monkeypatch.setattr(sys.modules["roofline.commands.probe"], "run", fail)
    assert run(probe, "gpt2", "-d", "h100") == (
        2,
        "",
        "roofline: error: unknown device 'h100': did you mean 'h100-pcie-80gb'?\n",
    )


def test_our_own_mistakes_say_so_and_exit_70(run, probe, monkeypatch):
    monkeypatch.setattr(sys.modules["roofline.commands.probe"], "run", lambda _: [].pop())
    status, out, err = run(probe, "gpt2", "-d", "t4")
    assert (status, out, err.count("\n")) == (70, "", 1)
    assert "internal error: IndexError: pop from empty list (test_cli.py:" in err
    assert "please report" in err
    status, out, err = run(probe, "gpt2", "--debug", "-d", "t4")
    assert (status, out) == (70, "")
    assert "Traceback" in err


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RecursionError(), "nested too deeply"),
        (MemoryError(), "not enough memory"),
        (OSError(36, "File name too long", "x" * 5000), "the system refuses 'xxx"),
        (OSError(28, "No space left on device"), "cannot write the result: No space left"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "not UTF-8"),
        (ImportError("No module named 'numpy'"), "the installation is damaged: No module named 'numpy'"),
        (cli.RooflineError("a name of \x1b[2J"), "a name of \\x1b[2J"),
    ],
)
def test_what_is_not_our_mistake_is_one_line_and_exit_2(refused, probe, monkeypatch, error, words):
    def fail(_):
        raise error

    monkeypatch.setattr(sys.modules["roofline.commands.probe"], "run", fail)
    monkeypatch.setattr(cli, "_drop", lambda _: None)
    err = refused(probe, "gpt2", "-d", "t4")
    assert words in err
    assert len(err) < 1000


def test_interrupt(run, probe):
    assert run(probe, "gpt2", "-d", "t4", "--fail") == (130, "", "roofline: interrupted\n")


def test_broken_pipe_is_silent():
    process = subprocess.Popen(
        [sys.executable, "-m", "roofline", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() in {0, 141}


def test_an_ascii_terminal_gets_ascii():
    out = subprocess.run(
        [sys.executable, "-m", "roofline", "memory", "gpt2", "-d", "h100-sxm-80gb"],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    ).stdout
    assert out.isascii()
    assert b"---" in out


def test_whole_process_exit_status():
    done = subprocess.run([sys.executable, "-m", "roofline", "nosuch"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("roofline: error: unknown command 'nosuch'")


def test_a_closed_standard_output_is_one_line():
    command = ["sh", "-c", f"{sys.executable} -m roofline devices >&-"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("roofline: error: standard output is closed")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("estimate", "gpt2", "-d", "h100-sxm-80gb", "--sequence-parallel"), "tp is 1: add --tp"),
        (("memory", "gpt2", "--network-gbit", "100", "--network-bandwidth", "200"), "given twice (100 and 200)"),
        (("plan", "gpt2", "-d", "h100-sxm-80gb", "--tokens", "1T", "--pue", "0.5"), "at least 1"),
    ],
)
def test_options_without_effect_or_sense_are_refused(refused, arguments, words):
    err = refused(*arguments)
    assert words in err


def test_compare_points_to_the_pictures(capsys):
    assert cli.main(["compare", "--help"]) == 0
    assert "roofline plot MODEL -d DEVICE --kind batch" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["count", "memory", "plot", "mfu", "layouts", "plan", "compare"])
def test_every_command_would_trace_a_function(command, capsys):
    more = {"mfu": ["--step-time-s", "1"], "plan": ["--tokens", "1B"], "layouts": ["--num-devices", "8"]}
    more["plot"] = ["--output", "x.png"]
    device = [] if command == "count" else ["-d", "h100-sxm-80gb"]
    assert cli.main([command, "file.py:build", *device, *more.get(command, [])]) == 2
    error = capsys.readouterr().err
    assert "tracing a module needs PyTorch" in error or "no file 'file.py'" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("words", [["models"], ["plot", "-d", "t4", "--kind", "batch", "--output", "x.png"]])
def test_what_needs_shapes_says_so_of_a_function(words, capsys):
    command, *more = words
    assert cli.main([command, "file.py:build", *more]) == 2
    error = capsys.readouterr().err
    assert "'file.py:build' is a function that builds a PyTorch module" in error
    assert error.count("\n") == 1


def test_figures_of_a_traced_module_cannot_be_set(capsys):
    assert cli.main(["estimate", "file.py:build", "-d", "h100-sxm-80gb", "--set", "n_layers=3"]) == 2
    assert "--set n_layers=3 does not apply to a traced module: change it in file.py" in capsys.readouterr().err


def test_freeze_and_names_of_adapters_on_the_command_line(capsys):
    assert cli.main(["memory", "gpt2", "-d", "h100-sxm-80gb", "--freeze", "embeddings"]) == 0
    assert "frozen embeddings" in capsys.readouterr().out
    lora = ["memory", "llama-2-7b", "-d", "h100-sxm-80gb", "--train", "lora", "--lora-rank", "8"]
    assert cli.main([*lora, "--lora-modules", "q_proj,v_proj"]) == 0
    assert "LoRA of rank 8 on q_proj,v_proj projections" in capsys.readouterr().out
    assert cli.main([*lora, "--lora-modules", "q_prj"]) == 2
    assert "did you mean 'q_proj'" in capsys.readouterr().err
    assert cli.main(["memory", "gpt2", "-d", "h100-sxm-80gb", "--lora-modules", "mlp"]) == 2
    assert "without train 'lora'" in capsys.readouterr().err


def shell(command, **options):
    """Run a shell command in which ``$R`` is the program."""
    source = os.path.dirname(os.path.dirname(roofline.__file__))
    paths = os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "R": f"{sys.executable} -m roofline", "PYTHONPATH": paths}
    done = subprocess.run(["bash", "-c", command], capture_output=True, env=environment, check=False, **options)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_a_command_that_shows_progress_needs_no_standard_error(monkeypatch):
    monkeypatch.setattr("sys.stderr", None)  # closed by the shell: 2>&-
    arguments = ["layouts", "gpt2", "-d", "t4", "--num-devices", "2", "--global-batch", "8"]
    assert cli.main(arguments) == 0


@pytest.mark.parametrize("redirect", ["2>&-", "2>/dev/full", "--debug 2>/dev/full"])
def test_the_status_tells_where_standard_error_cannot(redirect):
    assert shell(f"$R nosuch {redirect}") == (2, "", "")


@pytest.mark.parametrize("arguments", ["--help", "--version", "estimate --help", "devices"])
def test_a_full_disk_is_one_line_whatever_is_printed(arguments):
    status, _, err = shell(f"$R {arguments} >/dev/full")
    assert (status, err) == (2, "roofline: error: cannot write the result: No space left on device\n")


def test_a_deleted_working_folder(tmp_path):
    gone = f"mkdir {tmp_path}/gone && cd {tmp_path}/gone && rmdir {tmp_path}/gone && $R"
    status, _, err = shell(f"{gone} count gpt2 --output x.json")
    assert (status, err.count("\n")) == (2, 1)
    assert "the working folder is gone" in err


def test_hostile_text_is_short_and_harmless(refused, probe):
    for arguments in (
        (probe, "gpt2", "-d", "t4", "--micro-batch", "9" * 10_000),
        (probe, "gpt2", "-d", "t4", "--dtype", "\x1b[2J" * 3000),
        ("count", "gpt2\x1b[2J"),
        ("count", "x" * 10_000),
        ("estimate", "gpt2", "-d", "\u202ex" * 10_000),
        ("count", "gpt2", "--set", "n_layers=" + "[" * 3000),
        ("count", "gpt2", "--set", "n_layers=1\n[x]"),
        ("count", "gpt2", "--output", "x" * 300 + ".json"),
        ("count", "gpt2", "--output", "x\0y.json"),
        ("estimate", "gpt2", "-d", "h100-sxm-80gb", "--micro-batch", ",".join(map(str, range(1, 1001)))),
    ):
        err = refused(*arguments)
        assert len(err) < 3100
        assert err[:-1].isprintable()


def test_terminal_escapes_in_a_config_are_written_out(printed, tmp_path):
    config = {"model_type": "gpt2", "_name_or_path": "a/\x1b[2J\u202e=cmd|x", "n_layer": 2, "n_embd": 64, "n_head": 2}
    config |= {"n_positions": 64, "vocab_size": 64}
    (tmp_path / "config.json").write_text(json.dumps(config))
    for form in ("table", "markdown", "json", "csv"):
        out = printed("estimate", str(tmp_path), "-d", "h100-sxm-80gb", "--format", form)
        assert out.replace("\n", "").isprintable()


def test_interrupted_while_importing_or_working(tmp_path):
    """Whatever happens when Ctrl-C comes, it is one line and 130: no traceback, no crash of an extension module."""
    start = (  # who runs the tests may have it ignored
        "import runpy, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "sys.argv = ['roofline', 'devices']; runpy.run_module('roofline', run_name='__main__')"
    )
    for stage in ("import time; time.sleep(9)", "def __getattr__(name): import time; time.sleep(9)"):
        (tmp_path / "msgspec.py").write_text(f"print('here', flush=True)\n{stage}\n")
        process = subprocess.Popen(
            [sys.executable, "-c", start],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 (ignored in a background job)
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH")))),
            },
        )
        assert process.stdout.readline() == "here\n"
        time.sleep(0.5)  # until it sleeps
        process.send_signal(signal.SIGINT)
        assert process.communicate() == ("", "roofline: interrupted\n")
        assert process.returncode == 130
