#!/usr/bin/env python3
"""retune's data work beside what people would otherwise use, on the same made rows, in one go, as ratios of CPU seconds.

    benches/data.py                         everything, 1,000,000 rows (about 600 MB)
    benches/data.py --rows 100000           fewer
    benches/data.py --only check,near       or: tokens, pass, dedup, near, personal, again

CPU seconds (user and system, children included). Each tool runs in a process of its own; the figure is the best of `--times` runs.
What is not installed is left out, and said: duckdb, polars, tiktoken, rensa, datasketch and presidio-analyzer come from PyPI.
"""
import argparse, json, os, pathlib, random, re, subprocess, sys, tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
RETUNE = str(TARGET / "retune")

PRELUDE = "import json, sys, resource\nrows = sys.argv[1]\n"

CHECK = PRELUDE + """
counted = len(sys.argv) > 2
if counted:
    import tiktoken
    encode = tiktoken.get_encoding("o200k_base").encode
roles, known, wrong, tokens = {"system", "user", "assistant", "function"}, {"role", "content", "name", "function_call", "weight"}, 0, 0
for line in open(rows, encoding="utf-8"):
    try:
        row = json.loads(line)
    except ValueError:
        wrong += 1
        continue
    messages = row.get("messages") if isinstance(row, dict) else None
    if not messages:
        wrong += 1
        continue
    for message in messages:
        if "role" not in message or "content" not in message or any(key not in known for key in message) or message["role"] not in roles:
            wrong += 1
        if not isinstance(message.get("content"), str) or not message["content"]:
            wrong += 1
    if not any(message.get("role") == "assistant" for message in messages):
        wrong += 1
    if counted:
        tokens += 3 + sum(4 + len(encode(message["content"])) for message in messages)
print(wrong, tokens)
"""

DUCKDB = PRELUDE + """
import duckdb, os
db = duckdb.connect()
db.execute("set threads=2")
db.execute(f"create view r as select json as j from read_json_objects('{rows}', format='newline_delimited', ignore_errors=true)")
db.execute("create table u as select j->>'$.messages' as m from r where json_valid(j) and json_array_length(j, '$.messages') > 1 group by 1")
for name, low, high in [("train", 0, 80), ("validation", 80, 90), ("test", 90, 100)]:
    db.execute(f"copy (select m as messages from u where hash(m) % 100 >= {low} and hash(m) % 100 < {high}) to '{name}.jsonl' (format json)")
"""

POLARS = PRELUDE + """
import polars as pl
lines = pl.read_csv(rows, has_header=False, separator="\\x01", quote_char=None, new_columns=["line"])
lines = lines.unique(maintain_order=True).with_columns(place=pl.col("line").hash(7) % 100)
for name, low, high in [("train", 0, 80), ("validation", 80, 90), ("test", 90, 100)]:
    part = lines.filter((pl.col("place") >= low) & (pl.col("place") < high)).select("line")
    part.write_csv(f"{name}.jsonl", include_header=False, quote_style="never", separator="\\x01")
"""

SHINGLES = """
import re
def shingles(text):
    words = re.findall(r"\\w+", text.lower())
    return [" ".join(words[at:at + 5]) for at in range(max(len(words) - 4, 1))]
texts = []
for line in open(rows, encoding="utf-8"):
    try:
        messages = json.loads(line)["messages"]
    except ValueError:
        continue
    if messages[-1]["role"] == "assistant":
        texts.append("\\n".join(m["content"] for m in messages if m["role"] != "system"))
def roots(pairs):
    root = list(range(len(texts)))
    def find(at):
        while root[at] != at:
            root[at] = root[root[at]]
            at = root[at]
        return at
    for a, b in pairs:
        a, b = find(a), find(b)
        root[max(a, b)] = min(a, b)
    return sum(find(at) != at for at in range(len(texts)))
"""

RENSA = PRELUDE + SHINGLES + """
from rensa import RMinHash, RMinHashLSH
index, pairs = RMinHashLSH(threshold=0.8, num_perm=128, num_bands=16), []
hashes = []
for number, text in enumerate(texts):
    sketch = RMinHash(num_perm=128, seed=42)
    sketch.update(shingles(text))
    hashes.append(sketch)
    for other in index.query(sketch):
        if hashes[other].jaccard(sketch) >= 0.8:
            pairs.append((other, number))
    index.insert(number, sketch)
print(roots(pairs))
"""

DATASKETCH = PRELUDE + SHINGLES + """
from datasketch import MinHash, MinHashLSH
index, pairs = MinHashLSH(threshold=0.8, num_perm=128), []
hashes = []
for number, text in enumerate(texts):
    sketch = MinHash(num_perm=128)
    sketch.update_batch([shingle.encode() for shingle in shingles(text)])
    hashes.append(sketch)
    for other in index.query(sketch):
        if hashes[other].jaccard(sketch) >= 0.8:
            pairs.append((other, number))
    index.insert(number, sketch)
print(roots(pairs))
"""

PRESIDIO = PRELUDE + """
import logging
logging.disable(logging.CRITICAL)
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import NlpArtifacts, NlpEngine
class Nothing(NlpEngine):
    def load(self): pass
    def is_loaded(self): return True
    def process_text(self, text, language): return NlpArtifacts([], [], [], [], self, language)
    def process_batch(self, texts, language, **_): return ((text, self.process_text(text, language)) for text in texts)
    def is_stopword(self, word, language): return False
    def is_punct(self, word, language): return False
    def get_supported_entities(self): return []
    def get_supported_languages(self): return ["en"]
registry = RecognizerRegistry()
registry.load_predefined_recognizers(languages=["en"])
registry.recognizers = [r for r in registry.recognizers if type(r).__name__ in
    {"EmailRecognizer", "PhoneRecognizer", "CreditCardRecognizer", "IbanRecognizer", "IpRecognizer"}]
engine = AnalyzerEngine(registry=registry, nlp_engine=Nothing(), supported_languages=["en"])
hits = 0
for line in open(rows, encoding="utf-8"):
    try:
        messages = json.loads(line)["messages"]
    except ValueError:
        continue
    if messages[-1]["role"] == "assistant":
        hits += sum(len({(r.start, r.end) for r in engine.analyze(m["content"], "en", score_threshold=0.3)}) for m in messages)
print(hits)
"""


def measured(command, cwd, times):
    """CPU seconds and peak MiB of a command, and what it printed: the best of some runs."""
    best = None
    for _ in range(times):
        process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = process.stdout.read(), process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        if status not in (0, 512) and os.waitstatus_to_exitcode(status) not in (0, 2):
            return None, f"{command[0]} ended with {os.waitstatus_to_exitcode(status)}: {err[-300:].decode(errors='replace').strip()}"
        seconds = usage.ru_utime + usage.ru_stime
        if best is None or seconds < best[0]:
            best = seconds, usage.ru_maxrss // 1024, out.decode(errors="replace").strip()
    return best, None


class Bench:
    def __init__(self, folder, times):
        self.folder, self.times = folder, times

    def rows(self, count):
        path = self.folder / f"rows-{count}.jsonl"
        if not path.exists():
            subprocess.run([str(TARGET / "examples" / "chat_rows"), str(count), str(path)], check=True)
        return path

    def python(self, name, script, rows, *arguments):
        found, problem = measured([sys.executable, "-c", script, str(rows), *arguments], self.folder, self.times)
        if problem:
            print(f"  {name:<28} left out: {problem.splitlines()[-1]}")
        return found

    def retune(self, rows, operators, fresh=True):
        """A pipeline over the rows; from nothing, or over what is there."""
        folder = self.folder / "workspace"
        folder.mkdir(exist_ok=True)
        (folder / "p.kdl").write_text(f'pipeline "p"\ncollect "rows" {{\n    source "{rows.name}"\n}}\nprepare "chat" {{\n    from "rows"\n{operators}}}\n')
        link = folder / rows.name
        if not link.exists():
            os.link(rows, link)
        best = None
        for _ in range(self.times if fresh else 1):
            if fresh:
                subprocess.run(["rm", "-rf", ".retune", "p.lock.kdl"], cwd=folder, check=True)
            found, problem = measured([RETUNE, "run", "p.kdl", "--json"], folder, 1)
            if problem:
                sys.exit(problem)
            best = min(best or found, found)
        return best[0], best[1], json.loads(best[2])

    def show(self, what, count, ours, *others, bar=None):
        print(f"{what}: {count:,} rows")
        print(f"  {'retune':<28} {ours[0]:8.2f} s  {count / ours[0]:>11,.0f} rows/s  {ours[1]:>6} MiB")
        for name, found in others:
            if found:
                ratio = found[0] / ours[0] * (count / found[3] if len(found) > 3 else 1)
                of = f"  ({found[3]:,} rows)" if len(found) > 3 else ""
                print(f"  {name:<28} {found[0]:8.2f} s  {(found[3] if len(found) > 3 else count) / found[0]:>11,.0f} rows/s  {found[1]:>6} MiB   retune is {ratio:.2f} x as fast{of}")
        if bar:
            print(f"  wanted: {bar}")


SPLIT = "    split train=0.8 validation=0.1 test=0.1\n"


def check(bench, count):
    rows = bench.rows(count)
    ours, problem = measured([RETUNE, "check", "--data", "--file", str(rows)], bench.folder, bench.times)
    bench.show("checks without tokens", count, ours or sys.exit(problem), ("a Python script", bench.python("a Python script", CHECK, rows)), bar="3 x")


def tokens(bench, count):
    rows = bench.rows(min(count, 100_000))
    n = min(count, 100_000)
    ours, problem = measured([RETUNE, "check", "--data", "--file", str(rows), "--model", "gpt-4o"], bench.folder, bench.times)
    script = bench.python("Python with tiktoken", CHECK, rows, "tokens")
    bench.show("checks with the tokens of o200k_base", n, ours or sys.exit(problem), ("Python with tiktoken", script), bar="3 x, and the tokens alone 2 x")
    if script:
        here = re.search(r", (\d+) tokens", ours[2]).group(1)
        print(f"  tokens: {here} here, {script[2].split()[1]} there (rows that are wrong are counted here too)")


def whole(bench, count):
    rows = bench.rows(count)
    steps = '    passthrough\n    deduplicate "exact"\n    redact "email" "phone" "card" "iban" "ip"\n' + SPLIT
    script = bench.python("Python with tiktoken", CHECK, bench.rows(min(count, 100_000)), "tokens")
    script = script and (*script, min(count, 100_000))
    ours = bench.retune(rows, steps + '    expect "longest" max=100000\n')
    bench.show("the whole pass with token counts", count, ours, ("Python check with tiktoken", script), bar="3 x")
    ours = bench.retune(rows, steps)
    bench.show("the whole pass without", count, ours, ("Python check", bench.python("Python check", CHECK, rows)))


def dedup(bench, count):
    rows = bench.rows(count)
    ours = bench.retune(rows, '    passthrough\n    deduplicate "exact"\n' + SPLIT)
    bench.show("exact duplicates, split and check", count, ours, ("DuckDB", bench.python("DuckDB", DUCKDB, rows)), ("polars, on raw lines", bench.python("polars", POLARS, rows)),
               bar="half of DuckDB's time, under 300 MiB")


def near(bench, count):
    n = min(count, 100_000)
    rows = bench.rows(n)
    ours = bench.retune(rows, '    passthrough\n    deduplicate "near" threshold=0.8\n' + SPLIT)
    rensa, sketch = bench.python("rensa", RENSA, rows), bench.python("datasketch", DATASKETCH, rows)
    bench.show("near duplicates", n, ours, ("rensa", rensa), ("datasketch", sketch), bar="2 x rensa, with the same rows within 2 %")
    dropped = ours[2]["stages"][1]["metrics"]["duplicates"]
    print(f"  rows that go: {dropped:.0f} here" + "".join(f", {found[2]} by {name}" for name, found in [("rensa", rensa), ("datasketch", sketch)] if found))


def personal(bench, count):
    n = min(count, 10_000)
    rows = bench.rows(n)
    ours = bench.retune(rows, '    passthrough\n    redact "email" "phone" "card" "iban" "ip"\n' + SPLIT)
    presidio = bench.python("presidio, patterns only", PRESIDIO, rows)
    bench.show("personal data", n, ours, ("presidio, patterns only", presidio), bar="50 x, with no fewer hits")
    print(f"  hits: {ours[2]['stages'][1]['metrics'].get('redactions', 0):.0f} here (in rows and what is made of them)" + (f", {presidio[2]} there" if presidio else ""))


def again(bench, count):
    rows = bench.rows(count)
    steps = '    normalize unicode="nfc" whitespace=#true\n    redact "email" "phone" "card" "iban" "ip"\n    passthrough\n    deduplicate "exact"\n' + SPLIT
    first = bench.retune(rows, steps)
    folder = bench.folder / "workspace"
    # In a process of its own: what this one holds in memory would count for those that it starts.
    script = PRELUDE + "import shutil\nshutil.copy(rows, sys.argv[2])\nout = open(sys.argv[2], 'a')\nfor line, _ in zip(open(rows), range(int(sys.argv[3]))): out.write(line.replace('of a shop', 'of shops'))\n"
    (folder / rows.name).unlink()
    subprocess.run([sys.executable, "-c", script, str(rows), str(folder / rows.name), str(count // 100)], check=True)
    second = bench.retune(rows, steps, fresh=False)
    (folder / rows.name).unlink()
    bench.show("a hundredth of the rows new", count, second, ("the first time", first))


PARTS = {"check": check, "tokens": tokens, "pass": whole, "dedup": dedup, "near": near, "personal": personal, "again": again}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--folder", type=pathlib.Path, help="where the rows are made and stay; else a folder that goes afterwards")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(arguments.folder or pathlib.Path(temporary), arguments.times)
        for part in arguments.only.split(","):
            PARTS[part](bench, arguments.rows)
