#!/usr/bin/env python3
"""Copies of a tuned model are run by others: llama.cpp answers from the GGUF file as the gateway does, and the tokenizer of `transformers` cuts
a conversation into the same tokens. `pip install llama-cpp-python transformers openai` first; `just exports`."""
import json, pathlib, re, subprocess, tempfile

import openai
from llama_cpp import Llama
from transformers import AutoTokenizer

import colours

ROOT = pathlib.Path(__file__).resolve().parent.parent
RETUNE = ROOT / "target" / "release" / "retune"
def main():
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        texts = colours.rows(200)
        (place / "rows.csv").write_text("text,answer\n" + "".join(f'"{text}",{answer}\n' for text, answer in texts))
        more = """    export "out/model" format="safetensors"
    export "out/model.gguf" format="gguf"
    target "out/Modelfile" format="ollama" copy="out/model.gguf\""""
        (place / "p.kdl").write_text(colours.pipeline("builtin:tiny", "        epochs 3\n        lora rank=8 alpha=16", more))
        subprocess.run([RETUNE, "run", "p.kdl"], cwd=folder, check=True, capture_output=True)
        gateway = subprocess.Popen([RETUNE, "serve", "p.kdl", "--listen", "127.0.0.1:0"], cwd=folder, stderr=subprocess.PIPE, text=True)
        try:
            address = next(found[1] for line in gateway.stderr if (found := re.match(r"listening on (.*)", line)))
            client = openai.OpenAI(base_url=address, api_key="none")
            llama = Llama(str(place / "out" / "model.gguf"), n_ctx=1024, logits_all=True, verbose=False)
            tokenizer = AutoTokenizer.from_pretrained(place / "out" / "model")
            same, base = 0, 0
            for text, _ in texts[:40]:
                messages = [{"role": "system", "content": "Name the colour."}, {"role": "user", "content": text}]
                ask = lambda model: client.chat.completions.create(model=model, messages=messages, temperature=0, max_completion_tokens=8).choices[0].message.content
                ours = ask("colours")
                prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
                assert llama.tokenize(prompt.encode(), add_bos=False, special=True) == tokenizer(prompt)["input_ids"], text
                theirs = llama.create_chat_completion(messages, temperature=0, max_tokens=8)["choices"][0]["message"]["content"]
                same += ours.strip() == theirs.strip()
                base += ask("builtin:tiny").strip() == theirs.strip()
            assert same == 40 and base < 40, (same, base)
            print(f"llama.cpp answers as the gateway does: {same} of 40, and the base model {base} of 40")
        finally:
            gateway.terminate()
            gateway.wait(30)


main()
