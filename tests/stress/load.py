"""Many visitors at once: does the page lose or mix up answers, how fast is it, does it grow?

    python -m tests.stress.load --photos data/toy/images/test2014 --clients 20 --requests 500

Starts `gradio_main.py` as a process of its own, captions every photo in this process beforehand,
and lets the clients ask for the same captions through the page's API. An answer with another
caption is wrong; a request without an answer is lost. Exit status 1 where there is either.
"""

import argparse
import contextlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from benchmarks.common import machine, report
from caption import find_photos
from captioning.files import cli_errors
from captioning.inference.captioner import Captioner
from gradio_main import find_captioners
from tests.helpers import ROOT
from tests.page_client import PageClient

START_WITHIN = 600  # seconds; a busy machine is slow to import PyTorch
MAX_PHOTOS = 100


@contextlib.contextmanager
def serve(models: str, weights: str | None) -> Iterator[tuple[str, psutil.Process]]:
    """Start the page in a process of its own; yield its address and the process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, ROOT / "gradio_main.py", "--port", str(port), "--models", models]
    command += ["--weights", weights] if weights else []
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            for _ in range(START_WITHIN):
                with socket.socket() as knock:
                    if knock.connect_ex(("127.0.0.1", port)) == 0:
                        break
                if server.poll() is not None:
                    log.seek(0)
                    raise ValueError(f"the page did not start: {log.read().decode()}")
                time.sleep(1)
            else:
                raise ValueError(f"the page did not start within {START_WITHIN} s")
            yield f"http://127.0.0.1:{port}/", psutil.Process(server.pid)
        finally:
            server.terminate()
            server.wait(30)


def visit(address: str, name: str, photos: list[Path], wanted: dict[Path, str]) -> list[tuple]:
    """Ask for one photo after another; return (seconds, what happened) of each."""
    client, found = PageClient(address), []
    for path in photos:
        began = time.perf_counter()
        try:
            answer = client.ask(path, name)
        except Exception as error:  # noqa: BLE001  whatever went wrong, the request was lost
            answer = {"error": repr(error)}
        seconds = time.perf_counter() - began
        if "captions" not in answer:
            found.append((seconds, f"lost: {answer['error']}"))
        else:
            right = answer["captions"][0]["text"] == wanted[path]
            found.append((seconds, "right" if right else f"wrong: {path.name}"))
    client.close()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=str(ROOT / "models"))
    parser.add_argument("--weights", help="backbone weights, if not where the encoder files say")
    parser.add_argument("--captioner", help="name of one of them; by default the first")
    parser.add_argument("--photos", default=str(ROOT / "data/toy/images/test2014"))
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--requests", type=int, default=500)
    args = parser.parse_args()
    with cli_errors():
        return run(args)


def run(args: argparse.Namespace) -> int:
    photos = find_photos([args.photos])[:MAX_PHOTOS]
    captioners = find_captioners(args.models)
    name = args.captioner or next(iter(captioners))
    here = Captioner.load(*captioners[name], args.weights, "cpu")
    wanted = {path: captions[0].text for path, captions in here.caption_stream(photos)}
    tasks = [photos[number % len(photos)] for number in range(args.requests)]
    with serve(args.models, args.weights) as (address, server):
        visit(address, name, photos[:5], wanted)  # warm
        memory = [server.memory_info().rss / 2**20]
        began = time.perf_counter()
        with ThreadPoolExecutor(args.clients) as crowd:
            visits = [
                crowd.submit(visit, address, name, tasks[i :: args.clients], wanted)
                for i in range(args.clients)
            ]
            while not all(one.done() for one in visits):
                time.sleep(1)
                memory.append(server.memory_info().rss / 2**20)
        seconds = time.perf_counter() - began
    found = [one for done in visits for one in done.result()]
    bad = [what for _, what in found if what != "right"]
    cuts = statistics.quantiles((second for second, _ in found), n=100)
    weighed = [f"{memory[place]:.0f}" for place in (0, len(memory) // 2, -1)]
    row = {
        "captioner": name,
        "requests": len(found),
        "clients": args.clients,
        "lost": sum(what.startswith("lost") for what in bad),
        "wrong": sum(what.startswith("wrong") for what in bad),
        "requests/s": f"{len(found) / seconds:.1f}",
        "50th, 99th percentile (s)": f"{cuts[49]:.2f}, {cuts[98]:.2f}",
        "memory at start, half, end (MiB)": ", ".join(weighed),
    }
    print(machine(), *bad[:5], sep="\n")
    report("The page under load", [row])
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
