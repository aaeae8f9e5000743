#!/usr/bin/env python3
"""retune beside the tools that people would otherwise use, on the same graphs and files, in one go, as ratios.

    benches/peers.py                        all that is installed, at the usual sizes
    benches/peers.py --sizes 10,100         graphs of these many stages
    benches/peers.py --only graphs          or: hashing, folders, copying
    benches/peers.py --slow                 DVC and Snakemake at 1,000 stages too (an hour)

CPU seconds (user and system, children included) unless it says wall. Each figure is the median of several runs, with the tools in
turn. What is not installed is left out, and said: ninja-build, make, git and b3sum come from Debian, dvc and snakemake from PyPI.
"""
import argparse, os, pathlib, random, resource, shutil, statistics, subprocess, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
RETUNE = str(ROOT / "target" / "release" / "retune")


def timed(command, cwd, check=True, peak=None):
    """CPU and wall seconds of a command."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=dict(os.environ, NO_COLOR="1"))
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if check and done.returncode:
        sys.exit(f"{command[0]} ended with {done.returncode} in {cwd}: {done.stderr[-400:].decode(errors='replace')}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def peak_kib(command, cwd):
    """The most memory that a command had, in KiB."""
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, _, usage = os.wait4(process.pid, 0)
    return usage.ru_maxrss


def median(runs, wall=False):
    return statistics.median(run[1 if wall else 0] for run in runs)


class Graph:
    """n stages of fan-in 2, ten deep, in the languages of all tools."""

    def __init__(self, folder, n):
        self.folder, self.n, self.width = folder, n, max(n // 10, 2)
        folder.mkdir(parents=True)
        for i in range(self.width):
            (folder / f"in{i}").write_text(f"{i}\n")

    def needs(self, i):
        w = self.width
        if i < w:
            return f"in{i}", f"in{(i + 1) % w}"
        row = i // w - 1
        return f"o{row * w + i % w}", f"o{row * w + (i % w + 1) % w}"

    def write(self, tool):
        rows = [(i, *self.needs(i)) for i in range(self.n)]
        if tool == "retune":
            text = 'pipeline "g"\n' + "".join(
                f'exec "s{i}" {{\n    run "cat {a} {b} | tail -c 64 > o{i}"\n    input "{a}"\n    input "{b}"\n    output "o{i}"\n}}\n' for i, a, b in rows)
            (self.folder / "g.kdl").write_text(text)
        elif tool == "ninja":
            text = "rule c\n  command = cat $in | tail -c 64 > $out\n" + "".join(f"build o{i}: c {a} {b}\n" for i, a, b in rows)
            (self.folder / "build.ninja").write_text(text)
        elif tool == "make":
            text = "all: " + " ".join(f"o{i}" for i, _, _ in rows) + "\n" + "".join(f"o{i}: {a} {b}\n\t@cat $^ | tail -c 64 > $@\n" for i, a, b in rows)
            (self.folder / "Makefile").write_text(text)
        elif tool == "dvc":
            text = "stages:\n" + "".join(f"  s{i}:\n    cmd: cat {a} {b} | tail -c 64 > o{i}\n    deps: [{a}, {b}]\n    outs: [o{i}]\n" for i, a, b in rows)
            (self.folder / "dvc.yaml").write_text(text)
            subprocess.run("git init -q && dvc init -q", shell=True, cwd=self.folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        elif tool == "snakemake":
            text = "rule all:\n    input: " + ", ".join(f'"o{i}"' for i, _, _ in rows) + "\n" + "".join(
                f'rule s{i}:\n    input: "{a}", "{b}"\n    output: "o{i}"\n    shell: "cat {{input}} | tail -c 64 > {{output}}"\n' for i, a, b in rows)
            (self.folder / "Snakefile").write_text(text)


COMMANDS = {
    "retune": [RETUNE, "run", "g.kdl"],
    "ninja": ["ninja"],
    "make": ["make", "-j2", "-s"],
    "dvc": ["dvc", "repro", "-q"],
    "snakemake": ["snakemake", "-c2", "-q", "all"],
}


def graphs(sizes, slow, scratch):
    print(f"\n{'stages':>7} {'tool':<10} {'cold':>10} {'no-op':>10} {'touched':>10} {'one leaf':>10}   of ninja: cold, no-op, one leaf")
    for n in sizes:
        figures = {}
        for tool, command in COMMANDS.items():
            if not (shutil.which(command[0]) or pathlib.Path(command[0]).exists()):
                print(f"{n:>7} {tool:<10} not installed")
                continue
            if tool in ("dvc", "snakemake") and n > (1000 if slow else 100):
                continue
            repeat = 1 if tool in ("dvc", "snakemake") else 5
            # As many builds from nothing as there is time for: new inodes cost a file system what they like.
            cold = []
            for attempt in range(1 if n > 1000 or repeat == 1 else 3):
                graph = Graph(scratch / f"{tool}-{n}-{attempt}", n)
                graph.write(tool)
                cold.append(timed(command, graph.folder))
            # What a tool still has to learn of files that were just written is no part of doing nothing.
            timed(command, graph.folder)
            noop = [timed(command, graph.folder) for _ in range(repeat)]
            touched, leaf = [], []
            for attempt in range(repeat):
                os.utime(graph.folder / "in0")
                # make and ninja go by times and run what a touch reaches; the others must not.
                touched.append(timed(command, graph.folder))
                (graph.folder / f"in{graph.width - 1}").write_text(f"changed {attempt}\n")
                leaf.append(timed(command, graph.folder))
            figures[tool] = [median(runs) for runs in (cold, noop, touched, leaf)]
            of = figures.get("ninja")
            shown = "".join(f" {seconds * 1000:>8.0f}ms" for seconds in figures[tool])
            print(f"{n:>7} {tool:<10}{shown}", flush=True)
        if {"retune", "ninja"} <= figures.keys():
            ours, peer = figures["retune"], figures["ninja"]
            ratio = lambda at: ours[at] / peer[at]
            memory = peak_kib(COMMANDS["retune"], scratch / f"retune-{n}-{0 if n > 1000 else 2}") / 1024
            print(f"{n:>7} {'ratio':<10} cold {ratio(0):.2f}, no-op {ratio(1):.2f}, one leaf {ratio(3):.2f}; no-op in {memory:.0f} MiB", flush=True)


def hashing(scratch):
    folder = scratch / "big"
    folder.mkdir()
    size = 4 << 30
    with open(folder / "big.bin", "wb") as file:
        block = random.Random(1).randbytes(1 << 24)
        for number in range(size >> 24):
            file.write(number.to_bytes(8, "little") + block[8:])
    (folder / "g.kdl").write_text('pipeline "g"\nexec "x" {\n    run "true"\n    input "big.bin"\n    sandbox "off"\n}\n')
    subprocess.run(["cat", "big.bin"], cwd=folder, stdout=subprocess.DEVNULL)
    plan = [RETUNE, "plan", "g.kdl"]
    peer = shutil.which("b3sum")
    ours, theirs = [], []
    for _ in range(5):
        shutil.rmtree(folder / ".retune", ignore_errors=True)
        ours.append(timed(plan, folder))
        if peer:
            theirs.append(timed(["b3sum", "big.bin"], folder))
    print(f"\n4 GiB, in the page cache: retune {median(ours, True):.2f} s wall, {median(ours):.2f} s CPU, {peak_kib(plan, folder) >> 10} MiB", end="")
    print(f", b3sum {median(theirs, True):.2f} s: {median(ours, True) / median(theirs, True):.2f} x" if peer else " (b3sum is not installed)")
    (folder / ".retune").mkdir()
    timed([RETUNE, "plan", "g.kdl"], folder)
    again = [timed(plan, folder) for _ in range(5)]
    print(f"4 GiB, unchanged: retune {median(again, True) * 1000:.0f} ms wall", flush=True)
    # With nothing in the page cache, where whoever runs this may empty it.
    forget = lambda: subprocess.run("sync; echo 3 > /proc/sys/vm/drop_caches", shell=True, stderr=subprocess.DEVNULL).returncode == 0
    if not forget():
        return print("4 GiB, from disk: left out, the page cache cannot be emptied here", flush=True)
    ours, theirs = [], []
    for _ in range(3):
        shutil.rmtree(folder / ".retune", ignore_errors=True)
        forget()
        ours.append(timed(plan, folder))
        if peer:
            forget()
            theirs.append(timed(["b3sum", "big.bin"], folder))
    print(f"4 GiB, from disk: retune {median(ours, True):.2f} s wall", end="")
    print(f", b3sum {median(theirs, True):.2f} s: {median(ours, True) / median(theirs, True):.2f} x" if peer else "", flush=True)


def folders(scratch):
    count = 100_000
    folder = scratch / "many"
    for number in range(count):
        place = folder / "data" / f"{number // 1000:03}"
        if number % 1000 == 0:
            place.mkdir(parents=True)
        (place / f"{number:06}.txt").write_text(f"row {number} of many small files\n" * 8)
    (folder / "g.kdl").write_text('pipeline "g"\nexec "x" {\n    run "true"\n    input "data"\n    sandbox "off"\n}\n')
    (folder / ".retune").mkdir()
    git = lambda *words: ["git", "-c", "core.autocrlf=false", *words]
    subprocess.run(git("init", "-q"), cwd=folder, check=True)
    time.sleep(3)
    plan = [RETUNE, "plan", "g.kdl"]
    first = timed(plan, folder)
    added = timed(git("add", "data"), folder)
    print(f"\n100,000 files, hashed for the first time: retune {first[0]:.2f} s CPU, {first[1]:.2f} s wall")
    ours, theirs = [], []
    for _ in range(5):
        ours.append(timed(plan, folder))
        theirs.append(timed(git("add", "data"), folder))
    for word, wall in (("CPU", False), ("wall", True)):
        print(f"100,000 files, unchanged: retune {median(ours, wall):.3f} s {word}, git add {median(theirs, wall):.3f} s: {median(ours, wall) / median(theirs, wall):.2f} x")
    # The command only moves the files to where the stage takes them from, so that nothing but the storing is measured.
    (folder / "data").rename(folder / "made")
    (folder / "g.kdl").write_text(f'pipeline "g"\nexec "x" {{\n    run "mv {folder}/made out"\n    output "out"\n}}\n')
    stored = timed([RETUNE, "run", "g.kdl"], folder)
    print(f"100,000 files, into the store and back out as a stage's output: retune {stored[0]:.2f} s CPU, {stored[1]:.2f} s wall; git add {added[0]:.2f} and {added[1]:.2f}")
    shutil.move(folder / "out", folder / "made")
    (folder / "g.kdl").write_text(f'pipeline "g"\nexec "x" {{\n    run "mv {folder}/made out"\n    output "out"\n    sandbox "off"\n}}\n')
    shutil.rmtree(folder / ".retune")
    (folder / ".retune").mkdir()
    stored = timed([RETUNE, "run", "g.kdl"], folder)
    print(f"100,000 files, into the store: retune {stored[0]:.2f} s CPU, {stored[1]:.2f} s wall; {stored[0] / added[0]:.2f} x git add in CPU, {stored[1] / added[1]:.2f} x in wall", flush=True)


def copying(scratch):
    count, folder = 20_000, scratch / "copied"
    (folder / "data").mkdir(parents=True)
    for number in range(count):
        (folder / "data" / f"{number:06}.txt").write_text(f"row {number} of many small files\n" * 8)
    (folder / "g.kdl").write_text('pipeline "g"\nexec "x" {\n    run "true"\n    input "data"\n}\n')
    ours, theirs = [], []
    for _ in range(3):
        shutil.rmtree(folder / ".retune", ignore_errors=True)
        shutil.rmtree(folder / "copy", ignore_errors=True)
        ours.append(timed([RETUNE, "run", "g.kdl"], folder))
        theirs.append(timed(["cp", "-r", "data", "copy"], folder))
    print(f"\n20,000 files, hashed and copied for a stage that reads them: retune {median(ours):.2f} s CPU, {median(ours, True):.2f} s wall; "
          f"cp -r {median(theirs):.2f} and {median(theirs, True):.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10,100,1000,10000")
    parser.add_argument("--only", choices=["graphs", "hashing", "folders", "copying"])
    parser.add_argument("--slow", action="store_true")
    arguments = parser.parse_args()
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=ROOT, check=True)
    with tempfile.TemporaryDirectory(prefix="retune-peers-") as scratch:
        scratch = pathlib.Path(scratch)
        if arguments.only in (None, "graphs"):
            graphs([int(size) for size in arguments.sizes.split(",")], arguments.slow, scratch)
        if arguments.only in (None, "hashing"):
            hashing(scratch)
        if arguments.only in (None, "folders"):
            folders(scratch)
        if arguments.only in (None, "copying"):
            copying(scratch)


if __name__ == "__main__":
    main()
