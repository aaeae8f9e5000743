#!/usr/bin/env python3
"""promptfoo and inspect_ai evaluate an alias through `retune serve`. `pip install inspect_ai` and `npm install promptfoo` first; `just evaluators`.

    tests/evaluators.py [--promptfoo PATH]
"""
import argparse, json, os, pathlib, re, shutil, subprocess, sys, tempfile

RETUNE = str(pathlib.Path(__file__).resolve().parent.parent / "target" / "release" / "retune")
SYSTEM = "Name the colour."
PIPELINE = f'''pipeline "p"
collect "rows" {{
    source "rows.csv"
}}
prepare "chat" {{
    from "rows"
    chat {{
        system "{SYSTEM}"
        user "{{{{ text }}}}"
        assistant "{{{{ answer }}}}"
    }}
    split train=0.8 validation=0.1 test=0.1 key="text"
}}
train "model" {{
    data "chat"
    provider "local"
    model "builtin:tiny"
    method "supervised" {{
        epochs 3
        batch-size 8
    }}
}}
evaluate "quality" {{
    model "model"
    data "chat"
    grader "exact-match"
    gate "accuracy" min=0.5
}}
deploy "production" {{
    model "model"
    requires "quality"
    alias "colours"
}}
'''
COLOURS = ["red", "green", "blue", "yellow"]
INSPECTED = '''import json
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.scorer import match
from inspect_ai.solver import generate, system_message
rows = json.load(open("asked.json"))
task = Task(dataset=[Sample(input=text, target=wanted) for text, wanted in rows], solver=[system_message("Name the colour."), generate()], scorer=match())
log = eval(task, model="openai-api/retune/colours", temperature=0, max_tokens=8, log_dir="logs", display="none")[0]
assert log.status == "success", log.error
print(log.results.scores[0].metrics["accuracy"].value)
'''


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--promptfoo", default=shutil.which("promptfoo"), required=not shutil.which("promptfoo"))
    promptfoo = arguments.parse_args().promptfoo
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        row = lambda at: (f"the house number {at} is {COLOURS[at * 7 % 4]}", COLOURS[at * 7 % 4])
        (place / "rows.csv").write_text("text,answer\n" + "".join(",".join(row(at)) + "\n" for at in range(400)))
        (place / "p.kdl").write_text(PIPELINE)
        subprocess.run([RETUNE, "run", "p.kdl"], cwd=folder, check=True, capture_output=True)
        asked = [row(at) for at in range(1000, 1040)]
        (place / "asked.json").write_text(json.dumps(asked))
        gateway = subprocess.Popen([RETUNE, "serve", "p.kdl", "--listen", "127.0.0.1:0"], cwd=folder, stderr=subprocess.PIPE, text=True)
        try:
            address = next(found[1] for line in gateway.stderr if (found := re.match(r"listening on (.*)", line)))
            tests = [{"vars": {"text": text}, "assert": [{"type": "equals", "value": wanted}]} for text, wanted in asked]
            messages = json.dumps([{"role": "system", "content": SYSTEM}, {"role": "user", "content": "{{text}}"}])
            provider = {"id": "openai:chat:colours", "config": {"apiBaseUrl": address, "apiKey": "none", "temperature": 0, "max_tokens": 8}}
            (place / "promptfoo.json").write_text(json.dumps({"prompts": [messages], "providers": [provider], "tests": tests}))
            quiet = os.environ | {"PROMPTFOO_DISABLE_TELEMETRY": "1", "PROMPTFOO_DISABLE_UPDATE": "1", "PROMPTFOO_CONFIG_DIR": str(place / "pf"), "PROMPTFOO_FAILED_TEST_EXIT_CODE": "0"}
            line = [promptfoo, "eval", "-c", "promptfoo.json", "--no-cache", "--no-progress-bar", "--no-table", "-o", "out.json"]
            done = subprocess.run(line, cwd=folder, env=quiet, capture_output=True, text=True)
            found = json.loads((place / "out.json").read_text())["results"]["stats"] if done.returncode == 0 else sys.exit(done.stdout + done.stderr)
            assert found["errors"] == 0 and found["successes"] + found["failures"] == len(asked), found
            (place / "inspected.py").write_text(INSPECTED)
            far = os.environ | {"RETUNE_API_KEY": "none", "RETUNE_BASE_URL": address}
            inspected = subprocess.run([sys.executable, "inspected.py"], cwd=folder, env=far, capture_output=True, text=True)
            accuracy = float(inspected.stdout.split()[-1]) if inspected.returncode == 0 else sys.exit(inspected.stderr)
        finally:
            gateway.terminate()
            gateway.wait(30)
        print(f"{len(asked)} questions to the alias: promptfoo counts {found['successes']} as right, inspect_ai {accuracy * len(asked):.0f}")
        assert abs(found["successes"] - accuracy * len(asked)) < 0.5 and accuracy > 0.5, "both see the same, and what was learnt"


main()
