"""Names in settings and names of files are never executed or interpreted."""

import ast
import os
import subprocess

import pytest
from click.testing import CliRunner
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from pipeline.__main__ import main
from pipeline.base.params import VariantSettings
from pipeline.datasets.normalization import Normalization
from pipeline.figures.style import literal
from pipeline.nn.model_file import Model, save_model
from pipeline.nn.training import make_network
from stages.evaluate import main as evaluate
from stages.train import main as train
from tests.conftest import ROOT, changed_params
from tests.test_structure import MODULES, stage_definitions

HOSTILE = [
    "a; touch pwned",
    "'; touch pwned '",
    '"; touch pwned "',
    "$(touch pwned)",
    "`touch pwned`",
    "a\ntouch pwned\n",
    "| touch pwned",
    "& touch pwned &",
    "a > pwned",
    "--help",
    "${seed}",
]
CONFUSING = ["*", "..", "../../pwned", "a@tiny", "\\${seed}", ""]
"""Names that DVC itself rejects."""


def with_variants(project, names):
    """Replace the variants in params.yaml by these names, and make DVC work without git."""
    with changed_params(project) as params:
        params["variants"] = {name: dict(params["variants"]["tiny"]) for name in names}
    (project / ".dvc/config.local").write_text("[core]\n    no_scm = true\n")
    for part in ("train", "validation", "test"):
        (project / "data/splits").mkdir(exist_ok=True)
        (project / f"data/splits/{part}.parquet").write_text("not read")


def dvc(project, *arguments, **environment):
    return subprocess.run(
        ["dvc", *arguments], cwd=project, env=os.environ | environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def pwned(project):
    return [path for path in project.rglob("*pwned*") if "tmp" not in path.parts]


def test_dvc_does_not_execute_the_name_of_a_variant(project):
    with_variants(project, HOSTILE[:1])
    done = dvc(project, "repro", "--single-item", "train")
    assert f"Running stage 'train@{HOSTILE[0]}':" in done.stdout
    assert "must be a name of letters, digits, '_' and '-'" in done.stderr
    assert pwned(project) == []


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_dvc_executes_no_name_in_any_shell(project, shell):
    with_variants(project, HOSTILE)
    done = dvc(project, "repro", "--single-item", "--keep-going", "train", SHELL=shell)
    for name in HOSTILE:
        assert f"Running stage 'train@{name}':" in done.stdout
    assert pwned(project) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFUSING)
def test_dvc_rejects_confusing_names(project, name):
    with_variants(project, [name])
    assert dvc(project, "repro", "--single-item", "train").returncode != 0
    assert pwned(project) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [r"x|touch pwned", r"x$\(touch pwned\)", r"\'\; touch pwned \'"])
def test_an_experiment_does_not_execute_a_name_on_its_command_line(project, name):
    settings = "{hidden: [3], lr: 0.1, batch_size: 64, epochs: 1}"
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"]):
        subprocess.run([*git, *command], cwd=project, check=True)
    done = dvc(project, "exp", "run", "train", "-s", "-S", f"+variants={{{name}: {settings}}}")
    assert done.returncode != 0
    assert pwned(project) == []


def test_no_command_in_dvc_yaml_contains_settings():
    for stage, definition in stage_definitions().items():
        assert definition["cmd"] == f"python -m stages.{stage}"


@pytest.mark.parametrize("stage", [train, evaluate], ids=["train", "evaluate"])
@pytest.mark.parametrize(
    ("arguments", "environment", "variant"),
    [
        ([], {"DVC_STAGE": "train@nobody"}, "nobody"),
        ([], {"DVC_STAGE": "../a@b/dvc.yaml:train@nobody"}, "nobody"),
        (["nobody"], {"DVC_STAGE": "train@tiny"}, "nobody"),
        (["nobody"], {}, "nobody"),
    ],
)
def test_a_stage_takes_its_variant_from_the_command_line_or_from_dvc(
    project, monkeypatch, stage, arguments, environment, variant
):
    monkeypatch.chdir(project)
    result = CliRunner().invoke(stage, arguments, env=environment)
    assert result.exit_code == 1
    assert result.output.startswith("Error: variant must be one of distorted, full_batch, ")
    assert result.output.endswith(f"two_hidden, got {variant}\n")


# ruff's rules S102, S301, S307, S506, S602, S604 and S605 cover most of this, but not NumPy's
# pickles and names that are only passed on.
FORBIDDEN_NAMES = {
    "eval", "exec", "compile", "__import__", "system", "popen", "getoutput", "getstatusoutput",
    "pickle", "read_pickle", "dill", "joblib", "shelve", "marshal", "load_all", "unsafe_load",
    "full_load",
}  # fmt: skip
FORBIDDEN_OPTIONS = {"shell": True, "allow_pickle": True}


@pytest.mark.parametrize("module", MODULES)
def test_the_code_never_evaluates_text_unpickles_or_uses_a_shell(module):
    for node in ast.walk(ast.parse((ROOT / module).read_text())):
        names = set()
        if isinstance(node, ast.Name):
            names = {node.id}
        elif isinstance(node, ast.Attribute):
            # re.compile compiles a pattern, not code.
            compiles = node.attr == "compile" and ast.unparse(node.value) == "re"
            names = set() if compiles else {node.attr}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = {part for alias in node.names for part in alias.name.split(".")}
            names |= set((getattr(node, "module", None) or "").split("."))
        elif isinstance(node, ast.Call):
            for option in node.keywords:
                value = getattr(option.value, "value", option.value)
                used = (option.arg, value)
                assert used not in FORBIDDEN_OPTIONS.items(), (module, node.lineno)
        assert not names & FORBIDDEN_NAMES, (module, node.lineno)


@pytest.mark.parametrize(
    "stem", ["$(touch pwned)", "; touch pwned", "'\"", "a\nb", "\x1b[31m", "-h"]
)
def test_a_picture_may_have_any_name(tmp_path, monkeypatch, stem):
    monkeypatch.chdir(tmp_path)
    settings = VariantSettings(hidden=[2], lr=0.1, batch_size=8, epochs=1)
    network, _ = make_network(settings, 2, 0)
    names = ("$\\frac{$", "\x1b[2J")
    trained_with = {"settings": settings.model_dump()}
    scale = Normalization("scale", 0.0, 1.0)
    save_model(tmp_path / "model.npz", Model("a", network, scale, names, trained_with))
    picture = Image.new("L", (28, 28), 255)
    picture.paste(0, (5, 5, 20, 20))
    picture.save(tmp_path / f"{stem}.png")
    result = CliRunner().invoke(main, ["predict", "model.npz", "--", f"{stem}.png"])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)
    assert pwned(tmp_path) == []


@pytest.mark.parametrize("name", ["$a$", "$\\frac{$", "\\$x$ $", "a $ b"])
def test_a_name_with_dollar_signs_is_not_a_formula(name):
    figure = Figure()
    label = figure.text(0.5, 0.5, literal(name))
    FigureCanvasAgg(figure).draw()
    assert label._preprocess_math(label.get_text()) == (name, False)
