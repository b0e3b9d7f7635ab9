#!/usr/bin/env python3
"""Many streaming clients at once on `hadal serve`, some of which leave at any point.

usage: tests/soak/load_serve.py PROGRAM MODEL [SECONDS [SEED]]          default 45, 1

64 clients ask in all four dialects, one request after the other; one in ten closes its connection
before the first byte or after some events. Every other stream must be complete, nothing may be left
in the server, and its memory must be flat: the last fifth of the time against the middle, when the
caches, which are small here, have filled. Prints percentiles of the time to the first token and of
the gaps between tokens. Exit status 1 if anything of it is not so.
"""
import asyncio
import json
import os
import random
import re
import signal
import sys
import time

N_CLIENTS = 64
MAX_GROWTH_MB = 24  # of the allocator; a leak shows as more
WAIT_S = 120  # for one event
PLACES = ("mill", "harbour", "forest", "well", "bridge", "church")


class Load:
    def __init__(self, port, pid, seconds, seed):
        self.port, self.pid = port, pid
        self.began = time.monotonic()
        self.end = self.began + seconds
        self.seed = seed
        self.n_done = self.n_left = self.n_events = 0
        self.first, self.gaps, self.memory, self.faults = [], [], [], []

    # ---- what is asked ----

    def request(self, r):
        """(path, body, what the end of its stream looks like, what an event with text looks like)"""
        text = f"The old goat carries a red lamp to the {r.choice(PLACES)}. " * r.choice((1, 1, 4, 20))
        text += f"Question {r.randrange(1000)}: What is {r.randrange(100)} + {r.randrange(100)}?"
        n = r.randint(4, 60)
        messages = [{"role": "user", "content": text}]
        sampling = {"stream": True, "temperature": r.choice((0, 1)), "seed": r.randrange(1 << 30)}
        return r.choice((
            ("/v1/chat/completions", {"messages": messages, "max_tokens": n, **sampling},
             rb"data: \[DONE\]\n\n$", b"content\":\""),
            ("/v1/completions", {"prompt": text, "max_tokens": n, **sampling},
             rb"data: \[DONE\]\n\n$", b"\"text\":\""),
            ("/v1/responses", {"input": text, "max_output_tokens": n, **sampling},
             rb"event: response\.(completed|incomplete)\n[^\n]*\n\n$", b".delta\n"),
            ("/v1/messages", {"messages": messages, "max_tokens": n, **sampling},
             rb"event: message_stop\n[^\n]*\n\n$", b"content_block_delta\n")))

    # ---- one client ----

    async def ask(self, r):
        path, body, ends, speaks = self.request(r)
        leaves_after = r.choice((0, 1, 3, 10)) if r.random() < 0.1 else None
        data = json.dumps(body).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24)
        try:
            writer.write(b"POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d"
                         b"\r\n\r\n" % (path.encode(), len(data)) + data)
            await writer.drain()
            began = time.monotonic()
            if leaves_after == 0:
                await asyncio.sleep(r.random() / 4)
                self.n_left += 1
                return
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), WAIT_S)
            if b" 200 " not in head[:16]:
                raise ValueError(head[:200])
            await self.read(reader, began, ends, speaks, leaves_after)
        finally:
            writer.close()

    async def read(self, reader, began, ends, speaks, leaves_after):
        got, last, n = b"", None, 0
        while piece := await asyncio.wait_for(reader.read(1 << 20), WAIT_S):
            got += piece
            if speaks in piece:
                now = time.monotonic()
                (self.first if last is None else self.gaps).append(now - (last or began))
                last, n = now, n + 1
            if leaves_after and n >= leaves_after:
                self.n_left += 1
                return
        body = re.sub(rb"\r\n0\r\n\r\n$|\r\n[0-9a-f]+\r\n|^[0-9a-f]+\r\n", b"", got)  # chunks
        if not re.search(ends, body) or b"\"error\":{" in body:
            raise ValueError(f"the stream ended with {body[-300:]!r}")
        self.n_done += 1
        self.n_events += n

    async def client(self, number):
        r = random.Random(f"{self.seed}:{number}")
        while time.monotonic() < self.end:
            try:
                await self.ask(r)
            except (OSError, ValueError, asyncio.TimeoutError, asyncio.IncompleteReadError) as fault:
                self.faults.append(f"client {number}: {fault!r}")
                return

    # ---- the server's memory ----

    async def watch(self):
        while time.monotonic() < self.end:
            with open(f"/proc/{self.pid}/statm", encoding="ascii") as f:
                pages = int(f.read().split()[1])
            self.memory.append(pages * os.sysconf("SC_PAGESIZE") / (1 << 20))
            await asyncio.sleep(0.5)

    def growth(self):
        """MB between the middle and the last fifth of the time."""
        n = len(self.memory)
        middle, last = self.memory[n * 2 // 5:n * 3 // 5], self.memory[n * 4 // 5:]
        return sum(last) / len(last) - sum(middle) / len(middle)

    async def stats(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"GET /stats HTTP/1.0\r\n\r\n")
        text = await asyncio.wait_for(reader.read(), WAIT_S)
        writer.close()
        return json.loads(text.split(b"\r\n\r\n", 1)[1])

    async def run(self):
        await asyncio.gather(self.watch(), *(self.client(i) for i in range(N_CLIENTS)))
        for _ in range(100):
            stats = await self.stats()
            if stats["requests"]["open"] == 0:
                break
            await asyncio.sleep(0.2)
        return stats


def percentiles(name, values):
    values = sorted(values)
    at = [values[min(len(values) - 1, int(len(values) * p / 100))] for p in (50, 90, 99)]
    return f"{name} ms p50 {1e3 * at[0]:.0f} p90 {1e3 * at[1]:.0f} p99 {1e3 * at[2]:.0f}"


def report(load, stats):
    seconds = time.monotonic() - load.began
    print(f"{load.n_done} streams complete, {load.n_left} left early, {load.n_events} events, "
          f"{stats['tokens']['generated'] / seconds:.0f} tokens/s over {seconds:.0f} s")
    print(percentiles("first token", load.first) + "; " + percentiles("gaps", load.gaps))
    print(f"memory {load.memory[-1]:.0f} MB, grown by {load.growth():+.1f} MB")
    faults = load.faults[:5]
    if load.growth() > MAX_GROWTH_MB:
        faults.append(f"memory grows: {[round(m) for m in load.memory[::10]]}")
    requests = stats["requests"]
    if requests["open"] or requests["running"] or stats["pools"]["sequences"]["used"]:
        faults.append(f"something is left in the server: {stats}")
    if requests["failed"] or requests["refused"]:
        faults.append(f"errors that nobody asked for: {requests}")
    if load.n_done < N_CLIENTS or load.n_left == 0:
        faults.append("too few streams to say anything")
    return faults


async def serve(program, model, seconds, seed):
    server = await asyncio.create_subprocess_exec(
        program, "serve", model, "--port", "0", "--threads", "1", "--max-seqs", str(N_CLIENTS),
        "--ctx", "2048", "--checkpoint-mb", "8", stderr=asyncio.subprocess.PIPE)
    try:
        while not (port := re.search(rb"listening on http://.*:(\d+)",
                                     line := await server.stderr.readline())):
            if not line:
                return ["the server did not start"]
        load = Load(int(port[1]), server.pid, seconds, seed)
        faults = report(load, await load.run())
        server.send_signal(signal.SIGTERM)
        status = await asyncio.wait_for(server.wait(), WAIT_S)
        return faults + ([f"the server ended with {status}"] if status else [])
    finally:
        if server.returncode is None:
            server.kill()


def main():
    program, model = sys.argv[1:3]
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 45
    faults = asyncio.run(serve(program, model, seconds, sys.argv[4] if len(sys.argv) > 4 else "1"))
    for fault in faults:
        print(f"FAULT: {fault}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
