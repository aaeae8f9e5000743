#!/usr/bin/env python3
"""Opens the pages that `retune report` writes in a headless Chromium (`just browser`): no message on the console, no request, nothing that
axe-core finds, nothing wider than the window, at three widths, light and dark. The pictures are in target/browser, to be looked at.

It wants `chromium` and `npm` on the path."""
import html
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
RETUNE = ROOT / "target/release/retune"
OUT = ROOT / "target/browser"
AXE = OUT / "node_modules/axe-core/axe.min.js"
WIDTHS = (1280, 768, 390)
LARGEST = 2_000_000

SWEEP = """pipeline "sweep"
collect "messages" {
    source "data/messages.csv"
}
prepare "chat" {
    from "messages"
    deduplicate "exact" key="text"
    chat {
        user "{{ text }}"
        assistant "{{ team }}"
    }
    split train=0.6 validation=0.2 test=0.2 key="text" seed=7
}
train "router" {
    matrix {
        epochs 1 2 3
        rate 1e-3 3e-3
    }
    data "chat"
    model "builtin:tiny"
    method "supervised" {
        epochs (param)"epochs"
        batch-size 16
        learning-rate (param)"rate"
    }
}
select "best" {
    from "router"
    by "validation-loss"
    goal "min"
}
"""

PROBE = """
const told = {overflow: document.documentElement.scrollWidth - window.innerWidth,
              requests: performance.getEntriesByType("resource").map(entry => entry.name)};
axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]}).then(found => {
    told.violations = found.violations.map(one => [one.id, one.nodes.length, one.nodes[0].html.slice(0, 200)]);
    told.passes = found.passes.length;
    told.unsure = found.incomplete.map(one => [one.id, one.nodes.length]);
    document.body.innerHTML = "";
    const box = document.createElement("pre");
    box.id = "told";
    box.textContent = JSON.stringify(told);
    document.body.appendChild(box);
});
"""


def retune(folder, *words, codes=(0,)):
    done = subprocess.run([RETUNE, *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode in codes, f"{words}: {done.returncode}\n{done.stderr}"


def chromium(profile, width, dark, *words):
    scheme = "0" if dark else "1"
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}", f"--window-size={width},3000",
             f"--blink-settings=preferredColorScheme={scheme}", "--enable-logging=stderr"]
    return subprocess.run(["chromium", *flags, *words], capture_output=True, text=True, timeout=180)


def pages(folder):
    """Writes a page of each kind."""
    retune(folder, "init", ".", "--template", "support")
    retune(folder, "run", "retune.kdl", "--name", "one")
    retune(folder, "run", "retune.kdl", "--set", "epochs=1", "--name", "two", codes=(0, 3))
    (folder / "sweep.kdl").write_text(SWEEP)
    retune(folder, "run", "sweep.kdl")
    made = {"pipeline": ["retune.kdl"], "compared": ["one", "two", "retune.kdl"], "sweep": ["--matrix", "router", "sweep.kdl"]}
    for name, words in made.items():
        retune(folder, "report", *words, "--out", f"{name}.html")
    retune(folder, "get", "chat", "retune.kdl", "--to", "rows")
    shutil.copy(folder / "rows/page.html", folder / "prepared.html")
    return [folder / f"{name}.html" for name in [*made, "prepared"]]


def look(page, profile):
    """What is wrong with a page."""
    wrong = []
    text = page.read_text()
    if len(text.encode()) > LARGEST:
        wrong.append(f"it has {len(text.encode())} bytes")
    probed = page.with_suffix(".probed.html")
    probed.write_text(text.replace("</html>", f"<script>{AXE.read_text()}</script><script>{PROBE}</script></html>"))
    for width in WIDTHS:
        for dark in (False, True):
            where = f"{width}{'-dark' if dark else ''}"
            picture = OUT / f"{page.stem}-{where}.png"
            shown = chromium(profile, width, dark, f"--screenshot={picture}", page.as_uri())
            said = [line for line in shown.stderr.splitlines() if "CONSOLE" in line]
            done = chromium(profile, width, dark, "--virtual-time-budget=20000", "--dump-dom", probed.as_uri())
            found = re.search(r'<pre id="told">(.*?)</pre>', done.stdout, re.S)
            assert found, f"{page.name} at {where}: axe told nothing\n{done.stderr[-2000:]}"
            told = json.loads(html.unescape(found.group(1)))
            # Chromium makes no window narrower than 500 points, so that a phone's is that wide here.
            wrong += [f"{where}: {problem}" for problem in said]
            wrong += [f"{where}: {told['overflow']} points too wide"] * (told["overflow"] > 0)
            wrong += [f"{where}: it asks for {name}" for name in told["requests"]]
            wrong += [f"{where}: {one}" for one in told["violations"]]
            print(f"{page.name} at {where}: {told['passes']} rules hold, not decided: {told['unsure'] or 'none'}")
    return wrong


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    if not AXE.exists():
        subprocess.run(["npm", "install", "--silent", "--prefix", OUT, "axe-core@4"], check=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary) / "work"
        folder.mkdir()
        wrong = [f"{page.name}: {problem}" for page in pages(folder) for problem in look(page, pathlib.Path(temporary) / "profile")]
    print("\n".join(wrong) or f"nothing is wrong; the pictures are in {OUT}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
