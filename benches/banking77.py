#!/usr/bin/env python3
"""Accuracy against time on banking77 (77 intents of a bank's customers): the local engine beside PyTorch, transformers and peft, with the same seconds of
training, the same rows in the same order, and the same settings. `pip install torch transformers peft gguf` first; DATA is a folder with banking77's
`train.csv` and `test.csv` (columns text, category), MODEL is SmolLM2-135M-Instruct as GGUF (local.py says where from).
`benches/banking77.py DATA MODEL [--budgets 60 180] [--tiny 10 40] [--binary target/release/retune]`.

Seconds are those of a whole process: it starts, loads the model, trains. A short run of each program says how many rows fit into a budget, and these are
learnt in one schedule. The peer pads no more than it must, and computes logits only where something is learnt."""
import argparse, csv, json, math, os, pathlib, random, resource, shutil, subprocess, sys, tempfile, time

BEGAN = time.perf_counter()
ROOT = pathlib.Path(__file__).resolve().parent.parent
SEED, BATCH, ASKED, LONGEST = 7, 16, 300, 32
ALL_SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

PIPELINE = """pipeline "banking77"
collect "asked" {{
    source "test.jsonl"
}}
prepare "test" {{
    from "asked"
    passthrough
    split train=0 validation=0 test=1
}}
train "model" {{
    examples "{rows}.jsonl"
    provider "local"
    model "{model}"
    method "supervised" {{
        epochs 1
        batch-size {batch}
        learning-rate {rate}
        warmup 0.05
        decay "cosine"
        clip 1.0
        lora rank=8 alpha=16
    }}
    seed {seed}
}}
evaluate "quality" {{
    model "model"
    baseline "{model}"
    data "test" split="test"
    generate max-tokens={longest}
    grader "exact-match" ignore-case=#true
}}
deploy "copy" {{
    model "model"
    requires "quality"
    alias "copy"
    export "tiny" format="safetensors"
}}
"""


def conversations(path):
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    random.Random(SEED).shuffle(rows)
    said = lambda row: [("system", "Name the intent."), ("user", row["text"]), ("assistant", row["category"].replace("_", " "))]
    return [{"messages": [{"role": role, "content": text} for role, text in said(row)]} for row in rows]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def wilson(right, count, z=1.959964):
    share = right / count
    middle, half = share + z * z / (2 * count), z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return (middle - half) / (1 + z * z / count), (middle + half) / (1 + z * z / count)


def measured(command, folder):
    """Seconds and most bytes of a process."""
    began = time.perf_counter()
    with open(folder / "said", "w") as said:
        process = subprocess.Popen(command, cwd=folder, stdout=said, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command}: {(folder / 'said').read_text()}")
    return time.perf_counter() - began, usage.ru_maxrss * 1024


def ours(binary, folder, model, rate, rows, answers=True, copy=False):
    (folder / "retune.kdl").write_text(PIPELINE.format(rows=rows, model=model, rate=rate, batch=BATCH, seed=SEED, longest=LONGEST))
    seconds, most = measured([binary, "run", "model", "retune.kdl", "--force", "model"], folder)
    result = {"seconds": seconds, "bytes": most}
    if answers or copy:
        measured([binary, "run", "retune.kdl"] if copy else [binary, "run", "quality", "retune.kdl"], folder)
        shown = json.loads(subprocess.run([binary, "show", "quality", "retune.kdl", "--json"], cwd=folder, check=True, capture_output=True).stdout)
        for action in shown["actions"]:
            metrics = action["record"]["outcome"]["metrics"]
            if "accuracy" in metrics:
                result |= {"accuracy": metrics["accuracy"], "untuned": metrics["baseline.accuracy"]}
    return result


def convert(gguf, to):
    """For the peer, which takes half a minute to load a GGUF file, and a moment for a folder."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    AutoTokenizer.from_pretrained(".", gguf_file=gguf).save_pretrained(to)
    read = AutoModelForCausalLM.from_pretrained(".", gguf_file=gguf, dtype=torch.float32)
    config = {key: value for key, value in read.config.to_dict().items() if key != "quantization_config"}
    clean = AutoModelForCausalLM.from_config(type(read.config).from_dict(config), dtype=torch.float32)
    clean.load_state_dict(read.state_dict())
    clean.save_pretrained(to)


def theirs(folder, model, rate, rows, answers=True):
    said = folder / "said"
    measured([sys.executable, str(pathlib.Path(__file__).resolve()), "--peer", model, str(rate), str(rows), str(int(answers))], folder)
    return json.loads(said.read_text().splitlines()[-1])


def peer(model, rate, rows, answers):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(os.cpu_count())
    torch.manual_seed(SEED)
    tokenizer, model = AutoTokenizer.from_pretrained(model), AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, lora_dropout=0.0, target_modules=ALL_SEVEN)).train()
    inner, end = model.get_base_model(), tokenizer.eos_token_id

    def asked(row):
        text = tokenizer.apply_chat_template(row["messages"][:2], tokenize=False, add_generation_prompt=True)
        return tokenizer.encode(text, add_special_tokens=False)

    loaded = time.perf_counter() - BEGAN
    read = lambda name: [json.loads(line) for line in open(name, encoding="utf-8")]
    pairs = [(asked(row), tokenizer.encode(row["messages"][2]["content"], add_special_tokens=False) + [end]) for row in read(f"{rows}.jsonl")]
    batches = [pairs[at : at + BATCH] for at in range(0, len(pairs), BATCH)]

    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=float(rate), weight_decay=0.0)
    count = len(batches)
    warm = max(1, round(0.05 * count))
    factor = lambda step: (step + 1) / warm if step < warm else 0.1 + 0.45 * (1 + math.cos(math.pi * (step - warm) / max(1, count - warm)))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    tokens, losses = 0, []
    for batch in batches:
        width = max(len(question) + len(answer) for question, answer in batch)
        ids = torch.full((len(batch), width), end)
        mask, wanted = torch.zeros_like(ids), torch.full_like(ids, -100)
        for at, (question, answer) in enumerate(batch):
            length = len(question) + len(answer)
            ids[at, :length], mask[at, :length] = torch.tensor(question + answer), 1
            wanted[at, len(question) - 1 : length - 1] = torch.tensor(answer)
            tokens += length
        hidden = inner.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        loss = torch.nn.functional.cross_entropy(inner.lm_head(hidden[wanted != -100]), wanted[wanted != -100])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        losses.append(loss.item())
    result = {"seconds": time.perf_counter() - BEGAN, "loaded": loaded, "bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "tokens": tokens, "loss": sum(losses[-10:]) / len(losses[-10:])}
    if answers != "1":
        return result

    model.eval()
    right, test = 0, sorted(((asked(row), row["messages"][2]["content"]) for row in read("test.jsonl")), key=lambda pair: len(pair[0]))
    for at in range(0, len(test), 30):
        some = test[at : at + 30]
        width = max(len(question) for question, _ in some)
        ids = torch.tensor([[end] * (width - len(question)) + question for question, _ in some])
        mask = torch.tensor([[0] * (width - len(question)) + [1] * len(question) for question, _ in some])
        with torch.inference_mode():
            said = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=LONGEST, do_sample=False, eos_token_id=end, pad_token_id=end)
        for answer, (_, wanted) in zip(said[:, width:], some):
            right += tokenizer.decode(answer, skip_special_tokens=True).strip().lower() == wanted.strip().lower()
    return result | {"accuracy": right / len(test)}


def main():
    if sys.argv[1:2] == ["--peer"]:
        return print(json.dumps(peer(*sys.argv[2:])))
    if sys.argv[1:2] == ["--convert"]:
        return convert(*sys.argv[2:])
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--budgets", type=float, nargs="*", default=[60, 180], help="seconds for SmolLM2")
    parser.add_argument("--tiny", type=float, nargs="*", default=[10, 40], help="seconds for builtin:tiny")
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target" / "release" / "retune")
    options = parser.parse_args()
    binary = str(options.binary.resolve())
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        shutil.copy(options.model, folder / "base.gguf")
        every = conversations(options.data / "train.csv")
        write(folder / "test.jsonl", conversations(options.data / "test.csv")[:ASKED])

        def rows(count):
            """So many rows: each pass over all of them is in an order of its own."""
            taken, passes = [], 0
            while len(taken) < count:
                taken += every if passes == 0 else random.Random(SEED + passes).sample(every, len(every))
                passes += 1
            write(folder / f"{count}.jsonl", taken[:count])
            return count

        def compare(name, budgets, rate, few, many, programs):
            for program, run in programs:
                run(rate, rows(few), False)  # so that files and libraries are in memory for whoever comes first
                first, second = (run(rate, rows(count), False)["seconds"] for count in (few, many))
                row = (second - first) / (many - few)
                for budget in budgets:
                    count = rows(max(1, int((budget - first + few * row) / row / BATCH)) * BATCH)
                    result = run(rate, count, True)
                    low, high = wilson(round(result["accuracy"] * ASKED), ASKED)
                    untuned = f" (untuned {result['untuned']:.3f})" if "untuned" in result else ""
                    loaded = f" (of these {result['loaded']:.1f} before the first row)" if "loaded" in result else ""
                    passes = f"{count:,} rows ({count / len(every):.2f} epochs)"
                    print(f"{name}, {budget:g} s, {program}: {result['seconds']:.1f} s{loaded}, {passes}, accuracy {result['accuracy']:.3f} [{low:.3f}, {high:.3f}]{untuned}, {result['bytes'] / 1e9:.2f} GB", flush=True)

        def programs(model, place):
            own = lambda rate, count, answers: ours(binary, folder, model, rate, count, answers)
            return [("retune", own), ("PyTorch", lambda rate, count, answers: theirs(folder, place, rate, count, answers))]

        if options.tiny:
            ours(binary, folder, "builtin:tiny", 1e-4, rows(BATCH), copy=True)
            compare("builtin:tiny", options.tiny, 3e-3, 320, 2000, programs("builtin:tiny", "tiny"))
        if options.budgets:
            measured([sys.executable, str(pathlib.Path(__file__).resolve()), "--convert", "base.gguf", "base"], folder)
            compare("SmolLM2-135M-Instruct", options.budgets, 1e-3, 32, 256, programs("base.gguf", "base"))


if __name__ == "__main__":
    main()
