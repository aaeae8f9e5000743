#!/usr/bin/env python3
"""How long it takes to evaluate 1,000 rows, 64 at a time, on a server that answers after 20 ms: retune beside promptfoo and inspect_ai.

    benches/evaluation.py [--rows N] [--promptfoo PATH]      `pip install inspect_ai` and `npm install promptfoo` first

Wall and CPU seconds from the start of each program to its end, on the same server and rows, with the same check of the answers. Of retune the
rows are prepared before, as they are there for the others.
"""
import argparse, json, math, multiprocessing, os, pathlib, resource, shutil, subprocess, sys, tempfile, time

from chat_server import serve

RETUNE = str(pathlib.Path(__file__).resolve().parent.parent / "target" / "release" / "retune")
LATENCY, AT_ONCE = 0.02, 64


def timed(name, command, folder, environment, ideal, taken):
    taken.value = 0
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=os.environ | environment, capture_output=True, text=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    real = taken.value / AT_ONCE
    print(f"{name:<12} {wall:7.2f} s wall, {wall / ideal:6.2f} x the ideal, {wall / real:6.2f} x what the server really took; {cpu:7.2f} s CPU", flush=True)
    return wall


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", type=int, default=1000)
    arguments.add_argument("--promptfoo", default=shutil.which("promptfoo"))
    arguments = arguments.parse_args()
    ours, theirs = multiprocessing.Pipe()
    taken = multiprocessing.Value("d", 0.0)
    multiprocessing.Process(target=serve, args=(theirs, LATENCY, taken), daemon=True).start()
    port = ours.recv()
    address = f"http://127.0.0.1:{port}/v1"
    ideal = math.ceil(arguments.rows / AT_ONCE) * LATENCY
    print(f"{arguments.rows} rows, {AT_ONCE} at a time, {LATENCY * 1000:.0f} ms each: ideally {ideal:.2f} s")
    texts = [f"question number {row}: is it so?" for row in range(arguments.rows)]
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        (place / "rows.jsonl").write_text("".join(json.dumps({"text": text, "wanted": "yes"}) + "\n" for text in texts))
        (place / "p.kdl").write_text(f'''pipeline "p"
provider "far" {{
    api "openai-compatible"
    base-url "{address}"
    key (secret)"FAR_KEY"
    limits concurrency={AT_ONCE}
}}
collect "rows" {{
    source "rows.jsonl"
}}
prepare "chat" {{
    from "rows"
    chat {{
        user "{{{{ text }}}}"
        assistant "{{{{ wanted }}}}"
    }}
    split train=0.0 validation=0.0 test=1.0
}}
evaluate "quality" {{
    model "m"
    provider "far"
    data "chat"
    grader "contains"
}}
''')
        keys = {"FAR_KEY": "x", "FAR_API_KEY": "x", "FAR_BASE_URL": address, "OPENAI_API_KEY": "x"}
        subprocess.run([RETUNE, "run", "p.kdl", "chat"], cwd=folder, env=os.environ | keys, check=True, capture_output=True)
        own = []
        for _ in range(3):
            own.append(timed("retune", [RETUNE, "run", "p.kdl", "--force", "quality"], folder, keys, ideal, taken))
        asked = subprocess.run([RETUNE, "show", "quality", "p.kdl", "--json"], cwd=folder, capture_output=True, text=True, check=True)
        assert json.loads(asked.stdout)["metrics"]["contains"] == 1.0
        own = sorted(own)[1]
        if arguments.promptfoo:
            tests = [{"vars": {"text": text}, "assert": [{"type": "contains", "value": "yes"}]} for text in texts]
            config = {"prompts": ["{{text}}"], "providers": [{"id": "openai:chat:m", "config": {"apiBaseUrl": address, "apiKey": "x"}}], "tests": tests}
            (place / "promptfoo.json").write_text(json.dumps(config))
            quiet = keys | {"PROMPTFOO_DISABLE_TELEMETRY": "1", "PROMPTFOO_DISABLE_UPDATE": "1", "PROMPTFOO_CONFIG_DIR": str(place / "pf")}
            line = [arguments.promptfoo, "eval", "-c", "promptfoo.json", "--no-cache", "-j", str(AT_ONCE), "--no-progress-bar", "--no-table", "-o", "out.json"]
            print(f"             {timed('promptfoo', line, folder, quiet, ideal, taken) / own:.0f} times as long as retune")
        (place / "inspected.py").write_text('''import json
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes
from inspect_ai.solver import generate
rows = [json.loads(line) for line in open("rows.jsonl")]
task = Task(dataset=[Sample(input=row["text"], target=row["wanted"]) for row in rows], solver=generate(), scorer=includes())
log = eval(task, model="openai-api/far/m", max_connections=64, max_samples=64, log_dir="logs", display="none")[0]
assert log.status == "success" and log.results.scores[0].metrics["accuracy"].value == 1.0, log
''')
        print(f"             {timed('inspect_ai', [sys.executable, 'inspected.py'], folder, keys, ideal, taken) / own:.0f} times as long as retune")


main()
