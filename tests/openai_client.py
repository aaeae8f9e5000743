#!/usr/bin/env python3
"""The official client of OpenAI drives `retune serve`: models, chat, streams, settings, errors. `pip install openai` first; `just client`."""
import pathlib, re, subprocess, sys, tempfile

import openai

ROOT = pathlib.Path(__file__).resolve().parent.parent
RETUNE = ROOT / "target" / "release" / "retune"
MODEL = "builtin:tiny"


def main():
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "p.kdl").write_text('pipeline "p"\nexec "x" {\n    run "true > o"\n    output "o"\n}\n')
        key = subprocess.run([RETUNE, "serve", "--new-key", "client"], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
        gateway = subprocess.Popen([RETUNE, "serve", "p.kdl", "--listen", "127.0.0.1:0"], cwd=folder, stderr=subprocess.PIPE, text=True)
        try:
            address = next(found[1] for line in gateway.stderr if (found := re.match(r"listening on (.*)", line)))
            drive(openai.OpenAI(base_url=address, api_key=key), openai.OpenAI(base_url=address, api_key="wrong", max_retries=0))
        finally:
            gateway.terminate()
            assert gateway.wait(30) == 0, "it stops in order"
    print("the client", openai.__version__, "can do what it should")


def drive(client, stranger):
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).owned_by == "local"
    ask = lambda **more: client.chat.completions.create(model=MODEL, temperature=0, max_completion_tokens=24, messages=[{"role": "user", "content": "my card was stolen"}], **more)
    whole = ask()
    text = whole.choices[0].message.content
    assert text and whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    parts = list(ask(stream=True, stream_options={"include_usage": True}))
    assert "".join(part.choices[0].delta.content or "" for part in parts if part.choices) == text
    assert parts[-1].usage == whole.usage
    with client.chat.completions.stream(model=MODEL, temperature=0, max_completion_tokens=24, messages=[{"role": "user", "content": "my card was stolen"}]) as stream:
        assert stream.get_final_completion().choices[0].message.content == text
    several = client.chat.completions.create(model=MODEL, n=3, seed=5, temperature=2, logprobs=True, top_logprobs=2, stop=["zzz"], max_tokens=8, messages=[{"role": "user", "content": "hello"}])
    assert len(several.choices) == 3 and len(several.choices[0].logprobs.content[0].top_logprobs) == 2
    for error, call in [
        (openai.NotFoundError, lambda: client.chat.completions.create(model="nobody", messages=[{"role": "user", "content": "x"}])),
        (openai.BadRequestError, lambda: ask(tools=[{"type": "function", "function": {"name": "f"}}])),
        (openai.AuthenticationError, lambda: stranger.models.list()),
    ]:
        try:
            call()
        except error:
            continue
        sys.exit(f"{error.__name__} was not raised")


main()
