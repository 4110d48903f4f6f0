"""A script that fine-tuned at OpenAI works against `tunewright serve` as it is, with both versions of its client."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from walking import LABELS, SECONDS

# What such a script does from its first call to its last; it knows an address, a base and two files.
SCRIPT = """
import json, sys, time
address, base, folder, client_folder = sys.argv[1:]
if client_folder:
    sys.path.insert(0, client_folder)
import openai

client = openai.OpenAI(base_url=address, api_key="sk-none")
seen = {"version": openai.__version__, "events": []}

uploaded = []
for name in ("train", "valid"):
    with open(f"{folder}/{name}.jsonl", "rb") as rows:
        file = client.files.create(file=rows, purpose="fine-tune")
    uploaded.append(client.files.wait_for_processing(file.id, poll_interval=0.1))
seen["files"] = [file.status for file in uploaded]
assert {file.id for file in uploaded} <= {file.id for file in client.files.list(purpose="fine-tune")}

job = client.fine_tuning.jobs.create(
    model=base,
    training_file=uploaded[0].id,
    validation_file=uploaded[1].id,
    suffix="my-desk",
    seed=42,
    method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": 8}}},
)
after = set()
while job.status not in ("succeeded", "failed", "cancelled"):
    time.sleep(0.2)
    job = client.fine_tuning.jobs.retrieve(job.id)
    for event in reversed(client.fine_tuning.jobs.list_events(fine_tuning_job_id=job.id, limit=100).data):
        if event.id not in after:
            after.add(event.id)
            seen["events"].append([event.type, event.message])
seen["status"], seen["error"] = job.status, job.error and job.error.message
seen["model"], seen["tokens"] = job.fine_tuned_model, job.trained_tokens
seen["epochs"] = job.hyperparameters.n_epochs

seen["results"] = client.files.content(job.result_files[0]).read().decode()
checkpoints = client.fine_tuning.jobs.checkpoints.list(job.id).data
seen["steps"] = [checkpoint.step_number for checkpoint in checkpoints]
seen["listed"] = [model.id for model in client.models.list()]

question = [{"role": "user", "content": "where is the card today"}]
for model in (job.fine_tuned_model, checkpoints[-1].fine_tuned_model_checkpoint):
    answer = client.chat.completions.create(model=model, messages=question, max_tokens=8, temperature=0)
    assert answer.model == model and answer.choices[0].finish_reason in ("stop", "length"), answer
    parts = client.chat.completions.create(model=model, messages=question, max_tokens=8, temperature=0, stream=True)
    streamed = "".join(part.choices[0].delta.content or "" for part in parts)
    assert streamed.strip() == answer.choices[0].message.content.strip(), (streamed, answer)

seen["deleted"] = [client.files.delete(file.id).deleted for file in uploaded]
seen["deleted"].append(client.models.delete(job.fine_tuned_model).deleted)
for call, name in ((client.files.retrieve, uploaded[0].id), (client.models.retrieve, job.fine_tuned_model)):
    try:
        call(name)
    except openai.NotFoundError:
        continue
    raise SystemExit(f"{name} is still there")
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def address(tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server over a new workspace."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / ".tunewright").mkdir()
    (folder / ".tunewright" / "workspace.yaml").write_text(f"organization: acme\nmodels: {{small: {tiny('llama')}}}\n")
    command = [sys.executable, "-m", "tunewright.cli", "serve", "--workspace", str(folder), "--port", "0", "--json"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, (folder / "server.log").read_text()
    yield json.loads(line)["numbers"]["address"]
    process.terminate()
    assert process.wait(timeout=60) == 0, (folder / "server.log").read_text()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the rows that were once sent to OpenAI."""
    folder = tmp_path_factory.mktemp("exported")
    for name, openings in (("train", ["where is", "tell me about", "any news of", "help me with"]), ("valid", ["and"])):
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            for opening in openings:
                for word, label in LABELS.items():
                    turns = [("system", "You name things."), ("user", f"{opening} the {word}"), ("assistant", label)]
                    messages = [{"role": role, "content": content} for role, content in turns]
                    file.write(json.dumps({"messages": messages}) + "\n")
    return folder


@pytest.mark.parametrize("version", ["", str(Path(sys.prefix) / "previous")], ids=["current", "previous"])
def test_a_script_only_changes_its_address(address: str, exported: Path, version: str) -> None:
    command = [sys.executable, "-c", SCRIPT, address, "small", str(exported), version]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert ended.returncode == 0, ended.stderr
    seen: dict[str, Any] = json.loads(ended.stdout)
    assert seen["version"].startswith("2." if version else "3.")
    assert (seen["files"], seen["status"], seen["error"]) == (["processed"] * 2, "succeeded", None)
    assert seen["model"].startswith("ft:small:acme:my-desk:") and seen["tokens"] > 0 and seen["epochs"] == 2
    assert seen["steps"] == [4, 2]
    names = {seen["model"], *(f"{seen['model']}:ckpt-step-{step}" for step in seen["steps"])}
    assert names <= set(seen["listed"])
    header, *rows = seen["results"].splitlines()
    assert header == "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
    assert [row.split(",")[0] for row in rows] == ["1", "2", "3", "4"]
    told = [message for kind, message in seen["events"] if kind == "message"]
    assert told[0].startswith("Created fine-tuning job: ")
    assert told[-2:] == [f"New fine-tuned model created: {seen['model']}", "The job has successfully completed"]
    assert sum(kind == "metrics" for kind, _ in seen["events"]) == 4
    assert seen["deleted"] == [True] * 3
