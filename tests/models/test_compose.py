"""Composed adapters: sums are exact, TIES is PEFT's, the result opens here and in PEFT, strangers are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tunewright.core import catalog
from tunewright.core.errors import DataError, NotThere, RunError
from tunewright.models import lora_files, lora_layers
from tunewright.models.compose import compose
from tunewright.models.engine import Engine

OPTIONS: dict[str, dict[str, Any]] = {
    "a": {"rank": 4, "targets": ["q_proj", "down_proj"]},
    "b": {"rank": 3, "alpha": 5.0, "rslora": True, "targets": ["q_proj", "v_proj"]},
}


@pytest.fixture(scope="module")
def made(open_tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two adapters of different ranks and layers over one base."""
    folders = {}
    for number, (name, options) in enumerate(OPTIONS.items()):
        model = open_tiny("llama")
        method = catalog.build("methods", {"kind": "lora", **options})
        method.attach(model.net, seed=number)
        with torch.no_grad():
            for _, layer in lora_layers.layers(model.net):
                layer.B["default"].normal_(std=0.3, generator=torch.Generator().manual_seed(number))
        folders[name] = tmp_path_factory.mktemp(name)
        method.save(model.net, folders[name])
    return folders


def deltas(folder: Path) -> dict[str, torch.Tensor]:
    return {path: m.scale * (m.b.double() @ m.a.double()) for path, m in lora_files.read_adapter(folder).items()}


def summed(made: dict[str, Path], weights: dict[str, float]) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for name, weight in weights.items():
        for path, delta in deltas(made[name]).items():
            found[path] = found.get(path, 0) + weight * delta
    return found


@pytest.mark.parametrize(
    ("how", "given", "meant"),
    [
        ("task_arithmetic", (0.7, -0.3), (0.7, -0.3)),
        ("stack", (0.7, 0.3), (0.7, 0.3)),
        ("average", (3.0, 1.0), (0.75, 0.25)),
    ],
)
def test_sums_are_exact(how: Any, given: Any, meant: Any, made: dict[str, Path], tmp_path: Path) -> None:
    names = list(made)
    report = compose(tmp_path / "out", [f"{made[n]}:{w}" for n, w in zip(names, given, strict=True)], how=how)
    wanted = summed(made, dict(zip(names, meant, strict=True)))
    found = deltas(tmp_path / "out")
    assert found.keys() == wanted.keys() and report.numbers["layers"] == len(found) == 9
    assert all(torch.allclose(found[path], wanted[path], atol=1e-7) for path in wanted)
    assert report.numbers["rank"] == 7 and report.numbers["lost"] < 1e-6 and not report.findings


def test_what_is_the_same_twice_needs_no_more_rank(made: dict[str, Path], tmp_path: Path) -> None:
    source = str(made["a"])
    report = compose(tmp_path / "one", [source, f"{source}:-0.5"])
    assert report.numbers["rank"] == 4
    assert all(torch.allclose(d, 0.5 * deltas(made["a"])[p], atol=1e-7) for p, d in deltas(tmp_path / "one").items())
    low = compose(tmp_path / "low", [source], rank=2)
    truth, found = deltas(made["a"]), deltas(tmp_path / "low")
    gaps = [float((found[path] - truth[path]).norm() / truth[path].norm()) for path in truth]
    assert low.numbers["rank"] == 2 and low.numbers["lost"] == pytest.approx(max(gaps), rel=1e-4)
    assert "lost" in low.findings[0].message


def test_ties_by_hand(tmp_path: Path, made: dict[str, Path]) -> None:
    first = torch.tensor([[3.0, -2.0, 0.1], [0.0, 5.0, -4.0]])
    second = torch.tensor([[-1.0, -4.0, 0.2], [2.0, 3.0, 6.0]])
    for name, delta in (("x", first), ("y", second)):
        shutil.copytree(made["a"], tmp_path / name)
        save_file(
            {
                "base_model.model.l.lora_A.weight": torch.eye(3),
                "base_model.model.l.lora_B.weight": delta.contiguous(),
            },
            tmp_path / name / "adapter_model.safetensors",
        )
        config = json.loads((tmp_path / name / "adapter_config.json").read_text())
        config |= {"r": 3, "lora_alpha": 3}
        (tmp_path / name / "adapter_config.json").write_text(json.dumps(config))
    compose(tmp_path / "out", [str(tmp_path / "x"), str(tmp_path / "y")], how="ties", density=2 / 3)
    # kept: 3 -2 . / . 5 -4 and . -4 . / 2 3 6; signs + - + / + + +; what agrees: 3, -2 -4, none, 2, 5 3, 6
    wanted = torch.tensor([[3.0, -3.0, 0.0], [2.0, 4.0, 6.0]])
    assert torch.allclose(deltas(tmp_path / "out")["l"].float(), wanted, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("rank", [5, 16])
def test_ties_is_peft_s(rank: int, made: dict[str, Path], tiny: Any, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    net = AutoModelForCausalLM.from_pretrained(tiny("llama"), dtype="float32")
    theirs: Any = PeftModel.from_pretrained(net, made["a"], adapter_name="a")
    theirs.load_adapter(made["b"], adapter_name="b")
    theirs.add_weighted_adapter(["a", "b"], [0.7, 0.4], "both", combination_type="ties_svd", density=0.3, svd_rank=rank)
    sources = [f"{made['a']}:0.7", f"{made['b']}:0.4"]
    report = compose(tmp_path / "out", sources, how="ties", density=0.3, rank=rank)
    found = deltas(tmp_path / "out")
    for path, delta in found.items():
        layer = theirs.base_model.model.get_submodule(path)
        assert torch.allclose(delta.float(), layer.get_delta_weight("both"), atol=1e-5), path
    assert report.numbers["rank"] == rank and "lost" in report.findings[0].message
    assert compose(tmp_path / "plain", sources, how="ties").numbers["rank"] == 7


def test_the_result_opens_here_and_in_peft(made: dict[str, Path], open_tiny: Any, tiny: Any, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    out = tmp_path / "both"
    compose(out, [f"{made['a']}:0.7", f"{made['b']}:0.3"])
    items = [(11 * n) % 290 for n in range(30)]
    model = open_tiny("llama")
    model.load_adapter("both", out)
    [ours] = Engine(model).generate([items], max_new_tokens=8, stop_ids=[], adapters=["both"])
    net: Any = AutoModelForCausalLM.from_pretrained(tiny("llama"), dtype="float32")
    theirs: Any = PeftModel.from_pretrained(net, out).eval()
    ids = torch.tensor([items])
    said = theirs.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=8, eos_token_id=None,
        pad_token_id=0,
    )  # fmt: skip
    assert ours.ids == said[0, 30:].tolist()


def test_the_result_goes_in_again_and_begins_a_run(made: dict[str, Path], tmp_path: Path) -> None:
    from tunewright.core.recipe import Recipe
    from tunewright.core.run import Run
    from tunewright.models.opening import open_model
    from tunewright.stages.tuned import start_options

    compose(tmp_path / "both", [f"{made['a']}:0.7", f"{made['b']}:0.3"])
    compose(tmp_path / "less", [str(tmp_path / "both"), f"{made['b']}:-0.3"])
    wanted = summed(made, {"a": 0.7, "b": 0.0})
    assert all(torch.allclose(d, wanted[p], atol=1e-6) for p, d in deltas(tmp_path / "less").items())
    base = json.loads((made["a"] / "adapter_config.json").read_text())["base_model_name_or_path"]
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a", "completion": "b"}\n')
    recipe = Recipe.parse(
        {"name": "on", "data": {"sources": [str(rows)]}, "model": {"base": base, "from": str(tmp_path / "both")}},
        folder=tmp_path,
    )
    run = Run(tmp_path / "runs" / "on")
    merged = open_model(start_options(recipe, run)).net.state_dict()
    plain = open_model(recipe.model.model_copy(update={"start": None})).net.state_dict()
    for path, delta in summed(made, {"a": 0.7, "b": 0.3}).items():
        assert torch.allclose(merged[f"{path}.weight"] - plain[f"{path}.weight"], delta.float(), atol=1e-5)


def test_what_cannot_be_composed_is_refused(made: dict[str, Path], open_tiny: Any, tmp_path: Path) -> None:
    model = open_tiny("qwen3")
    method = catalog.build("methods", {"kind": "lora", **OPTIONS["a"]})
    method.attach(model.net)
    method.save(model.net, tmp_path / "other")
    a = str(made["a"])
    with pytest.raises(DataError, match="one base"):
        compose(tmp_path / "out", [a, str(tmp_path / "other")])
    model = open_tiny("llama")
    method = catalog.build("methods", "prompt")
    method.attach(model.net)
    method.save(model.net, tmp_path / "prompt")
    with pytest.raises(DataError, match="PROMPT_TUNING"):
        compose(tmp_path / "out", [a, str(tmp_path / "prompt")])
    with pytest.raises(NotThere, match="holds no adapter"):
        compose(tmp_path / "out", [str(tmp_path / "nothing")])
    with pytest.raises(DataError, match="Nothing to compose"):
        compose(tmp_path / "out", [])
    with pytest.raises(DataError, match="average"):
        compose(tmp_path / "out", [a, f"{a}:-1"], how="average")
    with pytest.raises(DataError, match="no way 'mean'"):
        compose(tmp_path / "out", [a], how="mean")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="keeps every rank"):
        compose(tmp_path / "out", [a], how="stack", rank=2)
    with pytest.raises(DataError, match="density"):
        compose(tmp_path / "out", [a], how="ties", density=0.0)
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    with pytest.raises(RunError, match="there already"):
        compose(tmp_path / "out", [a])


def test_the_command_and_the_python_function_are_the_same(made: dict[str, Path], tmp_path: Path) -> None:
    from typer.testing import CliRunner

    import tunewright
    from tunewright.cli import app

    sources = [f"{made['a']}:0.7", f"{made['b']}"]
    arguments = ["compose", str(tmp_path / "one"), "--from", sources[0], "--from", sources[1], "--json"]
    ended = CliRunner().invoke(app(), arguments)
    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.stdout)["numbers"]["sources"] == {str(made["a"]): 0.7, str(made["b"]): 1.0}
    tunewright.compose(tmp_path / "two", sources)
    files = [tmp_path / name / "adapter_model.safetensors" for name in ("one", "two")]
    assert files[0].read_bytes() == files[1].read_bytes()
