#!/usr/bin/env python3
"""The official client of OpenAI drives `retune serve`: models, chat, streams, settings, errors. `pip install openai` first; `just client`."""
import json, pathlib, re, subprocess, sys, tempfile, time

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
    tune(client)
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



def tune(client):
    """Files and a fine-tuning job, from the upload to an answer of the model that came of it."""
    colours = ["red", "green", "blue"]
    row = lambda at: {"messages": [{"role": "user", "content": f"thing {at} is {colours[at % 3]}"}, {"role": "assistant", "content": colours[at % 3]}]}
    rows = "\n".join(json.dumps(row(at)) for at in range(96)).encode()
    file = client.files.create(file=("rows.jsonl", rows), purpose="fine-tune")
    assert client.files.retrieve(file.id) == file and client.files.content(file.id).read() == rows
    assert [one.id for one in client.files.list(purpose="fine-tune")] == [file.id]
    method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 4, "batch_size": 8, "learning_rate_multiplier": 2}}}
    job = client.fine_tuning.jobs.create(model=MODEL, training_file=file.id, validation_file=file.id, suffix="colours", seed=5, method=method)
    while job.status not in ("succeeded", "failed", "cancelled"):
        time.sleep(0.2)
        job = client.fine_tuning.jobs.retrieve(job.id)
    assert job.status == "succeeded" and job.trained_tokens and not job.error, job
    events = list(client.fine_tuning.jobs.list_events(job.id, limit=10))
    assert len([event for event in events if event.type == "metrics"]) == 48, "all pages of the events"
    assert client.fine_tuning.jobs.checkpoints.list(job.id).data[0].fine_tuned_model_checkpoint == job.fine_tuned_model
    assert client.files.content(job.result_files[0]).text.startswith("step,train_loss")
    answer = client.chat.completions.create(model=job.fine_tuned_model, temperature=0, max_completion_tokens=8, messages=[{"role": "user", "content": "thing 5 is blue"}])
    assert answer.choices[0].message.content == "blue", answer
    other = client.fine_tuning.jobs.create(model=MODEL, training_file=file.id, hyperparameters={"n_epochs": 50})
    assert client.fine_tuning.jobs.cancel(other.id).status == "cancelled"
    assert {one.id for one in client.fine_tuning.jobs.list(limit=1)} == {job.id, other.id}
    assert client.models.delete(job.fine_tuned_model).deleted and client.files.delete(file.id).deleted


main()
