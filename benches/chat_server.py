"""A provider for benchmarks: it answers every chat completion with the same, after a while if that is wanted."""
import asyncio, json, re, time

ANSWER = json.dumps({
    "id": "a", "object": "chat.completion", "created": 0, "model": "m", "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}],
})
REPLY = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(ANSWER)}\r\n\r\n{ANSWER}".encode()


class Provider(asyncio.Protocol):
    latency, taken = 0, None

    def connection_made(self, transport):
        self.transport, self.came = transport, b""

    def data_received(self, data):
        self.came += data
        while (head := self.came.find(b"\r\n\r\n")) >= 0:
            length = re.search(rb"content-length: (\d+)", self.came[:head], re.I)
            end = head + 4 + (int(length[1]) if length else 0)
            if len(self.came) < end:
                return
            self.came = self.came[end:]
            if self.latency:
                asyncio.get_running_loop().call_later(self.latency, self.answer, time.perf_counter())
            else:
                self.transport.write(REPLY)

    def answer(self, began):
        self.transport.write(REPLY)
        self.taken.value += time.perf_counter() - began


def serve(pipe, latency=0, taken=None):
    """Tells its port, and serves for ever. `taken` adds up how long its answers took, in seconds."""
    Provider.latency, Provider.taken = latency, taken

    async def forever():
        server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()
    asyncio.run(forever())
