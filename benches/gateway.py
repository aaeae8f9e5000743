#!/usr/bin/env python3
"""What `retune serve` adds to a provider's answer: the same requests straight to a server on loopback and through the gateway, in turn.

    benches/gateway.py [--requests N]      one at a time, then with 16 clients

Milliseconds until the whole answer is there, at the median and at the 99th percentile, and the difference.
"""
import argparse, asyncio, json, multiprocessing, os, pathlib, re, statistics, subprocess, tempfile, time

from chat_server import ANSWER, serve

RETUNE = str(pathlib.Path(__file__).resolve().parent.parent / "target" / "release" / "retune")


async def client(port, model, count, times):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "where is my card?"}]}).encode()
    request = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    for _ in range(count):
        began = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        if length := re.search(rb"content-length: (\d+)", head, re.I):
            answer = await reader.readexactly(int(length[1]))
        else:
            answer = b""
            while size := int((await reader.readuntil(b"\r\n")), 16):
                answer += (await reader.readexactly(size + 2))[:-2]
            await reader.readuntil(b"\r\n")
        times.append((time.perf_counter() - began) * 1000)
        assert answer == ANSWER.encode()
    writer.close()


def load(port, model, clients, count):
    times = []
    async def all_of_them():
        await asyncio.gather(*(client(port, model, count // clients, times) for _ in range(clients)))
    asyncio.run(all_of_them())
    times.sort()
    return statistics.median(times), times[int(len(times) * 0.99)]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--requests", type=int, default=5000)
    count = arguments.parse_args().requests
    ours, theirs = multiprocessing.Pipe()
    behind = multiprocessing.Process(target=serve, args=(theirs,), daemon=True)
    behind.start()
    port = ours.recv()
    with tempfile.TemporaryDirectory() as folder:
        zeros = "0" * 64
        pathlib.Path(folder, "p.kdl").write_text(f'pipeline "p"\nprovider "far" {{\n    api "openai-compatible"\n    base-url "http://127.0.0.1:{port}/v1"\n    key (secret)"FAR_KEY"\n    limits concurrency=64\n}}\n')
        pathlib.Path(folder, "deployments").mkdir()
        pathlib.Path(folder, "deployments", "front.kdl").write_text(
            f'alias "front"\ncurrent 1\nversion 1 {{\n    deployed "2026-01-01T00:00:00Z"\n    model "far m" blake3="{zeros}"\n    served provider="far" base="m" name="m"\n    fingerprint "{zeros}"\n}}\n')
        gateway = subprocess.Popen([RETUNE, "serve", "p.kdl", "--listen", "127.0.0.1:0"], cwd=folder, stderr=subprocess.PIPE, text=True, env=dict(os.environ, FAR_KEY="k-0123456789"))
        try:
            front = next(int(found[1]) for line in gateway.stderr if (found := re.match(r"listening on http://127.0.0.1:(\d+)", line)))
            for clients in (1, 16):
                rounds = [(load(port, "m", clients, count), load(front, "front", clients, count)) for _ in range(5)]
                for at, name in ((0, "median"), (1, "p99")):
                    straight, through = (statistics.median(turn[way][at] for turn in rounds) for way in (0, 1))
                    print(f"{clients:>3} clients, {name}: {straight:.2f} ms straight, {through:.2f} ms through the gateway: {through - straight:+.2f} ms", flush=True)
        finally:
            gateway.terminate()
            gateway.wait(30)
            behind.terminate()


main()
