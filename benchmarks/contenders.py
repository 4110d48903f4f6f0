"""One contender in a process of its own: does units of a fixed work and writes what it measured as JSON.

    python benchmarks/contenders.py tunewright --case instructions --shape 42m --base FOLDER --units 4

The folder is made by `python benchmarks/workload.py 42m FOLDER`. `bench.py` starts several contenders at once and lets
them work in turns.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import answering
import preferences
import reading
import training
import vocabulary
from turns import Turns

DOORS = {
    "tunewright": ["-m", "tunewright.cli", "--help"],
    "python": ["-c", "pass"],
    "trl": ["-c", "from trl.cli import main; main()", "--help"],
}


def started(options: argparse.Namespace, turns: Turns) -> None:
    """A command from its start to its end."""
    for _ in range(options.units):
        with turns.unit() as done:
            subprocess.run([sys.executable, *DOORS[options.name]], check=True, capture_output=True)
            done["starts"] = 1


TRAINERS = {
    "tunewright": training.tunewright,
    "flattening": training.flattening,
    "padded": training.padded,
    "trl-packing": training.trl_packing,
    "trl": training.trl_as_it_comes,
}
LABELS = {
    "tunewright": answering.labels_scored,
    "tunewright-best": answering.labels_answered,
    "padded": answering.labels_padded,
    "cached": answering.labels_cached,
}
DECODERS = {
    "tunewright": answering.decode_ours,
    "dynamic": answering.decode_dynamic,
    "static": answering.decode_static,
}
CONTENDERS = {
    "instructions": TRAINERS,
    "shared": TRAINERS,
    "head": {"tunewright": vocabulary.ours, "fused": vocabulary.fused, "whole": vocabulary.whole},
    "evaluation": {"tunewright": training.evaluation, "flattening": training.flattening_evaluation},
    "dpo": {
        "tunewright": preferences.tunewright,
        "trl-padded": preferences.trl_padded,
        "trl-accumulating": preferences.trl_accumulating,
    },
    "labels": LABELS,
    "few-shot-labels": {"tunewright": answering.labels_answered, "cached": answering.labels_cached},
    "few-shot-answers": {"tunewright": answering.few_shot_answered, "padded": answering.few_shot_padded},
    "decode-one": DECODERS,
    "decode-batch": DECODERS,
    "adapters": {
        "tunewright": answering.adapters_mixed,
        "one-adapter": answering.adapters_one,
        "peft": answering.adapters_peft,
    },
    "prepare": {"tunewright": reading.prepare},
    "encoding": {"tunewright": reading.encode, "trl": reading.encode_trl},
    "large": {"tunewright": reading.large},
    "help": dict.fromkeys(DOORS, started),
}


def main() -> None:
    """Run one contender."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--case", required=True, choices=[*CONTENDERS])
    parser.add_argument("--shape", default="42m")
    parser.add_argument("--base", help="the folder of the model")
    parser.add_argument("--method", default="lora", choices=["lora", "full"])
    parser.add_argument("--units", type=int, default=4, help="of which the first only warms up")
    parser.add_argument("--size", type=int, default=1, help="units in a turn")
    parser.add_argument("--micro-tokens", type=int, help="instead of what the product would choose")
    parser.add_argument("--megabytes", type=float, default=reading.MEGABYTES, help="of the file to read")
    parser.add_argument("--folder", default=".", help="where files may be written")
    parser.add_argument("--out", type=Path, help="where the figures go; printed when left out")
    parser.add_argument("--born", type=float, default=time.time())
    parser.add_argument("--told", type=int)
    parser.add_argument("--tell", type=int)
    options = parser.parse_args()
    turns = Turns(born=options.born, size=options.size, told=options.told, tell=options.tell)
    CONTENDERS[options.case][options.name](options, turns)
    facts = json.dumps(turns.facts())
    if options.out:
        options.out.write_text(facts, encoding="utf-8")
    else:
        print(facts)


if __name__ == "__main__":
    main()
